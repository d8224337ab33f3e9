"""A covariate may have any name: one of the platform's own, or one that other formats have a meaning for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storecast.features import Lags, Prepared, build
from storecast.features.outlook import OF_PEERS
from storecast.features.table import categories_of
from storecast.models.base import FitContext
from storecast.models.gbm import Gbm, GbmConfig
from storecast.models.recursive import RecursiveConfig
from storecast.models.regressors import build_regressors
from storecast.panel import Panel
from storecast.synthetic import make_panel

NAMES = [
    "event",
    "year",
    "week",
    "weekday",
    "level",
    "code_offer",
    'price: net, {EUR} ["x"]',
    "offer=BOGO",
    "größe",
]


def with_covariate(name: str) -> Panel:
    panel = make_panel(n_stores=2, n_families=3, n_days=240)
    values = np.random.default_rng(0).integers(0, 3, panel.y.shape).astype(np.float64)
    return replace(panel, known={**panel.known, name: values})


@pytest.mark.parametrize("name", list(dict.fromkeys([*NAMES, *OF_PEERS])))
def test_no_feature_takes_the_place_of_another(name: str) -> None:
    panel, plain = with_covariate(name), with_covariate("plain")
    for some, others in (
        (build(panel, [panel.cutoff]).names, build(plain, [plain.cutoff]).names),
        (lag_names(panel), lag_names(plain)),
    ):
        assert len(some) == len(set(some)) == len(others)


@pytest.mark.parametrize("name", ["onpromotion", *OF_PEERS])
def test_another_future_of_it_changes_its_own_features_alone(name: str) -> None:
    panel = with_covariate(name)
    planned = panel.known[name].copy()
    planned[1, panel.n_history :] = 7.0
    other = panel.with_known(name, planned)
    kept = Prepared(panel, categories_of(panel), None).rows(other, np.arange(panel.n_series))
    np.testing.assert_array_equal(kept.values, build(other, [panel.cutoff]).values)


def lag_names(panel: Panel) -> list[str]:
    lags = Lags(panel, categories_of(panel))
    lags.features(np.array([150]))
    return lags.names


@pytest.mark.parametrize("name", NAMES)
def test_a_covariate_is_no_season_and_no_recurring_event(name: str) -> None:
    told, plain = (build_regressors(with_covariate(each), ["Fair"], 2, 2) for each in (name, "plain"))
    for part in ("covariates", "weekly", "recurring"):
        assert getattr(told, part).sum() == getattr(plain, part).sum() > 0
    assert [wave.sum() for wave in told.yearly] == [2, 2]
    assert not (told.covariates & (told.weekly | told.recurring | np.any(told.yearly, axis=0))).any()


def test_boosting_learns_from_covariates_of_any_name(tmp_path: Path) -> None:
    panel = with_covariate(NAMES[0])
    for name in NAMES[1:]:
        panel = replace(panel, known={**panel.known, name: with_covariate(name).known[name]})
    model = Gbm(GbmConfig(recursive=RecursiveConfig(rounds=5)))
    model.fit(panel, FitContext())
    forecast = model.forecast(panel)
    assert np.isfinite(forecast.point).all()
    model.save(tmp_path)
    np.testing.assert_array_equal(Gbm.load(tmp_path).forecast(panel).point, forecast.point)


def test_a_covariate_named_like_a_code_is_a_number_to_boosting() -> None:
    points = [fitted(with_covariate(name)) for name in ("code_offer", "plain")]
    np.testing.assert_allclose(*points)


def fitted(panel: Panel) -> np.ndarray:
    model = Gbm(GbmConfig())
    model.fit(panel, FitContext())
    return model.forecast(panel).point
