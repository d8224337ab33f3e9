"""Covariates that nobody plans: a backtest is not told what the forecast will not be told either."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from raw_files import DAYS, HORIZON, START, Raw

RULES = {"forward": "last", "zero": "zero"}


def with_prices(fill: str, *planned: str) -> Raw:
    """The shop with a table of prices and discounts by date, of which the given columns are told ahead."""
    days = pd.date_range(START, periods=DAYS + HORIZON).strftime("%Y-%m-%d")
    number = np.arange(DAYS + HORIZON)
    prices = pd.DataFrame({"date": days, "price": number + 1, "discount": number % 2}).astype(str)
    for name in {"price", "discount"} - set(planned):
        prices.loc[DAYS:, name] = ""
    raw = Raw()
    raw.tables["prices"] = prices
    columns = ["price", "discount"]
    table = {"files": "prices.csv", "kind": "known", "join": ["date"], "columns": columns, "fill": fill}
    raw.config["tables"].append(table)
    return raw


@pytest.mark.parametrize("fill", RULES)
def test_of_a_table_that_plans_one_column_a_fold_is_not_told_the_other(fill: str, tmp_path: Path) -> None:
    panel = with_prices(fill, "price").ingest(tmp_path).panel
    assert panel.unplanned == {"discount": RULES[fill]}
    fold = panel.at(panel.dates[DAYS - HORIZON - 1], HORIZON)
    at_cutoff = fold.known["discount"][0, fold.n_history - 1]
    foreseen = at_cutoff if fill == "forward" else 0.0
    np.testing.assert_array_equal(fold.known["discount"][:, -HORIZON:], foreseen)
    np.testing.assert_array_equal(
        fold.known["price"][0, -HORIZON:], np.arange(DAYS - HORIZON, DAYS, dtype=float) + 1
    )


def test_rows_of_days_to_come_that_say_nothing_plan_nothing(tmp_path: Path) -> None:
    panel = with_prices("forward").ingest(tmp_path).panel
    assert panel.unplanned == {"price": "last", "discount": "last"}


def test_a_table_that_plans_all_its_columns_is_told_to_each_fold(tmp_path: Path) -> None:
    assert with_prices("forward", "price", "discount").ingest(tmp_path).panel.unplanned == {}
