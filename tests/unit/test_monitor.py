"""Monitoring says nothing about a quiet panel, and names what is wrong with a spoiled one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import monitored
import numpy as np
import pandas as pd
import pytest

from storecast.errors import ConfigError, DataError
from storecast.monitor.config import MonitorConfig, ScoreLimits, load_monitor_config
from storecast.monitor.drift import Reference, corrected, moves
from storecast.monitor.health import Health
from storecast.monitor.moved import drift_table
from storecast.monitor.scores import daily, rolling
from storecast.monitor.served import activations_of, served_rows
from storecast.monitor.watch import Watch, watch
from storecast.panel import Panel
from storecast.segments import segment_table
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import ReleaseStore

DAY = pd.Timedelta(days=1)


def _watch(panel: Panel, late: int = 0, config: MonitorConfig | None = None) -> Watch:
    as_of = panel.cutoff + pd.Timedelta(days=late)
    return watch(panel, monitored.served(panel), as_of, config, dataset="shop")


def _breached(health: Health) -> set[tuple[str, str]]:
    return {(check.name, check.segment) for check in health.breaches}


def test_a_quiet_panel_raises_no_alarm_not_even_in_december() -> None:
    whole = monitored.panel()
    assert _breached(_watch(whole).health) == set()
    assert _breached(_watch(whole.at("2022-12-08", 28)).health) == set()


def test_a_level_shift_is_an_error_drift_within_days() -> None:
    health = _watch(monitored.spoiled(1.6, days=4)).health
    assert ("error_drift", "all") in _breached(health)


def test_a_shift_of_few_series_is_seen_by_how_many_series_are_off() -> None:
    checks = _watch(monitored.spoiled(1.8, days=7, rows=slice(0, 8))).health.breaches
    assert [check.note for check in checks if "each by itself" in check.note]


def test_a_store_that_sends_zeros_is_named() -> None:
    rows = slice(0, monitored.FAMILIES)
    assert ("volume", "store=1") in _breached(_watch(monitored.spoiled(0.0, 1, rows)).health)


@pytest.mark.parametrize("days", [1, 10, 20, 40])
def test_a_feed_of_zeros_is_told_for_as_long_as_it_lasts(days: int) -> None:
    assert ("volume", "all") in _breached(_watch(monitored.spoiled(0.0, days)).health)


def test_a_day_that_is_sent_twice_is_seen() -> None:
    whole = monitored.panel()
    y = whole.y.copy()
    y[:, whole.n_history - 1] = y[:, whole.n_history - 2]
    assert ("volume", "all") in _breached(_watch(replace(whole, y=y)).health)


@pytest.mark.parametrize(("days", "told"), [(1, True), (13, True), (14, False)])
def test_a_store_that_sends_nothing_is_told_for_two_weeks(days: int, told: bool) -> None:
    rows = slice(0, monitored.FAMILIES)
    breached = _breached(_watch(monitored.spoiled(np.nan, days, rows)).health)
    assert (("volume", "store=1") in breached) is told


def test_a_doubled_scale_is_seen_on_its_first_day() -> None:
    health = _watch(monitored.spoiled(2.0, days=1)).health
    found = next(check for check in health.breaches if check.name == "scale" and check.segment == "all")
    assert found.value == pytest.approx(np.log(2), abs=0.1)


def test_a_new_promotion_pattern_is_a_drift_of_inputs() -> None:
    whole = monitored.panel()
    promo = whole.known["promo"].copy()
    promo[:, whole.n_history - 7 : whole.n_history] = 5.0
    health = _watch(whole.with_known("promo", promo)).health
    assert {name for name, _ in _breached(health)} == {"input_drift"}


def test_a_covariate_may_be_called_an_error() -> None:
    whole = monitored.panel()
    promo = whole.known["promo"].copy()
    promo[:, whole.n_history - 7 : whole.n_history] = 5.0
    for name in ("error", "error of the till"):
        health = _watch(replace(whole, known={name: promo})).health
        assert {check for check, _ in _breached(health)} == {"input_drift"}


def test_a_limit_may_be_zero() -> None:
    none = {"missing_series": 0.0, "zero_series": 0.0, "repeated_series": 0.0}
    drift = {"error_series": 0.0, "known_series": 0.0, "error_move": 0.0}
    config = MonitorConfig.model_validate({"feed": none, "drift": drift})
    health = _watch(monitored.panel(), config=config).health
    assert _breached(health) == set()
    assert {check.value for check in health.checks if check.name == "volume"} == {0.0}
    assert any(check.limit == 0 for check in health.checks if check.name == "error_drift")
    rows = slice(0, monitored.FAMILIES)
    checks = _watch(monitored.spoiled(np.nan, 1, rows), config=config).health.breaches
    assert [check.value for check in checks if check.segment == "all" and check.name == "volume"] == [0.25]


def test_a_sender_column_that_the_panel_lacks_is_named() -> None:
    config = MonitorConfig.model_validate({"feed": {"groups": "stor"}})
    with pytest.raises(DataError, match=r"feed\.groups[^:]*: columns are missing: stor\n.*\n.*store, family"):
        _watch(monitored.panel(), config=config)


def test_days_without_actuals_are_counted() -> None:
    whole = monitored.panel()
    assert _breached(_watch(whole, late=2).health) == set()
    assert _breached(_watch(whole, late=3).health) == {("freshness", "all")}


def test_without_a_release_the_feed_is_checked_all_the_same() -> None:
    whole = monitored.spoiled(0.0, days=1)
    found = watch(whole, served_rows([], whole), whole.cutoff).health
    assert ("volume", "all") in _breached(found)
    assert next(check for check in found.checks if check.name == "error").value is None
    assert found.release == ""


def test_a_shift_before_the_error_is_known_is_not_healthy_but_not_judged_yet() -> None:
    whole = monitored.spoiled(1.3, days=2)
    first = whole.cutoff - pd.Timedelta(days=1)
    new = replace(monitored.activations(whole)[-1], at=first)
    health = watch(whole, served_rows([new], whole), whole.cutoff).health
    assert (health.state, health.breaches) == ("unjudged", ())
    needs = {check.name: check.note for check in health.unjudged}
    assert set(needs) == {"error", "bias", "coverage", "error_drift"}
    assert "96 rows of what was served have actuals, 200 are needed: about 3 more days" in needs["error"]
    assert "of what was served, with actuals; there are 2" in needs["error_drift"]


def test_what_is_missing_before_the_error_is_known_is_said() -> None:
    whole = monitored.panel()
    last = monitored.activations(whole)[-1]
    early = whole.at(last.at - DAY, 28)

    def error(panel: Panel, rows: pd.DataFrame, config: MonitorConfig | None = None) -> str:
        found = watch(panel, rows, panel.cutoff, config).health
        return next(check.note for check in found.unjudged if check.name == "error")

    assert "a release is needed (storecast run)" in error(whole, served_rows([], whole))
    said = error(early, served_rows([last], early))
    assert f"actuals from {last.at.date()} on are needed" in said
    high = MonitorConfig(scores=ScoreLimits(windows_days=(2,), min_rows=100))
    assert "lower scores.min_rows" in error(whole, monitored.served(whole), high)


def test_drift_of_errors_is_judged_from_about_the_day_that_is_named_on() -> None:
    whole = monitored.panel()
    rows = monitored.served(whole)

    def unjudged(served_days: int) -> dict[str, str]:
        mine = rows[rows["ds"] > whole.cutoff - served_days * DAY]
        found = watch(whole, mine, whole.cutoff).health.unjudged
        return {check.name: check.note for check in found}

    named = re.search(r"after about (\d+) dates", unjudged(20)["error_drift"])
    assert named
    assert "error_drift" in unjudged(int(named[1]) - 2)
    assert "error_drift" not in unjudged(int(named[1]) + 2)


def test_too_few_series_to_tell_of_the_feed_are_no_clean_feed() -> None:
    whole = monitored.panel()
    small, rows = whole.select(np.arange(5)), monitored.served(whole)
    health = watch(small, rows[rows["unique_id"].isin(small.ids)], small.cutoff).health
    needs = {check.name: check.note for check in health.unjudged}
    assert "5 series tell it, 10 are needed" in needs["volume"]
    assert not any(check.value == 0.0 for check in health.checks if check.name == "volume")


def test_a_date_is_served_by_the_release_that_was_activated_last_before_it() -> None:
    whole = monitored.panel()
    first, second = monitored.activations(whole)[:2]
    back = replace(second, at=second.at - pd.Timedelta(days=3)), replace(first, at=second.at + DAY)
    rows = served_rows([first, *back], whole)
    by_day = rows.groupby("ds")["release"].first()
    assert by_day.tolist() == ["release-60"] * 25 + ["release-88"]
    assert (rows["ds"] - rows["cutoff"]).dt.days.equals(rows["h"].astype("int64"))


def test_a_window_s_rmsle_is_pooled_over_its_rows() -> None:
    whole = monitored.panel()
    rows = monitored.served(whole)
    sums = daily(rows, segment_table(whole, whole.cutoff), ["store"])
    last = rows[rows["ds"] > whole.cutoff - pd.Timedelta(days=28)]
    errors = (np.log1p(last["y"]) - np.log1p(last["yhat"])) ** 2
    scores = rolling(sums, 28, whole.cutoff).set_index(["column", "segment"])
    assert scores.loc[("", "all"), "rmsle"] == pytest.approx(np.sqrt(errors.mean()))
    store = errors[last["unique_id"].str.startswith("2|")]
    assert scores.loc[("store", "2"), "rmsle"] == pytest.approx(np.sqrt(store.mean()))
    every = rolling(sums, 28)
    assert every[every["ds"] == whole.cutoff].set_index(["column", "segment"])["rmsle"].to_dict() == (
        pytest.approx(scores["rmsle"].to_dict())
    )


def test_the_promise_is_what_the_backtest_erred_by_series_and_day_ahead() -> None:
    whole = monitored.panel()
    first = monitored.activations(whole)[0].forecasts
    rows = served_rows(monitored.activations(whole)[:1], whole)
    columns = {"blend": "yhat", "naive": "naive"}
    scored = [first.assign(model=name, y=rows["y"], yhat=rows[column]) for name, column in columns.items()]
    told = served_rows(monitored.activations(whole, pd.concat(scored))[:1], whole)
    assert told["promise"].mean() == pytest.approx(
        float(((np.log1p(rows["y"]) - np.log1p(rows["yhat"])) ** 2).mean()), rel=0.05
    )
    assert told["naive_promise"].mean() > told["promise"].mean()


def test_later_days_change_nothing_about_an_earlier_one() -> None:
    whole = monitored.spoiled(1.6, days=10)
    day = whole.cutoff - pd.Timedelta(days=5)
    segments, columns = segment_table(whole, day), ["store"]
    rows = monitored.served(whole)
    later = drift_table(whole, rows, segments, columns, MonitorConfig(), days=10)
    earlier = whole.at(day, 0)
    then = drift_table(earlier, rows[rows["ds"] <= day], segments, columns, MonitorConfig(), days=1)
    key = ["figure", "column", "segment", "window_days"]
    mine = later[later["ds"] == day].set_index(key).sort_index()
    pd.testing.assert_frame_equal(mine, then.set_index(key).sort_index())


def test_what_the_season_did_a_year_ago_is_no_move() -> None:
    values = np.zeros((900, 1))
    values[360:390], values[724:754] = 1.0, 1.0
    moved, _ = moves(values, Reference(7, 56, 364, 0.02))
    assert np.nanmax(np.abs(moved[360:390])) == pytest.approx(1.0)
    assert np.nanmax(np.abs(moved[724:754])) == pytest.approx(0.0)


def test_p_values_are_corrected_for_their_number() -> None:
    alone, among = corrected(np.array([0.01])), corrected(np.array([0.01, *[0.9] * 99, np.nan]))
    assert alone[0] == pytest.approx(0.01)
    assert among[0] > 0.5
    assert np.isnan(among[-1])


def test_the_shipped_limits_are_the_defaults_and_a_wrong_key_is_named_with_its_line(tmp_path: Path) -> None:
    assert load_monitor_config("default") == MonitorConfig()
    wrong = tmp_path / "mine.yaml"
    wrong.write_text("scores:\n  biass: 0.2\n")
    with pytest.raises(ConfigError, match=r"line 2: scores\.biass: unknown key; did you mean 'bias'"):
        load_monitor_config(str(wrong))


def test_of_what_was_released_only_the_tables_of_what_was_served_are_read(tmp_path: Path) -> None:
    panel = monitored.panel()
    releases = ReleaseStore(DatasetStore(f"memory://{uuid4().hex}", tmp_path / "scratch"), "shop")

    def released(forecasts: pd.DataFrame, evaluation: str) -> str:
        with DatasetStore(str(tmp_path / "work")).building("release") as folder:
            forecasts.to_parquet(folder / "forecasts.parquet")
            backtest = forecasts.assign(model="blend", y=1.0, cutoff=forecasts["ds"].min())
            backtest.to_parquet(folder / "backtest.parquet")
            (folder / "model.bin").write_bytes(b"large")
            cutoff = str((forecasts["ds"].min() - DAY).date())
            about = {"cutoff": cutoff, "horizon": monitored.EVERY, "evaluation": evaluation}
            return releases.publish(folder, about).id

    frames = [made.forecasts for made in monitored.activations(panel)[-3:]]
    before, last, newest = (released(frame, f"evaluation {n}") for n, frame in enumerate(frames))
    corrected = released(frames[1].assign(yhat=0.0), "evaluation 1")
    history = [
        {"id": each, "at": f"2024-03-2{n}T06:00:00+00:00", "why": ""}
        for n, each in enumerate((before, corrected, last, newest))
    ]
    uris.write_text(uris.join(releases.root, "current.json"), json.dumps({"history": history}))
    for unread in (before, corrected):
        uris.remove(uris.join(releases.root, unread, "forecasts.parquet"))

    first, second = frames[1]["ds"].min(), frames[2]["ds"].min()
    found = activations_of(releases, panel.offset, first, second)
    assert [each.release for each in found] == [last, newest]
    assert [each.forecasts["ds"].agg(["min", "max"]).tolist() for each in found] == [
        [first, second - DAY],
        [second, frames[2]["ds"].max()],
    ]
    assert [each.backtest is not None for each in found] == [False, True]
    assert not (tmp_path / "scratch").exists(), "no release is fetched whole"
