from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cv_tables import backtest, honest_blend, small_panel, table
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from storecast.blend import (
    BlendWeights,
    blend_folds,
    blend_rows,
    fit_weights,
    honest_folds,
    simplex_weights,
)
from storecast.errors import ConfigError, ModelError, StorecastError
from storecast.metrics import rmsle
from storecast.models.arima import Arima, ArimaConfig
from storecast.models.base import FitContext, Forecast, Forecaster
from storecast.models.blend import Blend
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel
from storecast.segments import volume_classes


@pytest.fixture(scope="module")
def cv() -> pd.DataFrame:
    return backtest(small_panel())


def noisy(errors: dict[str, np.ndarray], fold: int = 0, volume: object = "high") -> pd.DataFrame:
    """Models with given errors on the log scale around the same actuals."""
    y = np.random.default_rng(9).gamma(3, 30, len(next(iter(errors.values()))))
    return pd.concat(
        [table(y, np.expm1(np.log1p(y) + e), name, fold, volume=volume) for name, e in errors.items()]
    )


def two_models(n: int = 4000, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(0, 0.1, n), "b": rng.normal(0, 0.2, n)}


@settings(max_examples=60)
@given(arrays(np.float64, (12, 4), elements=st.integers(-30, 30).map(lambda x: x / 10)))
def test_weights_lie_on_the_simplex_and_no_single_model_or_pair_is_better(errors: np.ndarray) -> None:
    products = errors.T @ errors
    weights = simplex_weights(products)
    loss = weights @ products @ weights
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    rivals = [
        np.eye(4)[i] * s + np.eye(4)[j] * (1 - s) for i in range(4) for j in range(4) for s in (0, 0.3, 0.5)
    ]
    assert all(loss <= rival @ products @ rival + 1e-6 * max(1, np.trace(products)) for rival in rivals)


def test_independent_models_are_weighted_by_their_precision() -> None:
    weights = fit_weights(noisy(two_models()), shrinkage=0)
    assert weights.overall == pytest.approx((0.8, 0.2), abs=0.03)


def test_a_model_that_only_adds_noise_gets_nothing() -> None:
    errors = two_models()
    errors["c"] = errors["a"] + np.random.default_rng(1).normal(0, 0.5, 4000)
    assert fit_weights(noisy(errors)).overall[2] < 0.01


def test_each_segment_gets_its_own_weights_and_small_ones_stay_near_the_global() -> None:
    errors = two_models()
    low = np.arange(4000) < 200
    errors["a"][low], errors["b"][low] = errors["b"][low], errors["a"][low]
    cv = noisy(errors, volume=np.where(low, "low", "high"))
    free, held = fit_weights(cv, shrinkage=0), fit_weights(cv, shrinkage=2000)
    assert free.segments["low"][0] < 0.3
    assert free.segments["high"][0] > 0.7
    assert held.segments["low"][0] > 0.6
    assert held.segments["high"][0] == pytest.approx(free.segments["high"][0], abs=0.05)


def test_the_blend_of_real_forecasts_is_no_worse_than_the_best_of_them(cv: pd.DataFrame) -> None:
    blended = blend_rows(cv, fit_weights(cv))
    best = rmsle(cv, ["model"])["rmsle"].min()
    assert rmsle(blended, ["model"])["rmsle"].iloc[0] <= best + 1e-4


def test_a_fold_is_blended_without_knowing_its_actuals_or_later_ones(cv: pd.DataFrame) -> None:
    cutoffs = sorted(cv["cutoff"].unique())
    changed = cv.copy()
    late = (changed["cutoff"] >= cutoffs[1]).to_numpy()
    changed.loc[late, "y"] = changed.loc[late, "y"].to_numpy()[::-1] * 3 + 1
    before, after = honest_blend(cv), honest_blend(changed)
    early = (before["cutoff"] <= cutoffs[1]).to_numpy()
    pd.testing.assert_series_equal(before.loc[early, "yhat"], after.loc[early, "yhat"])
    assert not np.allclose(before.loc[~early, "yhat"], after.loc[~early, "yhat"])


def test_the_first_fold_is_the_median_of_all_models_but_the_naive(cv: pd.DataFrame) -> None:
    first = cv[cv["cutoff"] == cv["cutoff"].min()]
    wild = first[first["model"] == "weekday"].assign(model="wild", yhat=1e6)
    mine = honest_blend(pd.concat([first, wild]))
    others = first[first["model"] != "naive"]
    expected = others.groupby(["unique_id", "ds"])["yhat"].max().reset_index()
    np.testing.assert_allclose(mine["yhat"], expected["yhat"], rtol=1e-6)


def test_on_the_first_fold_a_new_series_is_forecast_by_the_models_that_know_its_peers(
    cv: pd.DataFrame,
) -> None:
    first = cv[cv["cutoff"] == cv["cutoff"].min()].assign(volume="new")
    mine = honest_blend(first, peers=["weekday"])
    alone = first[first["model"] == "weekday"].sort_values(["unique_id", "ds"])
    np.testing.assert_allclose(mine["yhat"], alone["yhat"], rtol=1e-6)


def test_a_naive_alone_is_its_own_blend(cv: pd.DataFrame) -> None:
    alone = cv[(cv["model"] == "naive") & (cv["cutoff"] == cv["cutoff"].min())]
    np.testing.assert_allclose(
        honest_blend(alone)["yhat"], alone.sort_values(["unique_id", "ds"])["yhat"], rtol=1e-6
    )


def test_a_folds_blend_comes_with_the_folds_before_it_blended_by_the_same_weights(
    cv: pd.DataFrame,
) -> None:
    cutoffs = sorted(cv["cutoff"].unique())
    folds = list(honest_folds(cv))
    assert folds[0][1]().empty
    for number, (blend, before) in enumerate(folds[1:], 1):
        weights = fit_weights(cv[cv["cutoff"] < cutoffs[number]])
        pd.testing.assert_frame_equal(blend, blend_rows(cv[cv["cutoff"] == cutoffs[number]], weights))
        pd.testing.assert_frame_equal(before(), blend_folds(cv, weights, cutoffs[:number]))
        assert sorted(before()["cutoff"].unique()) == cutoffs[:number]


def test_blended_quantiles_do_not_cross_and_lie_between_the_models(cv: pd.DataFrame) -> None:
    blended = honest_blend(cv)
    quantiles = blended[["q0.025", "q0.1", "q0.5", "q0.9", "q0.975"]].to_numpy()
    assert (np.diff(quantiles, axis=1) >= -1e-9).all()
    assert (quantiles >= 0).all()
    highest = cv.groupby(["cutoff", "unique_id", "ds"])["q0.9"].max().to_numpy()
    assert (blended.sort_values(["cutoff", "unique_id", "ds"])["q0.9"].to_numpy() <= highest + 1e-6).all()


def test_a_model_far_from_the_leading_one_counts_as_at_the_edge_of_the_band() -> None:
    errors = two_models()
    errors["b"][:50] = 4.0
    cv = noisy(errors).sort_values(["model", "unique_id", "ds"])
    weights = fit_weights(cv, shrinkage=0, band=0.5)
    assert weights.leader == "a"
    assert weights.overall[1] > fit_weights(cv, shrinkage=0, band=100.0).overall[1]
    blended = np.log1p(blend_rows(cv, weights)[["yhat", "q0.1", "q0.9"]].to_numpy()).T
    one, other = (np.log1p(cv[cv["model"] == m][["yhat", "q0.1", "q0.9"]].to_numpy()).T for m in "ab")
    gap = np.clip(other[0] - one[0], -0.5, 0.5) - other[0] + one[0]
    share = weights.overall[1]
    np.testing.assert_allclose(blended, (1 - share) * one + share * (other + gap), atol=1e-6)


class Doubled(SeasonalNaive):
    """Forecasts twice last week's sales."""

    def forecast(self, panel: Panel) -> Forecast:
        once = super().forecast(panel)
        return Forecast(once.ids, once.dates, 2 * once.point, 2 * once.quantiles)


def test_the_blend_in_production_holds_its_members_as_the_backtest_did() -> None:
    panel = small_panel()
    members = {"double": Doubled(NaiveConfig()), "once": SeasonalNaive(NaiveConfig())}
    weights = BlendWeights(("double", "once"), (0.5, 0.5), "volume", {}, leader="once", band=0.1)
    double, once = (np.log1p(member.forecast(panel).point) for member in members.values())
    assert (double - once > 0.5).any()
    segments = dict.fromkeys(map(str, panel.ids), "low")
    blended = np.log1p(Blend.of(members, weights, segments).forecast(panel).point)
    np.testing.assert_allclose(blended, once + np.minimum(double - once, 0.1) / 2, atol=1e-9)
    without = Blend.of(members, replace(weights, overall=(1.0, 0.0)), segments).forecast(panel)
    np.testing.assert_allclose(np.log1p(without.point), once + np.minimum(double - once, 0.1), atol=1e-9)
    assert (np.diff(without.quantiles, axis=2) >= 0).all()


def test_models_with_different_rows_are_not_blended(cv: pd.DataFrame) -> None:
    with pytest.raises(StorecastError, match="same rows"):
        fit_weights(cv.drop(cv.index[5]))


def test_weights_survive_json(cv: pd.DataFrame) -> None:
    weights = fit_weights(cv)
    assert BlendWeights.from_dict(weights.to_dict()) == weights
    assert weights.to_frame().groupby("segment")["weight"].sum().to_numpy() == pytest.approx(1)


def fitted_blend() -> Blend:
    panel = small_panel()
    members = {"long": SeasonalNaive(NaiveConfig()), "short": SeasonalNaive(NaiveConfig(seasons=2))}
    segments = volume_classes(panel).astype(str).to_dict()
    return Blend.of(
        members, BlendWeights(("long", "short"), (0.5, 0.5), "volume", {"high": (1.0, 0.0)}), segments
    )


def test_the_blend_is_a_forecaster_that_mixes_its_members_per_segment() -> None:
    panel, blend = small_panel(), fitted_blend()
    assert isinstance(blend, Forecaster)
    blend.fit(panel, FitContext())
    forecast = blend.forecast(panel)
    long, short = (member.forecast(panel) for member in blend.members.values())
    high = (volume_classes(panel) == "high").to_numpy()
    np.testing.assert_allclose(forecast.quantiles[high], long.quantiles[high], atol=1e-9)
    middle = np.expm1((np.log1p(long.quantiles[~high]) + np.log1p(short.quantiles[~high])) / 2)
    np.testing.assert_allclose(forecast.quantiles[~high], middle, atol=1e-9)


def test_a_series_the_blend_has_not_seen_gets_the_overall_weights() -> None:
    blend = fitted_blend()
    blend.segments = {}
    blend.weights = BlendWeights(("long", "short"), (0.0, 1.0), "volume", {"high": (1.0, 0.0)})
    panel = small_panel().select(slice(0, 3))
    expected = blend.members["short"].forecast(panel)
    np.testing.assert_allclose(blend.forecast(panel).quantiles, expected.quantiles, atol=1e-9)


def test_a_series_that_came_after_the_fit_is_forecast_by_the_global_models_alone() -> None:
    panel = small_panel()
    before = panel.select(slice(1, None))
    local, peers = Arima(ArimaConfig()), SeasonalNaive(NaiveConfig())
    local.fit(before, FitContext())
    weights = BlendWeights(("arima", "naive"), (0.5, 0.5), "volume", {}, leader="arima", peers=("naive",))
    blend = Blend.of({"arima": local, "naive": peers}, weights, volume_classes(before).astype(str).to_dict())
    point = blend.forecast(panel).point
    np.testing.assert_allclose(point[0], peers.forecast(panel).point[0])
    np.testing.assert_allclose(point[1:], blend.forecast(before).point)


def test_a_saved_blend_forecasts_the_same_and_saves_to_the_same_bytes(tmp_path: Path) -> None:
    panel, blend = small_panel(), fitted_blend()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    blend.save(tmp_path / "one")
    again = Blend.load(tmp_path / "one")
    np.testing.assert_array_equal(again.forecast(panel).quantiles, blend.forecast(panel).quantiles)
    again.save(tmp_path / "two")
    for file in sorted((tmp_path / "one").rglob("*.json")):
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_a_bundle_that_names_something_else_than_a_forecaster_is_refused(tmp_path: Path) -> None:
    fitted_blend().save(tmp_path)
    text = (tmp_path / "weights.json").read_text()
    (tmp_path / "weights.json").write_text(
        text.replace("storecast.models.naive:SeasonalNaive", "os:PathLike")
    )
    with pytest.raises(ConfigError, match="os:PathLike"):
        Blend.load(tmp_path)


def test_weights_without_their_model_are_refused() -> None:
    with pytest.raises(ModelError, match="gbm"):
        Blend.of({}, BlendWeights(("gbm",), (1.0,), "volume", {}), {})


def test_a_new_series_is_forecast_by_the_models_that_know_its_peers() -> None:
    wide = {"local": np.full(8, 5.0), "peers": np.full(8, 50.0), "other": np.full(8, 60.0)}
    cv = pd.concat([table(np.full(8, 5.0), yhat, model=name) for name, yhat in wide.items()])
    cv["volume"] = ["new" if number < 2 else "low" for number in range(8)] * 3
    weights = fit_weights(cv, peers=["peers", "other", "not there"])
    assert weights.leader == "local"
    assert BlendWeights.from_dict(weights.to_dict()) == weights
    told = blend_rows(cv, weights).set_index("unique_id")["yhat"]
    assert told["s5"] == pytest.approx(5.0)
    both = np.expm1(np.log1p([50, 60]).mean())
    assert told["s0"] == pytest.approx(both), "not held to a leader that does not know it"
    unknown = replace(weights, peers=())
    assert blend_rows(cv, unknown).set_index("unique_id").loc["s0", "yhat"] == pytest.approx(5.0)


def test_weights_do_not_learn_from_new_series() -> None:
    y = np.array([10.0, 10.0, 10.0, 10.0])
    cv = pd.concat([table(y, np.array([10, 10, 0, 0.0]), model="a"), table(y, np.full(4, 12.0), model="b")])
    cv["volume"] = ["low", "low", "new", "new"] * 2
    weights = fit_weights(cv, shrinkage=0.0, peers=["b"])
    assert weights.overall == (1.0, 0.0)
    assert "new" not in weights.segments
