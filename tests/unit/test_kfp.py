"""The Kubeflow pipeline: the same graph as the flow's, and what each of its containers asks for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import train
from components.stage import open_store
from pipelines.executor import Argument, Known, Made, resolved, stage_function
from pipelines.kfp_pipeline import Containers, compile_pipeline
from pipelines.plan import Branch, Plan, plan_training
from pipelines.steps import TrainingRun
from storecast.actuals import KEPT
from storecast.errors import ConfigError
from storecast.synthetic import write_raw

Graph = dict[str, set[str]]
"""Label of each step → labels of the steps that it waits for."""
MODELS = "models: [naive, gbm]\nprofile: quick\nfolds: 2\nshard_size: 2\ngate:\n  min_rows: 1\n"


@dataclass
class Recorder:
    """Runs stages here, and notes which waited for which."""

    fans_out: bool = True
    graph: Graph = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Made:
        del gpu
        given = resolved(arguments)
        uris = [uri for value in given.values() for uri in ([value] if isinstance(value, str) else value)]
        uris += [made.result() for made in after]
        self.graph[label] = {self.made[uri] for uri in uris if uri in self.made}
        uri = str(stage_function(stage)(**given).uri)
        self.made[uri] = label
        return Known(uri)


def planned(plan: Plan, *branches: Branch) -> Graph:
    return {
        step.label: {other.label for other in [*step.needs(), *step.after]}
        for step in plan.steps
        if step.branch in branches
    }


def compiled(plan: Plan, folder: Path, containers: Containers | None = None) -> tuple[Any, Any]:
    """(pipeline, platform) documents of the YAML file."""
    file = folder / "pipeline.yaml"
    compile_pipeline(plan, containers or Containers(), file)
    documents = list(yaml.safe_load_all(file.read_text()))
    return documents[0], (documents[1] if len(documents) > 1 else {})


def leaves(spec: Any, dag: Any, outer: Mapping[str, str]) -> Iterator[tuple[str, Any, set[str]]]:
    """(label, task, labels that it waits for) of each container in a graph and in the graphs inside it."""
    labels = {name: task["taskInfo"]["name"] for name, task in dag["tasks"].items()}
    for task in dag["tasks"].values():
        sources: dict[str, str] = {}
        for name, value in task.get("inputs", {}).get("parameters", {}).items():
            if "taskOutputParameter" in value:
                sources[name] = labels[value["taskOutputParameter"]["producerTask"]]
            elif value.get("componentInputParameter") in outer:
                sources[name] = outer[value["componentInputParameter"]]
        inner = spec["components"][task["componentRef"]["name"]].get("dag")
        if inner:
            yield from leaves(spec, inner, sources)
        else:
            waits = {*sources.values(), *(labels[name] for name in task.get("dependentTasks", []))}
            yield task["taskInfo"]["name"], task, waits


def container(spec: Any, task: Any) -> Any:
    label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
    return spec["deploymentSpec"]["executors"][label]["container"]


def training(folder: Path, text: str = MODELS) -> str:
    file = folder / "small.yaml"
    file.write_text(f"name: small\n{text}")
    return str(file)


def test_the_plan_has_the_steps_and_the_edges_of_a_run_of_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=300)
    recorder = Recorder()
    run = TrainingRun(recorder, "synthetic", str(tmp_path / "raw"), training(tmp_path), open_store().root)
    outcome = run.run()
    assert outcome.made, "the small run releases, so it takes the branch that is compared"
    dates = sorted({date for label in recorder.graph for date in re.findall(r"\d{4}-\d\d-\d\d", label)})
    names = dict(zip(dates, ("fold:1/2", "fold:2/2", "last"), strict=True))

    def named(label: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\d", lambda found: names[found[0]], label)

    ran = {named(label): {named(other) for other in others} for label, others in recorder.graph.items()}
    ran["activate"].add("register")  # the flow waits for what it needs no URI of
    plan = planned(plan_training(training(tmp_path), series=4), Branch.ALWAYS, Branch.RELEASE)
    assert plan == ran


@pytest.mark.parametrize("text", ["blend_segment: famly\n", "gate: {segments: [famly]}\n"])
def test_segments_that_the_panel_lacks_are_told_before_a_model_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    write_raw(tmp_path / "raw", n_stores=1, n_families=2, n_days=100)
    recorder, wrong = Recorder(), training(tmp_path, "models: [naive]\nfolds: 2\n" + text)
    run = TrainingRun(recorder, "synthetic", str(tmp_path / "raw"), wrong, open_store().root)
    with pytest.raises(ConfigError, match="did you mean 'family'"):
        run.run()
    assert set(recorder.graph) == {"ingest"}
    with pytest.raises(ConfigError, match="did you mean 'family'"):  # as Kubeflow runs it
        train.run(next(iter(recorder.made)), "naive", "last", wrong)
    assert not (tmp_path / "home" / "datasets" / "train").exists()


def test_the_pipeline_has_the_steps_and_the_edges_of_the_plan(tmp_path: Path) -> None:
    plan = plan_training("full", series=1000)
    spec, _ = compiled(plan, tmp_path)
    assert {label: waits for label, _, waits in leaves(spec, spec["root"]["dag"], {})} == planned(
        plan, *Branch
    )


def test_without_a_number_of_series_a_local_model_is_one_step_per_cutoff() -> None:
    labels = [step.label for step in plan_training("demo").steps]
    assert [label for label in labels if "arima" in label] == [
        f"train arima at {cutoff}" for cutoff in ("fold:1/2", "fold:2/2", "last")
    ]


def test_a_local_model_is_several_steps_where_there_are_several_shards_and_one_where_there_is_one(
    tmp_path: Path,
) -> None:
    config = training(tmp_path, "models: [naive, arima]\nfolds: 1\nshard_size: 10\n")

    def fits(series: int) -> list[str]:
        labels = [step.label for step in plan_training(config, series=series).steps]
        return [label for label in labels if label.startswith("train arima at last")]

    assert fits(10) == ["train arima at last"]
    assert fits(11) == [*(f"train arima at last, shard {k} of 2" for k in (1, 2)), "train arima at last"]


def test_features_are_made_where_a_model_learns_from_them(tmp_path: Path) -> None:
    def stages(models: str) -> set[str]:
        return {step.stage for step in plan_training(training(tmp_path, f"models: {models}\n")).steps}

    assert "features" in stages("[naive, gbm]")
    assert "features" not in stages("[naive, arima, lstm]")


def test_each_container_runs_its_stage_with_the_options_that_its_function_takes(tmp_path: Path) -> None:
    plan = plan_training("demo")
    assert plan.steps[0].arguments["actuals"] == KEPT, "what has arrived is learnt from"
    spec, _ = compiled(plan, tmp_path, Containers(image="shop/stages:1", train_image="shop/gpu:1"))
    steps = {step.label: step for step in plan.steps}
    for label, task, _ in leaves(spec, spec["root"]["dag"], {}):
        step, made = steps[label], container(spec, task)
        assert made["command"] == ["python", "-m", "components"]
        assert made["args"][0] == step.stage
        options = {part.removeprefix("--") for part in made["args"] if part.startswith("--")}
        wanted = {*step.arguments, *step.flags, "result"} | ({"count"} if step.stage == "gate" else set())
        assert options == wanted
        assert made["image"] == ("shop/gpu:1" if step.gpu else "shop/stages:1")


def test_only_what_trains_faster_on_a_gpu_asks_for_one_and_tolerates_its_node(tmp_path: Path) -> None:
    spec, platform = compiled(plan_training("demo"), tmp_path)
    found = {label: task for label, task, _ in leaves(spec, spec["root"]["dag"], {})}
    with_gpu = {label for label, task in found.items() if "resources" in container(spec, task)}
    assert with_gpu == {f"train lstm at {cutoff}" for cutoff in ("fold:1/2", "fold:2/2", "last")}
    accelerator = container(spec, found["train lstm at last"])["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors
    for name, config in executors.items():
        assert name.startswith("exec-train-gpu")
        assert config["tolerations"][0]["key"] == "nvidia.com/gpu"
    spec, platform = compiled(plan_training("demo"), tmp_path, Containers(gpus=0))
    assert "accelerator" not in yaml.safe_dump([spec, platform])


def test_every_step_is_retried_and_kept_unless_its_answer_may_change(tmp_path: Path) -> None:
    spec, _ = compiled(plan_training("demo"), tmp_path, Containers(retries=3))
    for label, task, _ in leaves(spec, spec["root"]["dag"], {}):
        assert task["retryPolicy"]["maxRetryCount"] == 3
        kept = task["cachingOptions"].get("enableCache", False)
        assert kept is (label not in {"ingest", "gate", "activate"}), label


def test_the_environment_comes_from_the_named_config_map_and_secret(tmp_path: Path) -> None:
    spec, platform = compiled(plan_training("demo"), tmp_path, Containers(environment="storecast-run"))
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])
    for config in executors.values():
        assert config["secretAsEnv"][0]["secretName"] == "storecast-run"
        assert config["configMapAsEnv"][0]["configMapName"] == "storecast-run"
    assert "SECRET" not in yaml.safe_dump(spec)


def test_credentials_may_be_in_secrets_of_their_own_and_each_variable_comes_from_one(tmp_path: Path) -> None:
    def sources(*named: str) -> dict[str, str]:
        _, platform = compiled(plan_training("demo"), tmp_path, Containers("cpu:1", "gpu:1", 2, 1, *named))
        config = next(iter(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()))
        pairs = [
            (key["envVar"], one["secretName"]) for one in config["secretAsEnv"] for key in one["keyToEnv"]
        ]
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    s3 = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    tracking = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "STORECAST_TRACKING_TOKEN")
    assert sources("run") == dict.fromkeys((*s3, *tracking), "run")
    assert sources("run", "bucket") == dict.fromkeys(s3, "bucket") | dict.fromkeys(tracking, "run")
    assert sources("run", "", "mine") == dict.fromkeys(s3, "run") | dict.fromkeys(tracking, "mine")
    assert sources("", "bucket") == dict.fromkeys(s3, "bucket")


def test_steps_encrypt_what_they_write_as_the_stores_settings_say(tmp_path: Path) -> None:
    named = Containers(environment="storecast-run", store_keys="keys")
    spec, platform = compiled(plan_training("demo"), tmp_path, named)
    for _, task, _ in leaves(spec, spec["root"]["dag"], {}):
        variables = {entry["name"]: entry["value"] for entry in container(spec, task)["env"]}
        assert variables == {"STORECAST_STORE_KEY_FILE": "/etc/storecast/store/store.keys"}
    for config in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        [volume] = config["secretAsVolume"]
        assert (volume["secretName"], volume["mountPath"]) == ("keys", "/etc/storecast/store")
        keys = {key["envVar"] for key in config["configMapAsEnv"][0]["keyToEnv"]}
        assert keys >= {"STORECAST_S3_ENCRYPTION", "STORECAST_S3_KMS_KEY"}


def test_what_is_planned_has_no_result() -> None:
    with pytest.raises(TypeError, match="'ingest' is planned, not made"):
        plan_training("demo").steps[0].result()


def test_without_kfp_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kfp.compiler", None)
    with pytest.raises(ConfigError, match=r"storecast\[kfp\]"):
        compile_pipeline(plan_training("demo"), Containers(), tmp_path / "pipeline.yaml")


def test_a_file_that_is_no_yaml_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.yaml"):
        compile_pipeline(plan_training("demo"), Containers(), tmp_path / "pipeline.json")
