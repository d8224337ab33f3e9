"""A bundle forecasts again in a fresh process, row by row as asked, and answers what-if."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from storecast.bundle import Bundle, write_bundle
from storecast.conformal import Calibration
from storecast.errors import DataError, ModelError
from storecast.models.base import FitContext
from storecast.models.booster import BoosterConfig
from storecast.models.gbm import Gbm, GbmConfig
from storecast.panel_io import write_panel
from storecast.synthetic import make_panel

PANEL = make_panel(n_stores=3, n_families=3, n_days=300)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    context = folder / "panel"
    context.mkdir()
    write_panel(PANEL, context, dataset="shop", keys=("store_nbr", "family"))
    model = Gbm(GbmConfig(boosters=(BoosterConfig(rounds=20, step_days=20),), spread_rounds=5))
    model.fit(PANEL, FitContext())
    plain = Calibration((0.025, 0.1, 0.5, 0.9, 0.975), 16, 1, (1.0,) * 5, {}, {})
    about = {
        "dataset": "shop",
        "keys": ["store_nbr", "family"],
        "cutoff": str(PANEL.cutoff.date()),
        "fitted_to": str(PANEL.cutoff.date()),
        "horizon": 16,
    }
    write_bundle(folder / "made", model, plain, context, about)
    return Bundle.load(folder / "made")


def test_rows_are_answered_in_the_order_they_are_asked(bundle: Bundle) -> None:
    whole = bundle.forecast().set_index(["unique_id", "ds"])
    asked = pd.DataFrame(
        {
            "store_nbr": [3, 1, 3],
            "family": ["PRODUCE", "GROCERY", "PRODUCE"],
            "ds": pd.to_datetime(["2023-08-09", "2023-08-01", "2023-08-02"]),
        },
        index=[7, 5, 9],
    )
    answer = bundle.predict(asked)
    assert list(answer.index) == [7, 5, 9]
    assert list(answer["unique_id"]) == ["3|PRODUCE", "1|GROCERY", "3|PRODUCE"]
    expected = [whole.loc[(row.unique_id, row.ds), "yhat"] for row in answer.itertuples()]
    np.testing.assert_allclose(answer["yhat"], expected)


def test_a_covariate_in_the_frame_asks_what_if(bundle: Bundle) -> None:
    days = PANEL.future_dates
    asked = pd.DataFrame({"unique_id": "1|GROCERY", "ds": days})
    promoted = bundle.predict(asked.assign(onpromotion=11.0))["yhat"]
    assert promoted.sum() > bundle.predict(asked.assign(onpromotion=0.0))["yhat"].sum()
    planned = PANEL.known["onpromotion"][list(PANEL.ids).index("1|GROCERY"), -16:]
    np.testing.assert_allclose(
        bundle.predict(asked)["yhat"], bundle.predict(asked.assign(onpromotion=planned))["yhat"]
    )


def test_two_scenarios_of_one_series_and_date_in_a_frame_are_refused(bundle: Bundle) -> None:
    asked = pd.DataFrame({"unique_id": "1|GROCERY", "ds": [PANEL.future_dates[2]] * 2})
    with pytest.raises(DataError, match=r"onpromotion(.|\n)*1\|GROCERY on 2023-08-03(.|\n)*frame of its own"):
        bundle.predict(asked.assign(onpromotion=[0.0, 11.0]))
    same = bundle.predict(asked.assign(onpromotion=11.0))["yhat"]
    assert same.iloc[0] == same.iloc[1]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "many"])
def test_a_covariate_that_is_not_a_number_is_refused(bundle: Bundle, value: object) -> None:
    asked = pd.DataFrame({"unique_id": "1|GROCERY", "ds": PANEL.future_dates[:2], "onpromotion": [3, value]})
    with pytest.raises(DataError, match=r"onpromotion(.|\n)*finite(.|\n)*1 rows"):
        bundle.predict(asked)


def test_a_what_if_of_some_series_is_what_the_whole_panel_gives(bundle: Bundle) -> None:
    rows, days = np.array([4, 1]), [str(day.date()) for day in PANEL.future_dates]
    changes = {"onpromotion": {4: dict.fromkeys(days[:3], 9.0), 1: {days[-1]: 2.0}}}
    values = bundle.panel.known["onpromotion"].copy()
    values[4, -16:-13], values[1, -1] = 9.0, 2.0
    whole = bundle.calibration.apply(bundle.model.forecast(bundle.panel.with_known("onpromotion", values)))
    for _ in range(2):  # the second is answered from what the first prepared
        told = bundle.what_if(rows, changes, pd.DataFrame())
        np.testing.assert_array_equal(told.point, whole.point[rows])
        np.testing.assert_array_equal(told.quantiles, whole.quantiles[rows])
        same = bundle.what_if(rows, {}, pd.DataFrame())
        np.testing.assert_array_equal(same.point, bundle.model.forecast(bundle.panel).point[rows])


def test_a_holiday_more_is_a_what_if_too(bundle: Bundle) -> None:
    more = pd.DataFrame([{"ds": str(PANEL.future_dates[3].date()), "event": "Fair", "kind": "holiday"}])
    row = np.array([4])
    entered = pd.concat([PANEL.events, more.assign(ds=pd.to_datetime(more["ds"]), column="", value="")])
    whole = bundle.model.forecast(replace(bundle.panel, events=entered))
    np.testing.assert_array_equal(bundle.what_if(row, {}, more).point, whole.point[row])


def test_unknown_series_are_named(bundle: Bundle) -> None:
    asked = pd.DataFrame({"unique_id": ["1|GROCERY", "9|HATS"], "ds": [PANEL.future_dates[0]] * 2})
    with pytest.raises(DataError, match=r"9\|HATS"):
        bundle.predict(asked)


def test_a_date_outside_the_horizon_is_answered_with_the_range(bundle: Bundle) -> None:
    asked = pd.DataFrame({"unique_id": ["1|GROCERY"], "ds": [pd.Timestamp("2024-01-01")]})
    with pytest.raises(DataError, match=r"2023-08-01\.\.2023-08-16"):
        bundle.predict(asked)


def test_a_frame_without_keys_is_answered_with_the_columns_it_needs(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="store_nbr, family"):
        bundle.predict(pd.DataFrame({"ds": PANEL.future_dates}))


def test_a_bundle_of_another_version_is_refused_with_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(bundle.folder, tmp_path / "old")
    saved = tmp_path / "old" / "model" / "gbm.json"
    content = json.loads(saved.read_text())
    content["config"] = {"rounds": 20, "no_longer_known": 1}
    saved.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"another version(.|\n)*trained with this version"):
        Bundle.load(tmp_path / "old")


def test_a_bundle_whose_class_is_not_installed_here_is_refused_with_the_module_and_where_it_has_to_be(
    bundle: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(bundle.folder, tmp_path / "theirs")
    about = tmp_path / "theirs" / "bundle.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "class": "acme_models.mean:Mean"}))
    with pytest.raises(ModelError, match=r"^acme_models\.mean:Mean: there is no module(.|\n)*in the images"):
        Bundle.load(tmp_path / "theirs")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"bundle\.json"):
        Bundle.load(tmp_path)
