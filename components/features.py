"""Stage: from the panel to the feature table that models learn from.

    python -m components.features --panel URI --training quick

Holds the rows of every training cutoff that a model of the training config asks for, at any fold or at the
panel's cutoff; a fit reads those whose targets its own cutoff has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.stage import PanelUri, Training, Workspace, main, open_panel, open_store, progress
from storecast.backtest import fold_cutoffs
from storecast.features import write
from storecast.models.base import FeatureUser
from storecast.models.catalogue import load_spec, uses_features
from storecast.store.code import code_version
from storecast.store.datasets import Dataset
from storecast.training_config import load_training_config


def run(
    panel: PanelUri,
    training: Training = "full",
    workspace: Workspace = "",
) -> Dataset:
    """Build the feature table of a panel.

    Args:
        panel: URI of the panel.
        training: training config, by name or file: its folds set the cutoffs.
        workspace: where data sets lie.

    Returns:
        A data set that `FitContext.features` takes.
    """
    store, config = open_store(workspace), load_training_config(training)
    source = store.open(panel)

    users = [spec for spec in map(load_spec, config.models) if uses_features(spec)]

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        whole = open_panel(store, panel)
        models = [spec.make(config.profile) for spec in users]
        cutoffs = {
            cutoff
            for end in [*fold_cutoffs(whole, config.folds), whole.cutoff]
            for model in models
            if isinstance(model, FeatureUser)
            for cutoff in model.feature_cutoffs(whole.at(end))
        }
        rows = write(folder, whole, cutoffs, progress=progress("features")) if cutoffs else 0
        return {"rows": rows, "cutoffs": len(cutoffs)}

    return store.materialise(
        "features",
        inputs={"panel": source.hash},
        config={
            "folds": config.folds,
            "users": {spec.name: spec.config(config.profile).model_dump(mode="json") for spec in users},
        },
        code=code_version("components.features", *(spec.module for spec in users)),
        build=build,
    )


if __name__ == "__main__":
    main(run)
