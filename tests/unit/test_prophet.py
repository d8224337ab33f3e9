"""Prophet per series: that it is Prophet, and what a planner would notice of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stock_prophet import stock

from storecast.errors import ModelError
from storecast.models.base import FitContext, Forecaster
from storecast.models.closures import closures
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.models.prophet import Prophet, ProphetConfig
from storecast.panel import Floats, Panel
from storecast.synthetic import make_panel

CONFIG = ProphetConfig(window=420, changepoints=4, year_order=2)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(n_stores=2, n_families=3, n_days=436)


@pytest.fixture(scope="module")
def past(panel: Panel) -> Panel:
    return panel.at(panel.dates[panel.n_history - 17], 16)


@pytest.fixture(scope="module")
def fitted(past: Panel) -> Prophet:
    model = Prophet(CONFIG)
    model.fit(past, FitContext())
    return model


def only_numbers(values: list[float], horizon: int = 7) -> Panel:
    dates = pd.date_range("2023-01-01", periods=len(values) + horizon)
    y = np.array([*values, *[np.nan] * horizon])[None, :]
    ids = np.array(["a"], dtype=object)
    static = pd.DataFrame({"store": ["1"]}, index=pd.Index(ids, name="unique_id"))
    return Panel(ids, dates, y, static, "D", dates[len(values) - 1])


def test_it_is_a_forecaster() -> None:
    assert isinstance(Prophet(CONFIG), Forecaster)


def test_what_is_learnt_and_forecast_is_what_the_library_learns_and_predicts(past: Panel) -> None:
    """To a fifth of the noise, as Stan's search stops a little below the top: test_posterior.py."""
    model = Prophet(CONFIG.model_copy(update={"level_dates": 0}))
    some = past.select(slice(0, 3))
    model.fit(some, FitContext())
    point = np.log1p(model.forecast(some).point)
    for i in range(3):
        own, given_ours = the_librarys(some, i, model)
        np.testing.assert_allclose(point[i], given_ours, atol=1e-9)
        np.testing.assert_allclose(point[i], own, atol=0.2 * model._learnt["sigma"][i])


def the_librarys(panel: Panel, i: int, model: Prophet) -> tuple[Floats, Floats]:
    """Log sales that the library itself predicts of a series, given the same regressors: by the parameters
    that it finds, and by those that the model has found."""
    on_sale = slice(int(panel.first_sale[i]), panel.n_history)
    dates, x = panel.dates[on_sale], model._regressors(panel).of(i)
    logs = np.log1p(np.where(closures(panel).days[i], np.nan, panel.y[i]))[on_sale]
    used = np.flatnonzero(np.ptp(x[on_sale], axis=0) > 0)
    with stock(CONFIG.changepoints, CONFIG.changepoint_scale) as other:
        seasons = 2 * CONFIG.week_order
        other.add_seasonality("weekly", 7, CONFIG.week_order, prior_scale=CONFIG.season_scale)
        if (dates[-1] - dates[0]).days >= CONFIG.year_after_days:
            seasons += 2 * CONFIG.year_order
            other.add_seasonality("yearly", 365.25, CONFIG.year_order, prior_scale=CONFIG.season_scale)
        for k in used:
            other.add_regressor(f"x{k}", prior_scale=CONFIG.regressor_scale, standardize=False)
        other.fit(pd.DataFrame({"ds": dates, "y": logs, **{f"x{k}": x[on_sale, k] for k in used}}), seed=1)
        ahead = pd.DataFrame({"ds": panel.future_dates, **{f"x{k}": x[panel.n_history :, k] for k in used}})
        told = [other.predict(ahead)["yhat"]]
        ours = {name: values[i] for name, values in model._learnt.items()}
        other.params = {name: np.atleast_2d(ours[name]) for name in ("k", "m", "delta")}
        other.params["beta"] = np.r_[ours["season"][:seasons], ours["beta"][used]][None, :]
        told.append(other.predict(ahead)["yhat"])
    own, given_ours = (np.asarray(np.maximum(values, 0.0)) for values in told)
    return own, given_ours


def test_it_beats_the_seasonal_naive(panel: Panel, past: Panel, fitted: Prophet) -> None:
    actual = np.log1p(panel.actuals(past.cutoff, 16))
    naive = np.log1p(SeasonalNaive(NaiveConfig()).forecast(past).point) - actual
    ours = np.log1p(fitted.forecast(past).point) - actual
    assert np.mean(ours**2) < 0.8 * np.mean(naive**2)


def test_quantiles_rise_and_the_interval_holds_most_of_what_came(
    panel: Panel, past: Panel, fitted: Prophet
) -> None:
    forecast = fitted.forecast(past)
    actual = panel.actuals(past.cutoff, 16)
    assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
    inside = (actual >= forecast.quantiles[..., 0]) & (actual <= forecast.quantiles[..., -1])
    assert inside.mean() > 0.85


def test_a_promotion_raises_the_forecast_of_that_day_only(past: Panel, fitted: Prophet) -> None:
    day = past.n_history + 3
    row = int(np.flatnonzero(past.ids == "1|GROCERY")[0])
    points = []
    for promoted in (10.0, 0.0):
        plan = past.known["onpromotion"].copy()
        plan[:, day] = promoted
        points.append(fitted.forecast(past.with_known("onpromotion", plan)).point[row])
    assert points[0][3] > 1.1 * points[1][3]
    np.testing.assert_allclose(np.delete(points[0], 3), np.delete(points[1], 3))


def test_a_level_seen_after_the_fit_is_followed(panel: Panel, fitted: Prophet) -> None:
    y = panel.y.copy()
    y[:, panel.n_history - 16 : panel.n_history] *= 3
    busy = panel.ids != "1|PRODUCE"
    ratio = fitted.forecast(replace(panel, y=y)).point / np.maximum(fitted.forecast(panel).point, 1e-9)
    assert np.median(ratio[busy]) > 2


def test_a_saved_model_forecasts_the_same_and_saves_the_same_bytes(
    past: Panel, fitted: Prophet, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fitted.save(tmp_path / "a")
    loaded = Prophet.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    np.testing.assert_array_equal(loaded.forecast(past).quantiles, fitted.forecast(past).quantiles)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["prophet.arrow"]
    assert (tmp_path / "a/prophet.arrow").read_bytes() == (tmp_path / "b/prophet.arrow").read_bytes()


def test_a_series_is_fitted_the_same_whatever_stands_beside_it(past: Panel, fitted: Prophet) -> None:
    alone = Prophet(CONFIG)
    alone.fit(past.select(slice(1, 2)), FitContext())
    np.testing.assert_array_equal(
        alone.forecast(past.select(slice(1, 2))).point, fitted.forecast(past.select(slice(1, 2))).point
    )


def test_the_log_stays_quiet(
    past: Panel, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Prophet(CONFIG).fit(past.select(slice(0, 1)), FitContext())
    assert caplog.records == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0] * 90, "no sale"),
        ([5.0] * 90, "the same"),
        ([0.0] * 90 + [3.0, 5.0, 4.0], "on sale for 3 dates"),
        ([4.0], "on sale for 1 dates"),
    ],
)
def test_a_series_that_prophet_cannot_fit_keeps_its_recent_mean_and_is_named(
    values: list[float], reason: str
) -> None:
    panel = only_numbers(values)
    model = Prophet(CONFIG)
    report = model.fit(panel, FitContext())
    assert [f.unique_id for f in report.fallbacks] == ["a"]
    assert reason in report.fallbacks[0].reason
    sold = [v for v in values if v > 0] or [0.0]
    point = model.forecast(panel).point
    assert min(sold) - 1e-9 <= point.min() <= point.max() <= max(sold) + 1e-9


def test_a_failed_optimisation_falls_back_and_says_why(past: Panel) -> None:
    report = Prophet(CONFIG.model_copy(update={"max_iterations": 1})).fit(
        past.select(slice(0, 1)), FitContext()
    )
    assert "not settled after 1 turns" in report.fallbacks[0].reason


def test_a_series_that_has_ended_is_forecast_as_zero(panel: Panel, fitted: Prophet) -> None:
    y = panel.y.copy()
    y[1, panel.n_history - 30 : panel.n_history] = 0.0
    assert fitted.forecast(replace(panel, y=y)).point[1].max() == 0.0


def test_an_unknown_series_is_an_error_that_names_it(past: Panel, fitted: Prophet) -> None:
    stranger = replace(past, ids=np.array(["9|NEW", *past.ids[1:]], dtype=object))
    with pytest.raises(ModelError, match=r"9\|NEW"):
        fitted.forecast(stranger)
