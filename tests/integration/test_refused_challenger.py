"""A release whose challenger was refused: the champion's model, with the champion's scores."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from staged import drop_last_days

from components import evaluate, forecast, gate, ingest, release, train
from components.stage import open_panel, open_store, releases_of
from storecast.backtest import fold_cutoffs
from storecast.metrics import squared_log_error
from storecast.store.datasets import Dataset
from storecast.store.releases import Release
from storecast.synthetic import write_raw

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-model.md"
SCORED = "rmsle_last_fold", "evaluation"


@dataclass(frozen=True)
class Step:
    """What a training came to."""

    evaluation: Dataset
    decision: Dataset
    release: Release

    @property
    def folder(self) -> Path:
        """Of the release."""
        return Path(self.release.uri)

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """What the gate compared."""
        verdict = json.loads((open_store().path(self.decision) / "decision.json").read_text())
        return list(verdict["comparisons"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model that beats the naive, and a training with it and one with the naive alone."""
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    (tmp_path / "weekday_mean.py").write_text(code[1])
    model = tmp_path / "mean.yaml"
    model.write_text("name: mean\nclass: weekday_mean:WeekdayMean\n")
    for name, models in (("good", f"[naive, {model}]"), ("bad", "[naive]")):
        text = f'name: {name}\nmodels: {models}\nfolds: 2\naggregates: ""\n'
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def trained(folder: Path, raw: str, name: str, models: list[str]) -> Step:
    """A training over raw files, measured against the current release, whose place its release takes."""
    store, training = open_store(), str(folder / f"{name}.yaml")
    panel = ingest.run("synthetic", str(folder / raw))
    whole = open_panel(store, panel.uri)
    *folds, last = [str(c.date()) for c in [*fold_cutoffs(whole, 2), whole.cutoff]]

    def fits(cutoff: str) -> list[str]:
        return [train.run(panel.uri, model, cutoff, training).uri for model in models]

    scores = evaluate.run(panel.uri, [uri for fold in folds for uri in fits(fold)], training)
    decision = gate.run(panel.uri, scores.uri, "current", training)
    made = forecast.run(panel.uri, scores.uri, decision.uri, fits(last))

    def page(place: Path, _: Path) -> dict[str, Any]:
        (place / "report.html").write_text(f"of {scores.hash}")
        return {}

    report = store.materialise("report", inputs={"evaluation": scores.hash}, config={}, code="", build=page)
    published = release.run(panel.uri, scores.uri, decision.uri, made.uri, report.uri)
    releases_of(store, panel).activate(published.id, "")
    return Step(scores, decision, published)


def shop(folder: Path, raw: str, without: int) -> Path:
    """The raw files without the last days."""
    write_raw(folder / raw, n_stores=2, n_families=3, n_days=200)
    if without:
        drop_last_days(folder / raw, without)
    return folder / raw / "train.csv"


def test_a_refused_challenger_leaves_the_champion_with_its_own_scores(home: Path) -> None:
    models = ["naive", str(home / "mean.yaml")]
    shop(home, "first", 14)
    shop(home, "second", 7)
    champion = trained(home, "first", "good", models)
    assert champion.decision.counts["promoted"]

    refused = trained(home, "second", "bad", ["naive"])
    assert not refused.decision.counts["promoted"]
    assert refused.release.about["fitted_to"] == champion.release.about["cutoff"]
    assert refused.release.about["cutoff"] > champion.release.about["cutoff"]
    for name in SCORED:
        assert refused.release.about[name] == champion.release.about[name]
    tables = sorted(path.name for path in champion.folder.glob("scores*"))
    for name in (*tables, "levels.parquet", "backtest.parquet", "report.html"):
        assert (refused.folder / name).read_bytes() == (champion.folder / name).read_bytes()
    lineages = [json.loads((step.folder / "lineage.json").read_text()) for step in (champion, refused)]
    for name in ("evaluation", "report"):
        assert lineages[0][name] == lineages[1][name]
    again = trained(home, "second", "bad", ["naive"])
    assert again.release.id == refused.release.id, "a rerun is measured as it was then"


def test_sales_that_came_late_or_were_corrected_are_the_same_for_champion_and_challenger(home: Path) -> None:
    models = ["naive", str(home / "mean.yaml")]
    early, late = shop(home, "early", 7), shop(home, "late", 0)
    sales = pd.read_csv(early)
    days = sorted(sales["date"].unique())
    arrived_late = (sales["date"] == days[-10]) & (sales["store_nbr"] == 1)
    sales.loc[arrived_late, "sales"] = np.nan
    sales.to_csv(early, index=False)
    champion = trained(home, "early", "good", models)
    promised = pd.read_parquet(champion.folder / "backtest.parquet").query("model == 'blend'")
    assert promised["y"].isna().sum() == arrived_late.sum() > 0

    sales = pd.read_csv(late)
    corrected = (sales["date"] == days[-5]) & (sales["store_nbr"] == 2)
    sales.loc[corrected, "sales"] = 9 * sales.loc[corrected, "sales"] + 9
    sales.to_csv(late, index=False)
    challenger = trained(home, "late", "good", models)
    line = next(each for each in challenger.comparisons if each["against"] == "champion")
    now = pd.read_parquet(open_store().path(challenger.evaluation) / "cv.parquet").query("model == 'blend'")
    both = promised.drop(columns="y").merge(now[["unique_id", "ds", "y"]], on=["unique_id", "ds"])
    assert line["rows"] == len(both)
    assert line["other"] == pytest.approx(np.sqrt(squared_log_error(both["y"], both["yhat"]).mean()))
