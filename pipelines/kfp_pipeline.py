"""The training run as a Kubeflow (KFP v2) pipeline: each step of the plan is a container that runs its stage.

What a stage takes comes from its function's signature. KFP keeps a step's result by its inputs: right for
stages whose inputs are named by their content, switched off for those that look at what may have changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.executor import stage_function
from pipelines.plan import Branch, Parameter, Plan, PlannedArgument, Step
from pipelines.work_pools import STORE_KEY_FILE, STORE_KEYS
from storecast import __version__
from storecast.errors import ConfigError

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent
    from kfp.dsl.pipeline_task import PipelineTask

GPU = "nvidia.com/gpu"
NEVER_KEPT = frozenset({"ingest", "gate", "activate"})
"""Stages that look at raw files or the current release: the same inputs, another day's answer."""
SETTINGS = (
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "STORECAST_TRACKING_URI",
    "STORECAST_TRACKING_PAGE",
    "STORECAST_S3_ENCRYPTION",
    "STORECAST_S3_KMS_KEY",
    "STORECAST_CORES",
)
"""What stages read from the environment: keys of the chart's ConfigMap for the pods of runs."""
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
MLFLOW_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "STORECAST_TRACKING_TOKEN")
"""And of its Secret, or of secrets of their own."""


@dataclass(frozen=True)
class Containers:
    """What the steps run in.

    Attributes:
        image: of every step, less those of train_image.
        train_image: of the steps that train faster on a GPU.
        retries: how often a step is tried again.
        gpus: how many GPUs such a step asks for; 0: it runs without.
        environment: name of the ConfigMap and of the Secret with the stages' environment; "": there is none.
        s3_secret: the Secret with the keys of S3; "": the one above.
        mlflow_secret: the Secret with MLflow's user and password, or token; "": the one above.
        store_keys: the Secret with the keys that Parquet files are encrypted with; "": they are plain.
    """

    image: str = f"storecast/component:{__version__}"
    train_image: str = f"storecast/train-gpu:{__version__}"
    retries: int = 2
    gpus: int = 1
    environment: str = ""
    s3_secret: str = ""
    mlflow_secret: str = ""
    store_keys: str = ""

    @property
    def secrets(self) -> dict[str, tuple[str, ...]]:
        """Which keys come from which Secret. Each from one alone: Argo merges variables of the same name."""
        found: dict[str, tuple[str, ...]] = {}
        for given, keys in ((self.s3_secret, S3_KEYS), (self.mlflow_secret, MLFLOW_KEYS)):
            if name := given or self.environment:
                found[name] = (*found.get(name, ()), *keys)
        return found


def compile_pipeline(plan: Plan, containers: Containers, output: Path) -> None:
    """Write a plan as a KFP pipeline.

    Args:
        plan: what to run.
        containers: what to run it in.
        output: YAML file.

    Raises:
        ConfigError: kfp is not installed, or the output is no YAML file.
    """
    if output.suffix not in {".yaml", ".yml"}:
        raise ConfigError("not a YAML file", where=str(output), expected="a name that ends in .yaml")
    compiler = _kfp("compiler")
    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(_pipeline(plan, containers), str(output))


def _kfp(module: str) -> Any:
    """A module of kfp, which only those who compile a pipeline need."""
    try:
        import kfp.compiler
        import kfp.dsl
    except ModuleNotFoundError as error:
        raise ConfigError(
            "KFP is not installed",
            where="this Python environment",
            found=str(error),
            cure="install the extra: pip install 'storecast[kfp]'",
        ) from error
    return getattr(kfp, module)


def _pipeline(plan: Plan, containers: Containers) -> BaseComponent:
    dsl = _kfp("dsl")

    def pipeline(dataset: str, data: str, workspace: str) -> None:
        build = _Builder(dsl, containers, {"dataset": dataset, "data": data, "workspace": workspace})
        build.add(plan, Branch.ALWAYS)
        with dsl.If(build.tasks[plan.gate].outputs["release"] == "true", name="release"):
            build.add(plan, Branch.RELEASE)
        with dsl.Else(name="no-release"):
            build.add(plan, Branch.NO_RELEASE)

    pipeline.__annotations__ = {"dataset": str, "data": str, "workspace": str}  # as types, which KFP wants
    pipeline.__doc__ = f"""From raw files to a released forecast, with the training config {plan.training!r}.

    Args:
        dataset: Data set config, by name.
        data: URI of the raw files.
        workspace: URI under which data sets and releases lie; every step must reach it.
    """
    named: BaseComponent = dsl.pipeline(name=f"storecast-train-{_plain(Path(plan.training).stem)}")(pipeline)
    return named


class _Builder:
    """Tasks of a pipeline that is being defined, by the steps that they are."""

    def __init__(self, dsl: Any, containers: Containers, given: Mapping[str, Any]) -> None:
        self.dsl, self.containers, self.given = dsl, containers, given
        self.tasks: dict[Step, PipelineTask] = {}
        self.components: dict[tuple[object, ...], Any] = {}

    def add(self, plan: Plan, branch: Branch) -> None:
        """Add a branch's steps."""
        for step in plan.steps:
            if step.branch is branch:
                self.tasks[step] = self._task(step, counts=("release",) if step is plan.gate else ())

    def _task(self, step: Step, counts: tuple[str, ...]) -> PipelineTask:
        inputs = _inputs(step)
        key = (step.stage, step.gpu, step.flags, counts, tuple(inputs))
        if key not in self.components:
            self.components[key] = self._component(step, inputs, counts)
        values = {name: self._value(value) for name, (_, value) in inputs.items()}
        task: PipelineTask = self.components[key](**values)
        task.set_display_name(step.label)
        task.set_caching_options(step.stage not in NEVER_KEPT)
        task.set_retry(self.containers.retries, backoff_duration="10s", backoff_factor=2)
        if step.after:
            task.after(*(self.tasks[other] for other in step.after))
        if step.gpu and self.containers.gpus:
            task.set_accelerator_type(GPU).set_accelerator_limit(self.containers.gpus)
        if self.containers.store_keys:
            task.set_env_variable("STORECAST_STORE_KEY_FILE", f"{STORE_KEYS}/{STORE_KEY_FILE}")
        if only_there := self._platform(step):
            task.platform_config["kubernetes"] = only_there
        return task

    def _value(self, value: str | Step) -> Any:
        if isinstance(value, Step):
            return self.tasks[value].outputs["uri"]
        return self.given[value] if isinstance(value, Parameter) else value

    def _component(
        self, step: Step, inputs: Mapping[str, tuple[str, str | Step]], counts: tuple[str, ...]
    ) -> Any:
        """A container component with an option for each input, which writes its output's URI and counts."""
        image = self.containers.train_image if step.gpu else self.containers.image

        def component(*values: Any) -> Any:
            given = dict(zip(signature.parameters, values, strict=True))
            options = [part for name, (option, _) in inputs.items() for part in (option, given[name])]
            options += [_option(flag) for flag in step.flags]
            for name in counts:
                options += ["--count", self.dsl.ConcatPlaceholder([f"{name}=", given[name]])]
            return self.dsl.ContainerSpec(
                image=image,
                command=["python", "-m", "components"],
                args=[step.stage, *options, "--result", given["uri"]],
            )

        kinds = {**dict.fromkeys(inputs, str), **dict.fromkeys((*counts, "uri"), self.dsl.OutputPath(str))}
        keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature = inspect.Signature(
            [inspect.Parameter(name, keyword, annotation=kind) for name, kind in kinds.items()]
        )
        component.__signature__ = signature  # type: ignore[attr-defined]
        component.__name__ = f"{step.stage}_gpu" if step.gpu else step.stage
        component.__doc__ = (stage_function(step.stage).__doc__ or "").split("\n\n    Returns:")[0]
        return self.dsl.container_component(component)

    def _platform(self, step: Step) -> dict[str, Any]:
        """What only Kubernetes knows of, as KFP's platform document says it."""
        config: dict[str, Any] = {}
        if step.gpu and self.containers.gpus:
            config["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
        if name := self.containers.environment:
            keys = [{"configMapKey": key, "envVar": key} for key in SETTINGS]
            config["configMapAsEnv"] = [{**_named("configMapName", name), "keyToEnv": keys, "optional": True}]
        if secrets := self.containers.secrets:
            config["secretAsEnv"] = [
                {
                    **_named("secretName", name),
                    "keyToEnv": [{"secretKey": key, "envVar": key} for key in keys],
                    "optional": True,
                }
                for name, keys in secrets.items()
            ]
        if name := self.containers.store_keys:
            config["secretAsVolume"] = [{**_named("secretName", name), "mountPath": STORE_KEYS}]
        return config


def _named(key: str, name: str) -> dict[str, Any]:
    """A ConfigMap's or Secret's name, as older and newer servers of KFP read it."""
    return {key: name, f"{key}Parameter": {"runtimeValue": {"constant": name}}}


def _inputs(step: Step) -> dict[str, tuple[str, str | Step]]:
    """Name of each of a component's inputs → its option and its value; a list is an input per item.

    Raises:
        TypeError: the stage's function takes no such argument, or not a list of them.
    """
    taken = inspect.signature(stage_function(step.stage)).bind_partial(
        **step.arguments, **dict.fromkeys(step.flags, True)
    )
    found: dict[str, tuple[str, str | Step]] = {}
    for name, argument in taken.arguments.items():
        if name not in step.flags:
            found.update(_spread(name, argument))
    return found


def _spread(name: str, argument: PlannedArgument) -> dict[str, tuple[str, str | Step]]:
    option = _option(name)
    if isinstance(argument, (str, Step)):
        return {name: (option, argument)}
    return {f"{name}_{number}": (option, item) for number, item in enumerate(argument, start=1)}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())
