"""The LSTM learns, resumes, saves, warm-starts and forecasts series it never saw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storecast.errors import ModelError
from storecast.models.base import FitContext, Forecaster
from storecast.models.lstm import Lstm, LstmConfig
from storecast.panel import Floats, Panel
from storecast.synthetic import make_panel

SMALL = LstmConfig(
    members=2, context_weeks=4, hidden=8, width=16, layers=1, steps=60, warm_steps=20, batch=128,
    checkpoint_steps=15, device="cpu",
)  # fmt: skip
KILL_AT = 100
"""Steps, out of twice 60, after which a fit is killed: within the second network."""


@pytest.fixture(scope="module")
def panel() -> Panel:
    """A small daily panel with one more horizon of truth than the tests' cutoff shows."""
    return make_panel(n_stores=3, n_families=3, n_days=500)


@pytest.fixture(scope="module")
def seen(panel: Panel) -> Panel:
    """The panel 16 days before its end."""
    return panel.at(panel.dates[panel.n_history - 17], 16)


@pytest.fixture(scope="module")
def model(seen: Panel) -> Lstm:
    """A model fitted on `seen`."""
    return fitted(seen)


def fitted(panel: Panel, config: LstmConfig = SMALL, **context: object) -> Lstm:
    """A model fitted on the panel."""
    lstm = Lstm(config)
    lstm.fit(panel, FitContext(**context))  # type: ignore[arg-type]
    return lstm


def saved(model: Lstm, folder: Path) -> dict[str, bytes]:
    """The files a model saves, by name."""
    folder.mkdir()
    model.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rmsle(actual: Floats, point: Floats) -> float:
    """Root mean squared logarithmic error."""
    return float(np.sqrt(np.mean((np.log1p(point) - np.log1p(actual)) ** 2)))


def weekly(n_series: int = 4, weeks: int = 130, horizon: int = 4) -> Panel:
    """A weekly panel with a yearly season and one covariate."""
    dates = pd.date_range("2021-01-03", periods=weeks + horizon, freq="W-SUN")
    season = np.sin(2 * np.pi * np.arange(len(dates)) / 52)
    y = np.round(np.linspace(20, 200, n_series)[:, None] * (1.2 + season))
    y[:, weeks:] = np.nan
    ids = np.array([f"s{i}" for i in range(n_series)], dtype=object)
    return Panel(
        ids=ids,
        dates=dates,
        y=y,
        static=pd.DataFrame({"size": ["small", "large"] * (n_series // 2)}, index=ids),
        freq="W-SUN",
        cutoff=dates[weeks - 1],
        known={"promotion": np.zeros(y.shape)},
    )


def test_it_is_a_forecaster(model: Lstm) -> None:
    assert isinstance(model, Forecaster)


def test_naming_the_model_does_not_import_torch() -> None:
    code = "import sys, storecast.models.lstm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shipped_configuration_and_its_quick_profile_are_valid() -> None:
    path = Path(__file__).parents[2] / "configs" / "model_configs" / "lstm.yaml"
    shipped = yaml.safe_load(path.read_text())
    LstmConfig(**shipped["params"])
    quick = LstmConfig(**{**shipped["params"], **shipped["profiles"]["quick"]})
    assert quick.steps < LstmConfig(**shipped["params"]).steps


def test_it_learns_the_weekly_pattern(panel: Panel, seen: Panel, model: Lstm) -> None:
    actual = panel.actuals(seen.cutoff, 16)
    constant = np.repeat(np.expm1(np.log1p(seen.history[:, -28:]).mean(axis=1, keepdims=True)), 16, axis=1)
    assert rmsle(actual, model.forecast(seen).point) < 0.8 * rmsle(actual, constant)


def test_quantiles_are_ordered_and_not_negative(seen: Panel, model: Lstm) -> None:
    forecast = model.forecast(seen)
    assert forecast.quantiles.shape == (9, 16, 5)
    assert (np.diff(forecast.quantiles, axis=2) >= 0).all()
    assert (forecast.quantiles >= 0).all()
    assert (forecast.point >= 0).all()
    assert np.isfinite(forecast.point).all()


@given(raw=arrays(np.float32, (3, 5), elements=st.floats(-50, 50, width=32)), spread=st.floats(0.1, 5))
def test_quantiles_never_cross_whatever_the_network_says(raw: Floats, spread: float) -> None:
    import torch

    from storecast.models.lstm.network import quantiles_around

    quantiles = quantiles_around(torch.zeros(1, 3), torch.full((1, 1), spread), torch.from_numpy(raw)[None])
    assert quantiles.shape == (1, 3, 5)
    assert bool((quantiles.diff(dim=-1) >= 0).all())


def test_a_fit_killed_half_way_resumes_to_the_same_weights(seen: Panel, tmp_path: Path) -> None:
    work = tmp_path / "work"
    code = f"""
import os, signal
from pathlib import Path
from tests.unit.test_lstm import KILL_AT, fitted, make_panel
panel = make_panel(n_stores=3, n_families=3, n_days=500)
def die(done, total):
    if done >= KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
fitted(panel.at(panel.dates[panel.n_history - 17], 16), workdir=Path({str(work)!r}), progress=die)
"""
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, check=False)
    assert run.returncode == -signal.SIGKILL
    reported: list[int] = []
    resumed = fitted(seen, workdir=work, progress=lambda done, _: reported.append(done))
    assert reported[0] == KILL_AT, "the fit started over instead of going on"
    assert saved(resumed, tmp_path / "a") == saved(fitted(seen), tmp_path / "b")


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_not_taken_up(seen: Panel, tmp_path: Path) -> None:
    def half(done: int, _: int) -> None:
        if done >= KILL_AT:
            raise KeyboardInterrupt

    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        fitted(seen, workdir=work, progress=half)
    reported: list[int] = []
    fitted(seen, workdir=work, seed=1, progress=lambda done, _: reported.append(done))
    assert reported[0] == 20
    checkpoint, _ = sorted(work.iterdir())
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    fitted(seen, workdir=work)


def test_the_same_seed_saves_the_same_bytes_and_another_seed_others(
    seen: Panel, model: Lstm, tmp_path: Path
) -> None:
    first = saved(model, tmp_path / "a")
    assert first == saved(fitted(seen), tmp_path / "b")
    assert first != saved(fitted(seen, seed=1), tmp_path / "c")


def test_a_loaded_model_forecasts_and_saves_the_same(seen: Panel, model: Lstm, tmp_path: Path) -> None:
    files = saved(model, tmp_path / "a")
    assert set(files) == {"lstm.json", "lstm.safetensors"}
    loaded = Lstm.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.forecast(seen).point, model.forecast(seen).point)
    np.testing.assert_array_equal(loaded.forecast(seen).quantiles, model.forecast(seen).quantiles)
    assert saved(loaded, tmp_path / "b") == files


def test_promoting_more_changes_the_forecast(seen: Panel, model: Lstm) -> None:
    promotion = seen.known["onpromotion"].copy()
    promotion[:, seen.n_history :] += 10
    more = model.forecast(seen.with_known("onpromotion", promotion)).point
    assert more.mean() > model.forecast(seen).point.mean()


def test_nothing_after_the_cutoff_matters(panel: Panel, seen: Panel, model: Lstm, tmp_path: Path) -> None:
    y = seen.y.copy()
    y[:, seen.n_history :] = 1e6
    past = {name: values.copy() for name, values in seen.past.items()}
    for values in past.values():
        values[:, seen.n_history :] = 1e6
    leaking = replace(seen, y=y, past=past)
    config = SMALL.model_copy(update={"use_past": True, "steps": 15})
    clean = fitted(seen, config)
    assert saved(fitted(leaking, config), tmp_path / "a") == saved(clean, tmp_path / "b")
    np.testing.assert_array_equal(clean.forecast(leaking).point, clean.forecast(seen).point)


def test_a_training_window_sees_nothing_from_its_origin_on(seen: Panel) -> None:
    import torch

    from storecast.models.lstm.encoding import Encoding
    from storecast.models.lstm.windows import Windows

    encoding = Encoding.of(seen, use_past=True)
    origin = seen.n_history - 30
    y, transactions = seen.y.copy(), seen.past["transactions"].copy()
    y[:, origin : seen.n_history] = 1e4
    transactions[:, origin : seen.n_history] = 1e4
    other = replace(seen, y=y, past={"transactions": transactions})
    rows = torch.arange(seen.n_series)
    batches = [
        Windows(p, encoding, 4, torch.device("cpu")).batch(rows, torch.full_like(rows, origin))
        for p in (seen, other)
    ]
    for name in ("encoder", "summary", "steps", "base", "spread", "effects"):
        torch.testing.assert_close(getattr(batches[0], name), getattr(batches[1], name))


def test_fewer_series_and_a_later_cutoff_are_forecast_with_the_same_weights(
    panel: Panel, seen: Panel, model: Lstm
) -> None:
    some = model.forecast(seen.select(np.array([1, 4])))
    close = np.log1p(some.point) - np.log1p(model.forecast(seen).point[[1, 4]])
    assert np.abs(close).max() < 0.2, "only the effects of promotions on the peers are missing"
    assert list(model.forecast(panel).dates) == list(panel.future_dates)


def test_a_promotion_that_lifted_sales_elsewhere_is_expected_where_it_comes_next(seen: Panel) -> None:
    import torch

    from storecast.models.lstm.encoding import Encoding
    from storecast.models.lstm.windows import Windows

    first = seen.static["family"] == seen.static["family"].iloc[0]
    lifted, next_one = np.flatnonzero(first)[:2]
    y, promotion = np.full_like(seen.y, 9.0), np.zeros_like(seen.y)
    y[:, seen.n_history :] = np.nan
    days = slice(seen.n_history - 10, seen.n_history)
    y[lifted, days] = 99.0
    promotion[lifted, days] = 10.0
    promotion[next_one, seen.n_history :] = 10.0
    panel = replace(seen, y=y, known={"onpromotion": promotion})
    windows = Windows(panel, Encoding.of(panel, use_past=False), 4, torch.device("cpu"))
    rows = torch.arange(seen.n_series)
    effects = windows.batch(rows, torch.full_like(rows, windows.n_history)).effects
    lift = effects[next_one].reshape(16, 2, -1)[:, 0]
    assert float(lift[:, 0].max()) == 0, "the series itself has seen no promotion"
    family = 1 + sorted(seen.static.columns).index("family")
    assert float(lift[:, family].min()) > 1.5, "ten times the sales elsewhere"
    others = torch.from_numpy(~first.to_numpy())
    assert float(effects.reshape(len(rows), 16, 2, -1)[others][..., family].abs().max()) == 0


def test_static_values_lie_where_a_ridge_regression_of_the_levels_puts_them(seen: Panel) -> None:
    from storecast.models.lstm.encoding import LEVEL_WEEKS, Encoding

    y = seen.y.copy()
    y[:3] = np.nan
    encoding = Encoding.of(replace(seen, y=y), use_past=False)
    level = np.log1p(seen.history[3:, -LEVEL_WEEKS * 7 :]).mean(axis=1)
    pairs = [(column, value) for column, values in encoding.static.items() for value in values]
    told = np.array([(seen.static[c] == v).to_numpy(np.float64)[3:] for c, v in pairs])
    beta = np.linalg.solve(told @ told.T + np.eye(len(pairs)), told @ (level - level.mean()))
    assert encoding.level == pytest.approx(level.mean())
    np.testing.assert_allclose([encoding.effects[c][v] for c, v in pairs], beta, atol=1e-12)


def test_a_static_value_for_each_of_many_series_takes_little_memory() -> None:
    from storecast.models.lstm.encoding import Encoding

    few = make_panel(n_stores=50, n_families=8, n_days=70)
    rows = np.tile(np.arange(few.n_series), 10)
    names = pd.Index([f"sku {n:05d}" for n in range(len(rows))], dtype=object, name="unique_id")
    many = replace(few.select(rows), ids=names.to_numpy(), static=pd.DataFrame({"sku": names}, index=names))
    tracemalloc.start()
    try:
        encoding = Encoding.of(many, use_past=False)
        assert tracemalloc.get_traced_memory()[1] < 10 * many.y.nbytes
    finally:
        tracemalloc.stop()
    assert len(encoding.effects["sku"]) == len(rows)


def test_a_panel_without_known_covariates_works(seen: Panel) -> None:
    bare = replace(seen, known={})
    assert np.isfinite(fitted(bare, SMALL.model_copy(update={"steps": 5})).forecast(bare).point).all()


def test_a_shorter_horizon_gets_the_first_days_of_the_longer_one(seen: Panel, model: Lstm) -> None:
    short = model.forecast(seen.at(seen.cutoff, 5))
    assert list(short.dates) == list(seen.future_dates[:5])
    np.testing.assert_allclose(short.point[:, :4], model.forecast(seen).point[:, :4], rtol=1e-4, atol=1e-4)


def test_a_new_series_without_history_gets_the_forecast_of_its_kind(seen: Panel, model: Lstm) -> None:
    names = seen.ids.astype(str)
    names[0] = "0|new"
    y = seen.y.copy()
    y[0] = np.nan
    static = seen.static.copy()
    static.index = pd.Index(names)
    static.iloc[0, static.columns.get_loc("store_nbr")] = "999"
    new = replace(seen, ids=names.astype(object), y=y, static=static)
    point = model.forecast(new).point
    assert np.isfinite(point).all()
    assert point[0].mean() > 1


def test_a_small_panel_gets_fewer_steps(seen: Panel) -> None:
    few = seen.select(slice(0, 2))
    config = SMALL.model_copy(update={"steps": 10_000, "passes": 3, "members": 1, "train_weeks": 4})
    report = Lstm(config).fit(few, FitContext())
    assert report.info["steps"] == -(-2 * 4 * 7 * 3 // SMALL.batch)


def test_a_later_fold_starts_from_the_earlier_one_in_fewer_steps(panel: Panel, model: Lstm) -> None:
    total: list[int] = []
    lstm = Lstm(SMALL)
    report = lstm.fit(panel, FitContext(previous=model, progress=lambda _, steps: total.append(steps)))
    assert report.info["warm_start"] is True
    assert total[-1] == SMALL.members * SMALL.warm_steps
    wider = Lstm(SMALL.model_copy(update={"width": 8}))
    assert wider.fit(panel, FitContext(previous=model)).info["warm_start"] is False


def test_without_warm_steps_each_fit_starts_anew(seen: Panel, model: Lstm) -> None:
    anew = Lstm(SMALL.model_copy(update={"warm_steps": 0}))
    info = anew.fit(seen, FitContext(previous=model)).info
    assert (info["warm_start"], info["steps"]) == (False, SMALL.steps)
    np.testing.assert_array_equal(anew.forecast(seen).point, model.forecast(seen).point)


def test_a_weekly_panel_works() -> None:
    forecast = fitted(weekly()).forecast(weekly())
    assert forecast.point.shape == (4, 4)
    assert np.isfinite(forecast.quantiles).all()


@pytest.mark.parametrize("days", [23, 40])
def test_a_history_shorter_than_the_context_is_padded(days: int) -> None:
    short = make_panel(n_stores=2, n_families=2, n_days=60).last(days)
    config = SMALL.model_copy(update={"context_weeks": 13, "steps": 10})
    assert np.isfinite(fitted(short, config).forecast(short).point).all()


def test_missing_values_and_series_that_never_sold_are_forecast(seen: Panel) -> None:
    y = seen.y.copy()
    y[0, :300] = np.nan
    y[1, ::3] = np.nan
    y[2, : seen.n_history] = 0.0
    holes = replace(seen, y=y)
    point = fitted(holes).forecast(holes).point
    assert np.isfinite(point).all()
    assert point[2].max() < 1


def test_a_panel_too_short_to_train_on_is_refused() -> None:
    short = make_panel(n_stores=2, n_families=2, n_days=60).last(22)
    with pytest.raises(ModelError, match="too short"):
        fitted(short)


def test_a_panel_that_the_model_cannot_forecast_is_refused(
    panel: Panel, seen: Panel, model: Lstm, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="another horizon"):
        model.forecast(panel.at(panel.dates[panel.n_history - 30], 20))
    with pytest.raises(ModelError, match="another known-future covariates"):
        model.forecast(replace(seen, known={}))
    with pytest.raises(ModelError, match="not fitted"):
        Lstm(SMALL).forecast(seen)
    with pytest.raises(ModelError, match="missing"):
        Lstm.load(tmp_path)


@pytest.mark.parametrize("value", [0.19, 1.0, 9.99])
def test_a_covariate_that_never_varied_changes_nothing_when_it_does(seen: Panel, value: float) -> None:
    known = np.full(seen.y.shape, value)
    model = fitted(replace(seen, known={**seen.known, "steady": known}))
    expected = model.forecast(replace(seen, known={**seen.known, "steady": known})).point
    known[:, seen.n_history + 2] = 0.0
    changed = model.forecast(replace(seen, known={**seen.known, "steady": known})).point
    np.testing.assert_array_equal(changed, expected)
