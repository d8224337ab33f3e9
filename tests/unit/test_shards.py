"""A local model in shards forecasts as the whole would."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storecast.errors import ModelError
from storecast.models.arima import Arima, ArimaConfig
from storecast.models.base import FitContext, Forecaster
from storecast.models.catalogue import class_path_of
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.models.shards import Sharded, ShardedConfig, shard_bounds
from storecast.panel import Panel
from storecast.synthetic import make_panel

CONFIG = ArimaConfig(window=150, refine=0, orders=((0, 1),))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel(n_stores=3, n_families=3, n_days=200)


@pytest.fixture(scope="module")
def whole(panel: Panel) -> Arima:
    model = Arima(CONFIG)
    model.fit(panel, FitContext())
    return model


def fitted(panel: Panel, size: int) -> Sharded:
    parts: list[Forecaster] = []
    ids = []
    for rows in shard_bounds(panel.n_series, size):
        part = Arima(CONFIG)
        part.fit(panel.select(rows), FitContext())
        parts.append(part)
        ids.append(panel.ids[rows])
    return Sharded.of(parts, ids)


@given(n=st.integers(1, 5000), size=st.integers(1, 700))
def test_bounds_cover_every_series_once_in_nearly_equal_shards(n: int, size: int) -> None:
    bounds = shard_bounds(n, size)
    covered = [i for rows in bounds for i in range(rows.start, rows.stop)]
    lengths = [rows.stop - rows.start for rows in bounds]
    assert covered == list(range(n))
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [1, 4, 9, 100])
def test_any_number_of_shards_forecasts_the_same_to_the_bit(panel: Panel, whole: Arima, size: int) -> None:
    np.testing.assert_array_equal(
        fitted(panel, size).forecast(panel).quantiles, whole.forecast(panel).quantiles
    )


def test_shards_fitted_in_another_order_forecast_the_same(panel: Panel, whole: Arima) -> None:
    model = fitted(panel, 4)
    turned = Sharded.of([model.part(2), model.part(0), model.part(1)], [model._ids[k] for k in (2, 0, 1)])
    np.testing.assert_array_equal(turned.forecast(panel).point, whole.forecast(panel).point)


def test_some_of_the_series_can_be_asked_for(panel: Panel, whole: Arima) -> None:
    some = panel.select(np.array([1, 7], dtype=np.int64))
    np.testing.assert_array_equal(fitted(panel, 4).forecast(some).point, whole.forecast(some).point)


def test_it_fits_by_itself_as_well(panel: Panel, whole: Arima) -> None:
    done: list[int] = []
    model = Sharded(ShardedConfig(class_path=class_path_of(whole), params=CONFIG.model_dump(), size=4))
    report = model.fit(panel, FitContext(progress=lambda *counts: done.append(counts[0])))
    assert isinstance(model, Forecaster)
    assert (done[-1], len(model), len(report.info["shards"])) == (9, 3, 3)
    np.testing.assert_array_equal(model.forecast(panel).point, whole.forecast(panel).point)


def test_saved_shards_come_back_and_give_the_same_bytes(panel: Panel, tmp_path: Path) -> None:
    model = fitted(panel, 4)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    model.save(folders[0])
    loaded = Sharded.load(folders[0])
    loaded.save(folders[1])
    files = [{str(p.relative_to(f)): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert files[0] == files[1]
    assert sorted(files[0]) == ["shards.json", *(f"shards/00{k}/arima.arrow" for k in range(3))]
    np.testing.assert_array_equal(loaded.forecast(panel).point, model.forecast(panel).point)


def test_a_model_that_keeps_no_series_can_be_sharded(panel: Panel) -> None:
    naive = SeasonalNaive(NaiveConfig())
    model = Sharded.of([naive, naive], [panel.ids[:5], panel.ids[5:]])
    np.testing.assert_array_equal(model.forecast(panel).point, naive.forecast(panel).point)


def test_a_series_of_no_shard_is_an_error_that_names_it(panel: Panel, whole: Arima) -> None:
    with pytest.raises(ModelError, match=str(panel.ids[8]).replace("|", r"\|")):
        Sharded.of([whole], [panel.ids[:8]]).forecast(panel)


def test_a_shard_that_fails_is_named(panel: Panel) -> None:
    broken = Arima(CONFIG)
    broken.fit(panel.select(slice(0, 2)), FitContext())
    model = Sharded.of([broken, broken], [panel.ids[:2], panel.ids[2:]])
    with pytest.raises(ModelError, match=r"shard 1 \(1\|PRODUCE to 3\|PRODUCE\)"):
        model.forecast(panel)


@pytest.mark.parametrize(
    ("copies", "cuts"),
    [(0, []), (1, [(0, 4), (4, 9)]), (2, [(0, 5), (4, 9)])],
    ids=["none", "too few", "overlap"],
)
def test_shards_that_do_not_fit_together_are_an_error(
    panel: Panel, whole: Arima, copies: int, cuts: list[tuple[int, int]]
) -> None:
    with pytest.raises(ModelError, match="shard"):
        Sharded.of([whole] * copies, [panel.ids[a:b] for a, b in cuts])


def test_a_shard_that_does_not_exist_is_an_error(panel: Panel, whole: Arima) -> None:
    with pytest.raises(ModelError, match="no such shard"):
        Sharded.of([whole], [panel.ids]).part(1)
