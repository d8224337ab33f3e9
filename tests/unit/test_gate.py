from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cv_tables import table

from storecast.errors import DataError
from storecast.gate import Decision, GateConfig, decide

RNG = np.random.default_rng(3)
Y = RNG.gamma(2, 20, 2000)
VOLUME = np.where(np.arange(2000) < 1600, "high", "low")


def model(name: str, error: float, low_error: float | None = None) -> pd.DataFrame:
    """A model that is off by a constant on the log scale, by another one for the low segment."""
    off = np.where(VOLUME == "low", error if low_error is None else low_error, error)
    return table(Y, np.expm1(np.log1p(Y) + off), name, volume=VOLUME)


def test_the_first_model_has_only_to_beat_the_naive() -> None:
    decision = decide(pd.concat([model("naive", 0.5), model("blend", 0.4)]), "blend")
    assert decision.promoted
    assert "no champion yet" in " ".join(decision.reasons)
    assert "0.4000 beats the seasonal naive at 0.5000 (-20.0%" in decision.reasons[0]


def test_a_first_model_that_the_naive_beats_is_not_promoted() -> None:
    decision = decide(pd.concat([model("naive", 0.5), model("blend", 0.6)]), "blend")
    assert not decision.promoted
    assert "does not beat" in decision.reasons[0]


def test_what_is_worse_than_no_error_at_all_is_told_without_a_share() -> None:
    decision = decide(pd.concat([model("naive", 0.0), model("blend", 0.1)]), "blend")
    assert "0.1000 does not beat the seasonal naive at 0.0000 (2,000 rows)" in decision.reasons[0]


def test_where_sales_are_so_regular_that_there_is_nothing_to_beat_the_first_model_is_promoted() -> None:
    rows = pd.concat([model("naive", 0.0), model("blend", 0.001)])
    decision = decide(rows, "blend")
    assert decision.promoted
    assert "Both are below 0.05" in decision.reasons[2]
    assert not decide(pd.concat([rows, model("old", 0.0)]), "blend", "old").promoted


def test_a_challenger_must_beat_the_champion_and_a_tie_changes_nothing() -> None:
    rows = [model("naive", 0.5), model("champion", 0.4)]
    assert decide(pd.concat([*rows, model("new", 0.39)]), "new", "champion").promoted
    assert not decide(pd.concat([*rows, model("new", 0.41)]), "new", "champion").promoted
    tie = decide(pd.concat([*rows, model("new", 0.4)]), "new", "champion")
    assert not tie.promoted
    assert "ties with the champion" in tie.reasons[0]


def test_one_segment_lost_by_more_than_the_margin_stops_the_promotion() -> None:
    rows = pd.concat([model("naive", 0.5), model("champion", 0.4), model("new", 0.3, 0.44)])
    config = GateConfig(margin=0.05, min_rows=100)
    decision = decide(rows, "new", "champion", config=config)
    assert not decision.promoted
    assert any("volume = low loses 10.0% to champion" in reason for reason in decision.reasons)
    assert decide(rows, "new", "champion", config=GateConfig(margin=0.15, min_rows=100)).promoted


def test_a_segment_with_few_rows_is_shown_but_decides_nothing() -> None:
    rows = pd.concat([model("naive", 0.5), model("champion", 0.4), model("new", 0.3, 0.44)])
    decision = decide(rows, "new", "champion", config=GateConfig(min_rows=500))
    assert decision.promoted
    low = [line for line in decision.comparisons if line.segment == "low" and line.against == "champion"]
    assert low[0].rows == 400
    assert not low[0].decisive


def test_segments_may_be_any_static_column() -> None:
    rows = pd.concat([model("naive", 0.5), model("new", 0.4)]).assign(family="BOOKS")
    decision = decide(rows, "new", config=GateConfig(segments=("volume", "family")))
    assert {line.column for line in decision.comparisons} == {"", "volume", "family"}


def test_rows_without_an_actual_do_not_count() -> None:
    new = model("new", 0.4)
    unknown = Y.copy()
    unknown[:1000] = np.nan
    rows = pd.concat([model("naive", 0.5).assign(y=unknown), new.assign(y=unknown)])
    assert decide(rows, "new").comparisons[0].rows == 1000


def test_models_scored_on_different_rows_are_not_compared() -> None:
    with pytest.raises(DataError, match="same rows"):
        decide(pd.concat([model("naive", 0.5), model("new", 0.4).iloc[1:]]), "new")
    with pytest.raises(DataError, match="'ghost'"):
        decide(model("naive", 0.5), "ghost")


def test_a_decision_survives_json() -> None:
    rows = pd.concat([model("naive", 0.0), model("new", 0.1)])
    decision = decide(rows, "new")
    assert not decision.promoted
    text = json.dumps(decision.to_dict(), allow_nan=False)
    assert Decision.from_dict(json.loads(text)) == decision
