"""The synthetic retailer has what real ones have, and the same seed gives the same sales."""

import numpy as np
import pandas as pd

from storecast.synthetic import make_panel, raw_tables, tables_after


def test_the_same_seed_gives_the_same_sales_and_another_seed_others() -> None:
    np.testing.assert_array_equal(make_panel(seed=3).y, make_panel(seed=3).y)
    assert not np.array_equal(make_panel(seed=3).y, make_panel(seed=4).y)


def test_weekdays_differ_and_promotions_lift_sales() -> None:
    panel = make_panel(n_stores=1, n_families=1)
    sales = pd.Series(panel.history[0], index=panel.dates[: panel.n_history])
    sales = sales[sales > 0]
    by_weekday = sales.groupby(sales.index.day_of_week).mean()
    assert by_weekday.max() / by_weekday.min() > 1.3
    promoted = panel.known["onpromotion"][0, : panel.n_history][panel.history[0] > 0] > 0
    assert sales[promoted].mean() > 1.1 * sales[~promoted].mean()


def test_stores_close_on_christmas_and_one_on_sundays() -> None:
    panel = make_panel()
    christmas = [i for i, day in enumerate(panel.dates) if (day.month, day.day) == (12, 25)]
    assert (panel.y[:, christmas] == 0).all()
    sundays = panel.dates[: panel.n_history].day_of_week == 6
    second = (panel.static["store_nbr"] == "2").to_numpy()
    assert (panel.history[np.ix_(second, sundays)] == 0).all()


def test_one_series_jumps_to_a_new_level_and_one_sells_rarely() -> None:
    panel = make_panel()
    level = pd.Series(panel.history[list(panel.ids).index("1|GROCERY")])
    assert level.iloc[-200:].mean() > 1.4 * level.iloc[:400].mean()
    rare = panel.history[list(panel.ids).index("1|BOOKS" if "1|BOOKS" in panel.ids else "1|DAIRY")]
    assert rare.mean() < panel.history.mean()


def test_the_future_table_has_promotions_and_no_sales() -> None:
    tables = raw_tables(n_stores=2, n_families=2, n_days=60, horizon=5)
    assert "sales" not in tables["test"]
    assert len(tables["test"]) == 2 * 2 * 5
    assert tables["test"]["date"].min() > tables["train"]["date"].max()


def test_what_arrives_after_goes_on_where_the_raw_files_end() -> None:
    sizes = {"n_stores": 2, "n_families": 2, "n_days": 120, "horizon": 16, "seed": 3}
    raw, after = raw_tables(**sizes), tables_after(**sizes)
    pd.testing.assert_frame_equal(after["train"].drop(columns="sales"), raw["test"])
    assert list(after["train"].columns) == list(raw["train"].columns)
    assert after["train"]["sales"].sum() > 0
    plan = after["test"]
    assert list(plan.columns) == list(raw["test"].columns)
    first = raw["test"]["date"].max() + pd.Timedelta(days=1)
    assert list(plan["date"].unique()) == list(pd.date_range(first, periods=16))
    assert len(plan) == len(raw["test"])
    assert plan["id"].min() == raw["test"]["id"].max() + 1
