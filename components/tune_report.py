"""Stage: what a tuning came to, as a model config to train with and as one MLflow run.

    python -m components.tune_report --tuning URI --training quick

The config lies at tuned/<data set>/<training>/ in the workspace, beside a training config that uses it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer
import yaml

from components import mlflow_client, mlflow_tracking
from components.stage import Training, Workspace, main, open_store
from components.tune import ABOUT, TRIALS
from storecast import __version__
from storecast.models.catalogue import load_spec
from storecast.report import style
from storecast.settings import load_settings
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import Dataset
from storecast.training_config import TrainingConfig, load_training_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING = "training.yaml"


def run(
    tuning: Annotated[str, typer.Option(help="URI of the tuning.")],
    training: Training = "full",
    workspace: Workspace = "",
) -> Dataset:
    """Write the configs of a tuning that found something better, and log it to MLflow.

    Args:
        tuning: URI of what the stage `tune` made.
        training: the training config that it was tuned for, by name or file.
        workspace: where data sets lie.

    Returns:
        A data set with model.yaml, trials.png and mlflow.json. Its counts say `gain` (of the default's RMSLE,
        1 = 100 %), `run_id`, and `training`: URI of a training config that uses the parameters, or "".

    Raises:
        StoreError: MLflow cannot be reached. Nothing is lost: run the stage again.
    """
    store, config, settings = open_store(workspace), load_training_config(training), load_settings()
    source = store.open(tuning)
    about = json.loads((store.path(source) / ABOUT).read_text())
    trials = parquet.read_frame(store.path(source) / TRIALS)
    gain = 1 - about["rmsle"] / about["default"] if about["default"] else 0.0
    place = uris.join(store.root, "tuned", str(about["dataset"]), re.sub(r"[^\w.-]+", "-", config.name))

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        (folder / "model.yaml").write_text(model_yaml(about))
        style.write_png(folder / "trials.png", lambda: history(trials, about))
        name = f"tune {about['model']['name']} before {about['backtest_from']}"
        experiment = f"storecast-{about['dataset']}"
        with mlflow_tracking.run(settings, experiment, name, str(about["study"])) as tracked:
            tracked.params({k: about[k] for k in ("model", "profile", "cutoffs", "series", "seed")})
            tracked.tags({"storecast.tuning": source.key, "best": json.dumps(about["values"])[:5000]})
            figures = {"rmsle": about["rmsle"], "rmsle_default": about["default"], "gain": gain}
            tracked.metrics(figures, step=len(trials))
            tracked.table("trials", trials)
            tracked.file(folder / "trials.png")
            tracked.file(folder / "model.yaml")
        (folder / "mlflow.json").write_text(json.dumps({"run_id": tracked.id}) + "\n")
        return {
            "gain": gain,
            "run_id": tracked.id,
            "training": uris.join(place, TRAINING) if gain > 0 else "",
        }

    made = store.materialise(
        "tune_report",
        inputs={"tuning": source.hash},
        config={"tracking_uri": mlflow_client.tracking_uri(settings), "training": config.name},
        code=__version__,  # what is logged is inputs; new code alone is no reason to log them again
        build=build,
    )
    if gain > 0:
        publish(place, config, str(about["model"]["name"]), model_yaml(about))
    return made


def publish(place: str, config: TrainingConfig, model: str, text: str) -> None:
    """Write a tuned model's config, and the training config with all models that were tuned for it."""
    uris.write_text(uris.join(place, f"{model}.yaml"), text)
    names = {load_spec(spec).name: spec for spec in config.models}
    tuned = {name: uris.join(place, f"{name}.yaml") for name in [*names, model]}
    models = [
        tuned[name] if uris.exists(tuned[name]) else _absolute(spec)
        for name, spec in {**names, model: model}.items()
    ]
    content = {**config.model_dump(mode="json"), "models": models, "name": f"{config.name}-tuned"}
    uris.write_text(uris.join(place, TRAINING), yaml.safe_dump(content, sort_keys=False))


def model_yaml(about: Mapping[str, Any]) -> str:
    """The model's config with the best parameters, as a file that explains where they are from."""
    model, values = about["model"], about["values"]
    chosen = ", ".join(f"{path}={value}" for path, value in sorted(values.items())) or "the default"
    lines = [
        f"# Tuned: RMSLE {about['rmsle']:.4f}, the default has {about['default']:.4f}, pooled over "
        f"{len(about['cutoffs'])} folds of {about['horizon']} dates",
        f"# and {about['series']:,} of {about['of_series']:,} series, all before {about['backtest_from']}.",
        f"# Trial {about['best']} of study {about['study']}: {chosen}",
    ]
    content = {"name": model["name"], "class": model["class"], "gpu": model["gpu"], "params": about["params"]}
    return "\n".join(lines) + "\n" + yaml.safe_dump(content, sort_keys=False)


def history(trials: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """Every trial's RMSLE, the best so far, and the default's as a line."""
    from matplotlib.ticker import MaxNLocator

    figure, (axis,) = style.new_figure(7.5, 3.6)
    whole, pruned = (trials[trials["state"] == state] for state in ("complete", "pruned"))
    axis.scatter(pruned["trial"], pruned["rmsle"], color=style.PALE, s=22, label="given up early")
    axis.scatter(whole["trial"], whole["rmsle"], color=style.ACCENT, s=22, label="all folds")
    best = whole["rmsle"].cummin()
    axis.step(whole["trial"], best, where="post", color=style.ACCENT, linewidth=1.2, label="best so far")
    axis.axhline(about["default"], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), label="default")
    axis.set_xlabel("trial")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel("RMSLE (lower is better)")
    axis.legend(loc="upper right")
    folds, before = len(about["cutoffs"]), about["backtest_from"]
    note = f"Pooled over {folds} folds before {before}, {about['series']:,} series"
    style.headline(figure, f"Tuning {about['model']['name']}", note)
    return figure


def _absolute(spec: str) -> str:
    """A model spec that is a file of the current folder, found from any folder."""
    return str(Path(spec).absolute()) if uris.is_local(spec) and Path(spec).is_file() else spec


if __name__ == "__main__":
    main(run)
