"""The training flow: from raw files to a released forecast, as a Prefect flow over the stages.

Each task is a stage of `components`, unchanged; what has been made already is found, not made again, so a
rerun takes seconds and a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from components import activate, evaluate, features, forecast, gate, ingest, register, release, report, train
from components.stage import open_panel, open_store, progress
from storecast.backtest import fold_cutoffs
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.errors import StorecastError, StoreError
from storecast.models.catalogue import load_spec, uses_features
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import Release, ReleaseStore
from storecast.training_config import NAIVE, load_training_config

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """What a training run came to.

    Attributes:
        panel, evaluation, decision, report: the data sets it made or found.
        made: the release it made or found; None where there was nothing to release.
        current: the release that is current afterwards, None before the first.
    """

    panel: Dataset
    evaluation: Dataset
    decision: Dataset
    report: Dataset
    made: Release | None
    current: Release | None


def _worth_retrying(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Wrong data and wrong settings stay wrong; storage and servers come back."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoreError) or not isinstance(error, StorecastError)


def _stage(run: Callable[P, R], name: str) -> Callable[P, R]:
    """A stage as a Prefect task that shows its progress."""

    @wraps(run)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        with progress.stage(name):
            return run(*args, **kwargs)

    return task(
        name=name,
        task_run_name=name,
        retries=2,
        retry_delay_seconds=[2, 10],
        retry_condition_fn=_worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(shown)


@flow(
    name="train", flow_run_name="{dataset} with {training}", persist_result=False, validate_parameters=False
)
def training_flow(dataset: str, data: str, training: str = "full", workspace: str = "") -> Outcome:
    """Train, evaluate and release a forecast.

    Args:
        dataset: data set config, by name or file.
        data: folder or URI of the raw files.
        training: training config, by name or file.
        workspace: where data sets and releases lie; "" as the settings say.
    """
    store = open_store(workspace)
    panel = _stage(ingest.run, "ingest")(dataset, data, workspace)
    fits, final = _fit_all(store, panel.uri, training, workspace)
    scores = _stage(evaluate.run, "evaluate")(panel.uri, fits, training, workspace)
    releases = ReleaseStore(store, load_dataset_config(config_file(dataset, "datasets")).name)
    rival = _rival(releases, scores)
    rival_uri = rival.uri if rival else ""
    decision = _stage(gate.run, "gate")(panel.uri, scores.uri, rival_uri, training, workspace)
    promoted = bool(decision.counts["promoted"])
    shown = _stage(report.run, "report")(
        panel.uri, scores.uri, decision.uri, [*fits, *final], training, workspace
    )
    made: Release | None = None
    if promoted or (rival and rival.about["panel"] != panel.hash):
        predicted = _stage(forecast.run, "forecast")(
            panel.uri, scores.uri, decision.uri, final, rival_uri, workspace
        )
        made = _stage(release.run, "release")(
            panel.uri, scores.uri, decision.uri, predicted.uri, shown.uri, rival_uri, workspace
        )
    _stage(register.run, "register")(
        panel.uri, scores.uri, decision.uri, shown.uri, made.uri if made else "", training, workspace
    )
    if made and not releases.was_current(made.id):
        why = "promoted by the gate" if promoted else "the champion's forecast from new data"
        _stage(activate.run, "activate")(made.uri, why, workspace)
    outcome = Outcome(panel, scores, decision, shown, made, releases.current())
    _show(outcome, store)
    return outcome


def _rival(releases: ReleaseStore, scores: Dataset) -> Release | None:
    """The release a challenger is measured against: the current one.

    Where the challenger is the current one already (a rerun), it is judged as it was then, so that the
    rerun finds everything made.
    """
    current = releases.current()
    if current and current.about["evaluation"] == scores.hash:
        before = str(current.about["champion"])
        return releases.get(before) if before else None
    return current


def _fit_all(store: DatasetStore, panel: str, training: str, workspace: str) -> tuple[list[str], list[str]]:
    """Every model at every fold and at the panel's cutoff; a fit starts from the fold before it.

    Returns:
        URIs of the folds' fits, and of the fits at the panel's cutoff.
    """
    config, whole = load_training_config(training), open_panel(store, panel)
    cutoffs = [str(c.date()) for c in [*fold_cutoffs(whole, config.folds), whole.cutoff]]
    table = _stage(features.run, "features")(panel, training, workspace)
    folds: list[str] = []
    final: list[str] = []
    for model in config.models:
        spec, previous = load_spec(model), ""
        features_uri = table.uri if uses_features(spec) else ""
        for cutoff in cutoffs:
            fit = _stage(train.run, f"train {spec.name} at {cutoff}")
            previous = fit(panel, model, cutoff, training, features_uri, previous, "", workspace).uri
            (final if cutoff == cutoffs[-1] else folds).append(previous)
    return folds, final


def _show(outcome: Outcome, store: DatasetStore) -> None:
    """The comparison, the gate's reasons and the way to the release on the run's page."""
    table = comparison(store.path(outcome.evaluation))
    create_table_artifact(key="comparison", table=json.loads(table.round(4).to_json(orient="records")))
    lines = [f"- {reason}" for reason in reasons(store.path(outcome.decision))]
    if outcome.current:
        lines += ["", f"Current release: `{outcome.current.id}` at `{outcome.current.uri}`"]
    create_markdown_artifact(key="decision", markdown="\n".join(["## The gate", "", *lines]))


def comparison(evaluation: Path) -> pd.DataFrame:
    """Scores of each model on the last fold, the best first, with its gain over the seasonal naive."""
    scores = pd.DataFrame(json.loads((evaluation / "scores.json").read_text()))
    last = scores[scores["cutoff"] == scores["cutoff"].max()].sort_values("rmsle")
    naive = float(last.loc[last["model"] == NAIVE, "rmsle"].iloc[0])
    columns = ["model", "rmsle", "vs_naive", "mae", "wape", "mase", "bias", "coverage_80", "coverage_95"]
    gains: pd.DataFrame = last.assign(vs_naive=last["rmsle"] / naive - 1)
    return gains[columns].reset_index(drop=True)


def reasons(decision: Path) -> list[str]:
    """The gate's reasons, in sentences."""
    return [str(reason) for reason in json.loads((decision / "decision.json").read_text())["reasons"]]
