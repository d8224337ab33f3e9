"""All stages by hand, as a workflow engine would call them, on a small synthetic panel."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from components import activate, evaluate, features, forecast, gate, ingest, register, release, report, train
from components.stage import open_panel, open_store
from storecast.backtest import fold_cutoffs
from storecast.store.releases import Release

TRAINING = "name: two\nmodels: [naive, gbm]\nprofile: smoke\nfolds: 2\n"
"""The training config that `release_of` finds as two.yaml."""


def release_of(folder: Path, raw: str, champion: str = "") -> tuple[Release, dict[str, object]]:
    """The release that the raw files lead to, and the gate's decision."""
    training = str(folder / "two.yaml")
    panel = ingest.run("synthetic", str(folder / raw))
    table = features.run(panel.uri, training)
    whole = open_panel(open_store(), panel.uri)
    *folds, last = [str(c.date()) for c in [*fold_cutoffs(whole, 2), whole.cutoff]]

    def fits(cutoff: str) -> list[str]:
        return [
            train.run(panel.uri, "naive", cutoff, training).uri,
            train.run(panel.uri, "gbm", cutoff, training, table.uri).uri,
        ]

    backtest = [uri for fold in folds for uri in fits(fold)]
    scores = evaluate.run(panel.uri, backtest, training)
    decision = gate.run(panel.uri, scores.uri, champion, training)
    champion = champion.removeprefix("current")  # whom the gate took, the others see in its decision
    made = forecast.run(panel.uri, scores.uri, decision.uri, fits(last), champion)
    shown = report.run(panel.uri, scores.uri, decision.uri, backtest, training)
    published = release.run(panel.uri, scores.uri, decision.uri, made.uri, shown.uri, champion)
    register.run(panel.uri, scores.uri, decision.uri, shown.uri, published.uri, training)
    verdict = json.loads((open_store().path(decision) / "decision.json").read_text())
    return activate.run(published.uri), verdict


def drop_last_days(raw: Path, days: int) -> None:
    """Move the last days of the history into the future table: the same shop, seen earlier."""
    history, future = pd.read_csv(raw / "train.csv"), pd.read_csv(raw / "test.csv")
    dates = sorted(history["date"].unique())
    late = history["date"].isin(dates[-days:])
    future = pd.concat([history[late].drop(columns="sales"), future])
    future = future[future["date"].isin(sorted(future["date"].unique())[:16])]
    history[~late].to_csv(raw / "train.csv", index=False)
    future.to_csv(raw / "test.csv", index=False)
