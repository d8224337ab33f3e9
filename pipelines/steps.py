"""The training run as steps on an executor: which stage needs what, and what the gate's decision leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from components.activate import ends_before_current
from components.stage import open_panel, open_store
from pipelines.executor import Argument, Executor, Made
from storecast.actuals import KEPT
from storecast.backtest import fold_cutoffs
from storecast.configs import config_file
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.models.catalogue import ModelSpec, load_class, load_spec, uses_features
from storecast.models.shards import shard_count
from storecast.store import uri as uris
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import Release, ReleaseStore
from storecast.training_config import TrainingConfig, check_segments, load_training_config


@dataclass(frozen=True)
class Outcome:
    """What a training run came to.

    Attributes:
        panel, evaluation, decision, report: the data sets it made or found.
        tracked: the run and the model's version in MLflow.
        made: the release it made or found; None where there was nothing to release.
        current: the release that is current afterwards, None before the first.
        behind: why the release it made is not current, where its data end before the current one's; else "".
    """

    panel: Dataset
    evaluation: Dataset
    decision: Dataset
    report: Dataset
    tracked: Dataset
    made: Release | None
    current: Release | None
    behind: str = ""


@dataclass(frozen=True)
class Fits:
    """Every model's fits: at the folds' cutoffs, and at the panel's."""

    folds: list[Made] = field(default_factory=list)
    final: list[Made] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingRun:
    """A training run on an executor.

    Attributes:
        executor: where the stages run.
        dataset: data set config, by name or file.
        data: folder or URI of the raw files.
        training: training config, by name or file.
        workspace: where data sets and releases lie; "": as the settings say.
        shard_size: series per shard of a local model; 0: as the training config says.
        actuals: URI of what has arrived since the raw files; KEPT: what the workspace has; "": nothing.
        shadow: publish a challenger that passed the gate, and leave it to others to make it current.
    """

    executor: Executor
    dataset: str
    data: str
    training: str
    workspace: str
    shard_size: int = 0
    actuals: str = KEPT
    shadow: bool = False

    def run(self) -> Outcome:
        """Train, evaluate, and release what the gate lets pass.

        Raises:
            ConfigError: the training config names segments that the panel does not have.
        """
        raw: dict[str, Argument] = {"dataset": self.dataset, "data": self.data}
        panel = self._get("ingest", {**raw, "actuals": self.actuals})
        whole = open_panel(self.store, panel.uri)
        check_segments(self.training, whole.static.columns)
        cutoffs = [str(cutoff.date()) for cutoff in [*fold_cutoffs(whole, self.config.folds), whole.cutoff]]
        fits = self.fit_all(panel.uri, cutoffs, int(panel.counts["series"]))
        scores = self._get("evaluate", {"panel": panel.uri, "fit": fits.folds, "training": self.training})
        return self._release(panel, scores, fits)

    def fit_all(self, panel: Argument, cutoffs: Sequence[str], series: int) -> Fits:
        """Every model at every fold and at the panel's cutoff; a fit starts from the fold before it.

        Args:
            panel: the panel's URI, or the stage that makes it.
            cutoffs: of the folds, then the panel's.
            series: number of series of the panel.
        """
        specs = {model: load_spec(model) for model in self.config.models}
        table: Argument = ""
        if any(map(uses_features, specs.values())):
            table = self._submit("features", "features", {"panel": panel, "training": self.training})
        fits = Fits()
        for model, spec in specs.items():
            previous: Argument = ""
            for cutoff in cutoffs:
                made = self._fit(
                    spec, model, cutoff, panel, table if uses_features(spec) else "", previous, series
                )
                (fits.final if cutoff == cutoffs[-1] else fits.folds).append(made)
                previous = made
        return fits

    @cached_property
    def config(self) -> TrainingConfig:
        """The training config."""
        return load_training_config(self.training)

    @cached_property
    def store(self) -> DatasetStore:
        """Where data sets lie."""
        return open_store(self.workspace)

    @cached_property
    def source(self) -> DatasetConfig:
        """The data set config."""
        return load_dataset_config(config_file(self.dataset, "datasets"))

    @cached_property
    def releases(self) -> ReleaseStore:
        """The data set's releases."""
        return ReleaseStore(self.store, self.source.name)

    def _fit(
        self,
        spec: ModelSpec,
        model: str,
        cutoff: str,
        panel: Argument,
        features: Argument,
        previous: Argument,
        series: int,
    ) -> Made:
        """One model at one cutoff: whole, or where the executor fans out its shards, if there are several,
        and then all of them."""
        label = f"train {spec.name} at {cutoff}"
        arguments: dict[str, Argument] = {
            "panel": panel,
            "model": model,
            "cutoff": cutoff,
            "training": self.training,
            "features": features,
            "previous": previous,
        }
        local = load_class(spec.class_path).scope == "local"
        count = shard_count(series, self.shard_size or self.config.shard_size) if local else 0
        parts = [
            self._submit("train", f"{label}, shard {k} of {count}", {**arguments, "shard": f"{k}/{count}"})
            for k in range(1, count + 1)
            if self.executor.fans_out and count > 1
        ]
        whole = f"all/{count}" if local else ""
        return self._submit("train", label, {**arguments, "shard": whole}, gpu=spec.gpu, after=parts)

    def _release(self, panel: Dataset, scores: Dataset, fits: Fits) -> Outcome:
        """From the scores to the gate's decision, the report and, where it may be, the current release."""
        about: dict[str, Argument] = {"panel": panel.uri, "evaluation": scores.uri}
        trained: dict[str, Argument] = {**about, "training": self.training}
        decision = self._get("gate", {**trained, "champion": "current"})
        about["decision"] = trained["decision"] = decision.uri
        report = self._submit("report", "report", {**trained, "fit": [*fits.folds, *fits.final]})
        made = self._made(about, fits.final, report) if decision.counts["release"] else None
        tracked = self._get("register", {**trained, "report": report, "release": made.uri if made else ""})
        waits = self.shadow and bool(decision.counts["promoted"]) and self.releases.current() is not None
        behind = self._behind(made) if made else ""
        again = made is not None and self.releases.was_current(made.id)  # one that was rolled back stays so
        if made and not (waits or behind or again):
            self._submit("activate", "activate", {"release": made.uri}).result()
        shown = self.store.open(report.result())
        return Outcome(panel, scores, decision, shown, tracked, made, self.releases.current(), behind)

    def _behind(self, made: Release) -> str:
        """Why a release is not to be current, where its data end before the current one's; else ""."""
        why = ends_before_current(self.releases, str(made.about["cutoff"]))
        return f"{made.id} was made and is not current. {why}" if why else ""

    def _made(self, about: Mapping[str, Argument], fits: Sequence[Made], report: Made) -> Release:
        """The release, published but not yet current."""
        forecast = self._submit("forecast", "forecast", {**about, "fit": fits})
        release = self._submit("release", "release", {**about, "forecast": forecast, "report": report})
        return self.releases.get(uris.name_of(release.result()))

    def _submit(
        self,
        stage: str,
        label: str,
        arguments: Mapping[str, Argument],
        *,
        gpu: bool = False,
        after: Sequence[Made] = (),
    ) -> Made:
        given = {**arguments, "workspace": self.workspace}
        return self.executor.submit(stage, label, given, gpu=gpu, after=after)

    def _get(self, stage: str, arguments: Mapping[str, Argument]) -> Dataset:
        """The data set of a stage, once it is made."""
        return self.store.open(self._submit(stage, stage, arguments).result())
