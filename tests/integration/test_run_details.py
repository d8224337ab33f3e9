"""What Prefect's API tells of runs, to the command line and the dashboard; against a real one."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import lift
import pytest
from dashboard_pages import draw, on_loopback, words
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Running, Scheduled
from streamlit.testing.v1 import AppTest

from orchestrator import details, runs
from orchestrator.details import RunDetails
from pipelines import local_runner, runs_cli
from pipelines.executor import stage_task
from pipelines.loop import retrain_flow, watch_flow
from pipelines.progress import Reporter
from pipelines.tuning import tuning_flow
from storecast.actuals import Actuals
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.errors import ConfigError, StoreError
from storecast.synthetic import write_raw


@pytest.fixture(scope="module", autouse=True)
def _deployments(prefect_api: None) -> None:
    """The local runner's, in a Prefect API."""
    for deployment in local_runner.deployments():
        deployment.apply()


def test_a_run_tells_its_stages_shards_progress_log_and_verdict() -> None:
    report = Reporter()

    def fit(label: str) -> str:
        report(label, 0, 250)
        report(label, 250, 250)
        return "made"

    @flow(name="train", persist_result=False)
    def training() -> None:
        for label in ("ingest", "train arima at 2023-07-15, shard 2 of 8"):
            stage_task(fit, label, [])(label)
        get_run_logger().warning("nearly done")
        create_markdown_artifact(key="decision", markdown="- it beats the naive")

    run = str(training(return_state=True).state_details.flow_run_id)
    deadline = time.monotonic() + 60
    while True:  # Prefect writes stages and logs a little later
        found = details.details(run)
        done = [stage.state for stage in found.stages] == ["Completed", "Completed"]
        if done and any(line.text == "nearly done" for line in found.log):
            break
        assert time.monotonic() < deadline, found
    assert [(stage.stage, stage.shard, stage.progress) for stage in found.stages] == [
        ("ingest", "", 100.0),
        ("train arima at 2023-07-15", "2 of 8", 100.0),
    ]
    assert (found.flow, found.run.ended, found.verdict) == ("train", True, "- it beats the naive")
    assert run in {each.id for each in runs.latest()}


def test_what_a_run_can_be_given_is_told_as_its_deployment_says() -> None:
    schema, given = details.form_of("demo")
    assert {"seed", "training", "workspace", "pods"} == set(schema["properties"])
    assert given == {}
    with pytest.raises(StoreError, match=r"no deployment other/other(?s:.*)storecast up"):
        details.form_of("other")


def test_a_tuning_can_be_given_what_its_flow_takes_within_its_limits() -> None:
    asked = details.form_of("tune")[0]["properties"]
    assert {"model", "dataset", "data", "training", "minutes", "jobs", "folds", "series"} <= set(asked)
    trials = asked["trials"]
    assert (trials["type"], trials["minimum"], trials["default"]) == ("integer", 1, 20)
    assert "those of an earlier run count" in trials["description"]
    with pytest.raises(StoreError):
        runs.start("tune", {"trials": 0})


def test_the_training_page_starts_a_tuning_as_its_form_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    tuned = tmp_path / "tuned" / "shop" / "quick" / "training.yaml"
    tuned.parent.mkdir(parents=True)
    tuned.write_text("name: quick-tuned\nmodels: [naive, gbm]\n")
    with on_loopback():
        page = draw("training")
        page.get("button_group")[0].set_value("Tuning of a model").run()
        assert selected(page, "Model").options == ["arima", "gbm", "lstm", "prophet"]
        assert "quick, tuned on shop" in selected(page, "Training config").options
        start(page)
        assert "Name the raw files" in words(page)
        selected(page, "Model").set_value("lstm")
        selected(page, "Data set config").set_value("synthetic")
        next(box for box in page.text_input if box.label == "Raw files").set_value("s3://shop/raw")
        page.number_input(key="tuning trials").set_value(5)
        page.number_input(key="tuning more folds").set_value(2)
        start(page)
        assert not page.exception

    run = str(page.session_state["run"])
    found = details.details(run)
    given = found.parameters
    assert found.flow == "tune"
    assert (given["model"], given["data"], given["trials"], given["folds"]) == ("lstm", "s3://shop/raw", 5, 2)
    assert "jobs" not in given, "what was left as it is, the deployment says"
    (asked, *_) = sorted((tmp_path / "audit").rglob("*-asked.json"))
    assert json.loads(asked.read_text())["about"]["flow"] == "tune"
    assert runs.cancel(run).state in {"Cancelling", "Cancelled"}


def test_the_training_page_starts_a_run_in_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    with on_loopback():
        page = draw("training")
        page.get("button_group")[0].set_value("Training on your data").run()
        next(box for box in page.text_input if box.label == "Raw files").set_value("s3://shop/raw")
        next(box for box in page.checkbox if box.label == "Train it in partitions").check().run()
        page.number_input(key="partitioned series").set_value(500)
        page.text_input(key="partitioned by").set_value("family")
        assert "Partitions at a time" not in {field.label for field in page.number_input}, (
            "one at a time on this machine"
        )
        start(page, "Start the run")
        assert not page.exception

    run = str(page.session_state["run"])
    found = details.details(run)
    assert found.flow == "partitioned"
    assert (found.parameters["series"], found.parameters["by"], found.parameters["data"]) == (
        500,
        "family",
        "s3://shop/raw",
    )
    assert runs.cancel(run).state in {"Cancelling", "Cancelled"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with raw files and a model to tune, where runs are carried out."""
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    lift.write(tmp_path)
    write_raw(tmp_path / "raw", n_stores=2, n_families=2, n_days=220)
    yield tmp_path
    sys.modules.pop("lift_model", None)


def test_a_tuning_tells_its_progress_its_trials_and_what_to_train_with(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "mine")  # reports as a deployment's run does
    head, *_, last = (place / "raw" / "train.csv").read_text().splitlines()
    (place / "train-corrected.csv").write_text(f"{head}\n{last}\n")
    synthetic = load_dataset_config(config_file("synthetic", "datasets"))
    Actuals(str(place / "home"), synthetic).add(str(place / "train-corrected.csv"))
    asked = {"model": "lift.yaml", "space": "space.yaml", "training": "mine.yaml", "dataset": "synthetic"}
    state = tuning_flow(**asked, data=str(place / "raw"), trials=6, jobs=1, return_state=True)
    run = str(state.state_details.flow_run_id)

    deadline = time.monotonic() + 60
    while not all_done(found := details.details(run), 3):  # Prefect writes stages a little later
        assert time.monotonic() < deadline, found
    assert (found.flow, found.run.state) == ("tune", "Completed")
    progress = {stage.stage: stage.progress for stage in found.stages}
    assert set(progress) == {"ingest", "tune lift", "report"}
    assert progress["tune lift"] == 100.0
    assert len(found.trials) == 6
    assert found.trials[0]["rmsle"] <= found.trials[-1]["rmsle"]
    assert "% less, pooled over the folds after" in found.verdict
    (config,) = (place / "home" / "tuned").rglob("training.yaml")
    assert str(config) in found.verdict
    (panel,) = (place / "home" / "datasets" / "ingest").glob("*/manifest.json")
    assert json.loads(panel.read_text())["counts"]["superseded"] == 1, "it knows what has arrived"


def all_done(found: RunDetails, stages: int) -> bool:
    """Whether so many stages are there, and all of them done."""
    return [stage.state for stage in found.stages] == ["Completed"] * stages


def selected(page: AppTest, label: str) -> Any:
    """The select box of a label."""
    return next(box for box in page.selectbox if box.label == label)


def start(page: AppTest, label: str = "Start the tuning") -> None:
    """Press the button that starts it."""
    next(button for button in page.button if button.label == label).click().run()


def test_a_run_that_waits_is_listed_and_cancelled() -> None:
    run = runs.start("demo", {"seed": 3})
    assert not run.ended
    assert runs.latest()[0].id == run.id
    assert runs.cancel(run.id).state in {"Cancelling", "Cancelled"}
    assert details.details(run.id).parameters["seed"] == 3


def test_who_asks_twice_with_one_key_starts_one_run() -> None:
    run = runs.start("demo", {"seed": 6}, key="once")
    assert runs.start("demo", {"seed": 6}, key="once").id == run.id
    assert runs.start("demo", {"seed": 6}).id != run.id


def test_a_start_whose_answer_was_lost_starts_no_second_run_when_it_is_pressed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    begun: list[str] = []
    begin = runs.start

    def loses_its_first_answer(*given: Any) -> runs.Run:
        begun.append(begin(*given).id)
        if len(begun) == 1:
            raise StoreError("the Prefect API refused or cannot be reached")
        return begin(*given)

    monkeypatch.setattr(runs, "start", loses_its_first_answer)
    with on_loopback():
        page = draw("training")
        start(page, "Start the run")
        assert "cannot be reached" in words(page)
        start(page, "Start the run")
        assert page.session_state["run"] == begun[0]
        start(page, "Start the run")
        assert page.session_state["run"] != begun[0], "once it is known to be started, another is another"
    for run in set(begun):
        runs.cancel(run)


def test_a_run_in_partitions_comes_to_what_became_of_them_and_not_to_one_gates_verdict() -> None:
    @flow(name="train", persist_result=False)
    def one_partition() -> None:
        create_markdown_artifact(key="decision", markdown="## The gate\n\n- it beats the naive")

    @flow(name="partitioned", persist_result=False)
    def partitions(ended: bool) -> None:
        one_partition()
        if ended:
            create_markdown_artifact(key="partitions", markdown="## The partitions' releases\n\n- a: `b`")

    under_way, ended = (
        details.details(str(partitions(done, return_state=True).state_details.flow_run_id))
        for done in (False, True)
    )
    assert (under_way.verdict, "- a: `b`" in ended.verdict) == ("", True)


def test_the_loop_is_listed_by_its_trainings_the_passes_under_way_and_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path))
    later, late, longer = (
        Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=n)) for n in (1, -1, -2)
    )
    with get_client(sync_client=True) as client:
        made = {
            name: str(client.create_flow_run(of, name=name, state=state).id)
            for of, name, state in (
                (retrain_flow, "the loop's training", Completed()),
                (watch_flow, "a pass that did well", Completed()),
                (watch_flow, "the last pass", Failed(message="no sales")),
                (watch_flow, "a pass that waited longer", longer),
                (watch_flow, "a pass that waits for a worker", late),
                (watch_flow, "a pass under way", Running()),
                (watch_flow, "a pass to come", later),
            )
        }
    found = [run for run in runs.latest() if run.id in made.values()]
    names = ["a pass under way", "the last pass", "the loop's training", "a pass that waits for a worker"]
    assert sorted(run.name for run in found) == sorted(names)
    with on_loopback():
        page = draw("training")
        selected(page, "Run").set_value(made["a pass under way"]).run()
        assert not page.exception
        assert "watch" in words(page)
    assert runs.cancel(made["a pass under way"]).ended


NOBODY = "http://127.0.0.1:1/api"


class Refusing(BaseHTTPRequestHandler):
    """A Prefect API that asks for another password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        del format, arguments


def test_who_watches_a_run_where_nobody_answers_or_the_password_is_wrong_is_told_at_once() -> None:
    with temporary_settings({PREFECT_API_URL: NOBODY}), pytest.raises(StoreError, match="prefect_api_url"):
        next(runs.watch(str(uuid4()), print))
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: url}), pytest.raises(StoreError, match=r"401(?s:.*)auth"):
            next(runs.watch(str(uuid4()), print))
        server.shutdown()
        thread.join()


def test_who_watches_a_run_is_told_once_that_the_api_is_away_and_is_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = runs.start("demo", {"seed": 4}).id
    told: list[StoreError] = []
    watched = runs.watch(run, told.append, 0.01)
    assert next(watched)[0].id == run
    tries: list[int] = []

    def nobody() -> SyncPrefectClient:
        tries.append(1)
        raise StoreError("cannot be reached")

    monkeypatch.setattr(runs, "connected", nobody)
    monkeypatch.setattr(runs, "SILENCE_SECONDS", 0.3)
    with pytest.raises(StoreError, match="cannot be reached"):
        next(watched)
    assert (len(told), len(tries) > 2) == (1, True)
    monkeypatch.undo()
    runs.cancel(run)


def test_who_watches_a_run_in_partitions_sees_each_stage_though_two_have_one_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [runs.Stage(number, "features", "Completed") for number in ("1", "2")]
    done = runs.Run("0", "in partitions", "Completed", "", None, ended=True)
    monkeypatch.setattr(runs, "watch", lambda *_: iter([(done, both)]))
    runs_cli.watch_run("0")
    assert capsys.readouterr().out.count("features") == 2


def test_a_run_that_does_not_exist_is_refused_by_name() -> None:
    for wrong in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(ConfigError, match="no such run"):
            details.details(wrong)
