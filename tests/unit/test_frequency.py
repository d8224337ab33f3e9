"""Days, weeks and months: what a frequency's dates are, and that months are read and forecast as such."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from seasons import error_of_season, noisy

from components import ingest
from components.stage import open_panel, open_store
from storecast.calendar import event_days
from storecast.dataset_config import load_dataset_config
from storecast.errors import ConfigError, DataError
from storecast.features.table import training_cutoffs
from storecast.frequency import frequency
from storecast.models.arima import Arima, ArimaConfig
from storecast.models.prophet import Prophet, ProphetConfig
from storecast.panel import Panel

CONFIG = "name: months\nfreq: {}\nhorizon: 3\ntrain: sales.csv\ndate: month\ntarget: units\nkeys: [shop]\n"
"""A monthly data set; {} is its frequency."""


def categories(months: int = 60, ahead: int = 6, freq: str = "MS") -> tuple[Panel, np.ndarray]:
    """Categories whose year has two waves, and what they would sell ahead without noise."""
    rng = np.random.default_rng(1)
    dates = pd.date_range("2019-01-01", periods=months + ahead, freq=freq)
    angle = 2 * np.pi * (dates.month.to_numpy() - rng.uniform(0, 12, (5, 1))) / 12
    expected = rng.uniform(5, 8, (5, 1)) + 0.3 * np.cos(angle) + 0.2 * np.cos(2 * angle)
    return noisy(expected, dates, ahead, rng), expected[:, months:]


def with_events(freq: str, *days: str) -> Panel:
    panel, _ = categories(12, 1, freq)
    table = pd.DataFrame({"ds": pd.to_datetime(list(days)), "event": "feast", "kind": "holiday"})
    return replace(panel, events=table.assign(column="", value=""))


def read(folder: Path, freq: str, months: list[str], form: str = "%Y-%m-%d") -> Panel:
    rows = pd.DataFrame({"month": months, "shop": "a", "units": range(1, len(months) + 1)})
    rows.to_csv(folder / "sales.csv", index=False)
    (folder / "months.yaml").write_text(CONFIG.format(freq) + f"csv: {{date_format: '{form}'}}\n")
    store = str(folder / "store")
    made = ingest.run(str(folder / "months.yaml"), str(folder), workspace=store)
    return open_panel(open_store(store), made.uri)


def test_a_span_of_days_holds_at_least_one_date() -> None:
    assert [frequency(name).dates(56) for name in ("D", "W-SUN", "MS")] == [56, 8, 1]
    assert [frequency(name).dates(3) for name in ("D", "W-MON", "ME")] == [3, 1, 1]
    with pytest.raises(KeyError):
        frequency("h")


def test_what_is_enough_of_days_and_weeks_is_less_of_months() -> None:
    assert [frequency(name).fewer(60) for name in ("D", "W-SUN", "ME")] == [60, 60, 24]


@pytest.mark.parametrize(
    ("freq", "months", "form", "last"),
    [
        ("MS", ["2023-11-01", "2023-12-01", "2024-01-01", "2024-02-01"], "%Y-%m-%d", "2024-05-01"),
        ("MS", ["2023-11", "2023-12", "2024-01", "2024-02"], "%Y-%m", "2024-05-01"),
        ("ME", ["2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29"], "%Y-%m-%d", "2024-05-31"),
    ],
)
def test_months_are_read_by_their_first_or_last_day(
    tmp_path: Path, freq: str, months: list[str], form: str, last: str
) -> None:
    panel = read(tmp_path, freq, months, form)
    assert panel.history.tolist() == [[1, 2, 3, 4]]
    assert panel.dates[-1] == pd.Timestamp(last)


def test_another_day_of_the_month_is_refused_with_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="set `freq` to MS or ME"):
        read(tmp_path, "ME", ["2023-11-01", "2023-12-01", "2024-01-01", "2024-02-01"])


def test_what_weeks_are_dated_by_is_asked_of_weeks_alone(tmp_path: Path) -> None:
    file = tmp_path / "months.yaml"
    file.write_text(CONFIG.format("MS") + "weeks_dated_by: first_day\n")
    with pytest.raises(ConfigError, match="weeks_dated_by: first_day is for weekly data, and freq is MS"):
        load_dataset_config(file)


@pytest.mark.parametrize("freq", ["MS", "ME"])
def test_a_feast_marks_the_month_that_holds_it(freq: str) -> None:
    panel = with_events(freq, "2018-12-31", "2019-03-01", "2019-05-31", "2020-01-31", "2020-02-01")
    marked = panel.dates[event_days(panel)[0] > 0]
    assert [(day.year, day.month) for day in marked] == [(2019, 3), (2019, 5), (2020, 1)]


def test_a_window_of_months_has_as_many_dates_as_one_of_weeks() -> None:
    panel, _ = categories(120)
    cutoffs = training_cutoffs(panel, step_days=20, window_days=440)
    assert 55 <= len(cutoffs) <= 63
    assert cutoffs[-1] == panel.dates[panel.n_history - 2]


@pytest.mark.parametrize("model", [Arima(ArimaConfig(refine=0)), Prophet(ProphetConfig())])
def test_the_year_is_followed_in_months(model: Arima | Prophet) -> None:
    panel, expected = categories()
    assert error_of_season(model, panel, expected) < 0.5
