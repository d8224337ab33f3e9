"""What arrives after the first ingest: checked, kept once, and one table with what was there before."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import DAYS, HORIZON, START, TODAY, Raw

from components import ingest as ingest_stage
from pipelines import loop_ground
from pipelines.loop_ground import Ground
from storecast.actuals import Actuals
from storecast.dataset_config import DatasetConfig
from storecast.errors import DataError, StoreError
from storecast.ingest import IngestResult, ingest
from storecast.ingest.arrived import table_of
from storecast.store import uri as uris

LAST = pd.Timestamp(START) + pd.Timedelta(days=DAYS - 1)


@pytest.fixture
def raw() -> Raw:
    return Raw()


def _actuals(raw: Raw, folder: Path) -> Actuals:
    return Actuals(str(folder / "workspace"), DatasetConfig.model_validate(raw.config))


def _sales(raw: Raw, days: int = 1, sales: str = "50") -> pd.DataFrame:
    """Sales of the first days of the future file."""
    future = raw.tables["test"]
    return future[future["date"].isin(sorted(future["date"].unique())[:days])].assign(sales=sales)


def _write(frame: pd.DataFrame, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return str(path)


def _ingest(raw: Raw, folder: Path, actuals: Actuals) -> IngestResult:
    raw.rules(future_known="zero")
    out = folder / "panel"
    out.mkdir()
    config = DatasetConfig.model_validate(raw.config)
    return ingest(config, raw.write(folder / "raw"), out, today=TODAY, arrivals=actuals.arrivals())


def test_sales_that_arrive_extend_the_history_and_move_the_cutoff(raw: Raw, tmp_path: Path) -> None:
    actuals = _actuals(raw, tmp_path)
    receipt = actuals.add(_write(_sales(raw, days=2), tmp_path / "day.csv"))
    assert (receipt.status, receipt.rows, receipt.read) == ("taken", 8, 8)
    result = _ingest(raw, tmp_path, actuals)
    panel = result.panel
    assert panel.cutoff == LAST + pd.Timedelta(days=2)
    assert panel.horizon == HORIZON
    np.testing.assert_array_equal(panel.history[:, -2:], np.full((4, 2), 50.0))
    assert result.quality.file("future").unused["past"].count == 8


def test_the_same_file_again_changes_nothing_whatever_its_name(raw: Raw, tmp_path: Path) -> None:
    actuals = _actuals(raw, tmp_path)
    first = actuals.add(_write(_sales(raw), tmp_path / "a.csv"))
    again = actuals.add(_write(_sales(raw), tmp_path / "b.csv"))
    assert again.status == "known"
    assert again.arrival == first.arrival
    assert len(actuals.arrivals()) == 1


def test_of_rows_for_one_series_and_day_the_later_arrival_stands_and_the_others_are_counted(
    raw: Raw, tmp_path: Path
) -> None:
    actuals = _actuals(raw, tmp_path)
    actuals.add(_write(_sales(raw, sales="50"), tmp_path / "first.csv"))
    actuals.add(_write(_sales(raw, sales="60").head(3), tmp_path / "corrected.csv"))
    base = raw.tables["train"].tail(1).assign(sales="999")
    actuals.add(_write(base, tmp_path / "an older day.csv"))
    result = _ingest(raw, tmp_path, actuals)
    assert result.panel.history[:, -1].tolist() == [60.0, 60.0, 60.0, 50.0]
    assert result.panel.history[-1, -2] == 999.0
    assert result.quality.rows_superseded == 4
    assert all(file.adds_up for file in result.quality.files)


def test_a_wrong_row_is_quarantined_with_its_reason_and_a_wrong_file_is_refused(
    raw: Raw, tmp_path: Path
) -> None:
    raw.rules(max_quarantined_share=0.3)
    actuals = _actuals(raw, tmp_path)
    some = _sales(raw)
    some.iloc[0, some.columns.get_loc("sales")] = "many"
    taken = actuals.add(_write(some, tmp_path / "some.csv"))
    assert (taken.status, taken.rows) == ("taken", 3)
    refused = actuals.add(_write(_sales(raw, sales="many"), tmp_path / "all.csv"))
    assert refused.status == "refused"
    assert "is not a number" in refused.reason
    assert actuals.add(str(tmp_path / "all.csv")).status == "refused"
    assert [arrival.name for arrival in actuals.arrivals()] == ["some.csv"]
    folder = Path(taken.arrival.uri).parent
    assert pd.read_parquet(folder / "quarantine.parquet")["reason"].tolist() == ["sales is not a number"]
    result = _ingest(raw, tmp_path, actuals)
    assert int(np.isnan(result.panel.history[:, -1]).sum()) == 1
    assert result.quality.rows_quarantined == 1


def test_rows_of_a_store_that_nobody_knows_do_not_stop_what_else_has_arrived(
    raw: Raw, tmp_path: Path
) -> None:
    actuals = _actuals(raw, tmp_path)
    actuals.add(_write(_sales(raw).assign(store="99"), tmp_path / "strange.csv"))
    actuals.add(_write(_sales(raw, days=2), tmp_path / "good.csv"))
    result = _ingest(raw, tmp_path, actuals)
    assert result.panel.n_series == 4
    assert result.panel.cutoff == LAST + pd.Timedelta(days=2)
    assert any("strange.csv is left out" in note for note in result.quality.notes)


@pytest.mark.parametrize("train", [["train.parquet", "train.csv"], ["tr*.csv"]])
def test_what_has_arrived_stays_where_its_table_is_given_further_files(
    train: list[str], raw: Raw, tmp_path: Path
) -> None:
    _actuals(raw, tmp_path).add(_write(_sales(raw), tmp_path / "day.csv"))
    raw.config["train"] = train
    actuals = _actuals(raw, tmp_path)
    actuals.add(_write(_sales(raw, days=2, sales="60"), tmp_path / "days.csv"))
    result = _ingest(raw, tmp_path, actuals)
    assert [arrival.table for arrival in actuals.arrivals()] == ["train.csv", train[0]]
    assert result.panel.cutoff == LAST + pd.Timedelta(days=2)
    assert result.quality.rows_superseded == 4


def test_what_has_arrived_for_a_table_that_is_no_more_is_told(raw: Raw, tmp_path: Path) -> None:
    _actuals(raw, tmp_path).add(_write(_sales(raw), tmp_path / "day.csv"))
    raw.config["train"] = "sales.csv"
    raw.tables["sales"] = raw.tables.pop("train")
    result = _ingest(raw, tmp_path, _actuals(raw, tmp_path))
    assert result.panel.cutoff == LAST
    assert any("what has arrived for train.csv is left out (1 file)" in note for note in result.quality.notes)


def test_holidays_promotions_of_the_days_to_come_and_further_tables_arrive_too(
    raw: Raw, tmp_path: Path
) -> None:
    actuals = _actuals(raw, tmp_path)
    ahead = (LAST + pd.Timedelta(days=HORIZON + 1)).strftime("%Y-%m-%d")
    promotions = raw.tables["test"].head(4).assign(date=ahead, promo="9")
    holiday = raw.tables["holidays"].tail(1).assign(date=ahead, place="Cuenca", name="Fair")
    actuals.add(_write(_sales(raw), tmp_path / "train_2024-03-16.csv"))
    actuals.add(_write(promotions, tmp_path / "test-next.csv"))
    actuals.add(_write(holiday, tmp_path / "events.csv"), table="holidays.csv")
    panel = _ingest(raw, tmp_path, actuals).panel
    assert panel.known["promo"][:, -1].tolist() == [9.0] * 4
    assert panel.events["event"].tolist()[-1] == "Fair"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("train.csv", "train.csv"),
        ("test_2024.parquet", "test.csv"),
        ("visits-3.csv.gz", "visits.csv"),
        ("tested.csv", "train.csv"),
        ("what ever.csv", "train.csv"),
    ],
)
def test_a_file_s_name_says_which_table_it_belongs_to(raw: Raw, name: str, table: str) -> None:
    assert table_of(DatasetConfig.model_validate(raw.config), name) == table


def test_a_drop_folder_is_emptied_but_for_what_is_still_being_written(raw: Raw, tmp_path: Path) -> None:
    actuals = _actuals(raw, tmp_path)
    inbox = tmp_path / "inbox"
    _write(_sales(raw), inbox / "day.csv")
    (inbox / "notes.txt").write_text("hello")
    (inbox / "half.csv.part").write_text("date,sto")
    statuses = {receipt.arrival.name: receipt.status for receipt in actuals.take(str(inbox))}
    assert statuses == {"day.csv": "taken", "notes.txt": "refused"}
    assert [path.name for path in inbox.iterdir()] == ["half.csv.part"]
    assert actuals.take(str(tmp_path / "nowhere")) == []


def test_what_is_no_file_stays_in_a_drop_folder_and_stops_nothing(raw: Raw, tmp_path: Path) -> None:
    actuals, inbox = _actuals(raw, tmp_path), tmp_path / "inbox"
    _write(_sales(raw), inbox / "processed" / "old.csv")
    _write(_sales(raw, sales="60"), inbox / "day.csv")
    assert [receipt.arrival.name for receipt in actuals.take(str(inbox))] == ["day.csv"]
    assert [path.name for path in inbox.iterdir()] == ["processed"]
    assert (inbox / "processed" / "old.csv").exists()


def test_a_file_that_may_not_be_removed_is_taken_once_and_ends_no_pass(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: LocalFileSystem, path: str) -> None:
        raise PermissionError(f"Access Denied: {path}")

    monkeypatch.setattr(LocalFileSystem, "rm_file", refuse)
    monkeypatch.setattr(loop_ground, "get_run_logger", logging.getLogger)
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "workspace"))
    (tmp_path / "shop.yaml").write_text(json.dumps(raw.config))
    ground = Ground(str(tmp_path / "shop.yaml"), "", "default", "", None)
    inbox = ground.settings.inbox(ground.config.name)
    for name in ("one.csv", "two.csv"):
        _write(_sales(raw), Path(inbox) / name)
        ground.take()
    assert [arrival.name for arrival in ground.actuals.arrivals()] == ["one.csv"], "the same rows"
    assert {receipt.status for receipt in ground.actuals.take(inbox)} == {"known"}
    told = [record.message for record in caplog.records]
    assert [f"{inbox} ({count}): Access Denied" in said for count, said in enumerate(told, 1)] == [True, True]


def test_only_the_very_object_that_was_taken_is_removed_from_an_object_store(
    raw: Raw, tmp_path: Path
) -> None:
    actuals, inbox = _actuals(raw, tmp_path), f"memory://{uuid4().hex}/inbox"
    filesystem, path = uris.filesystem(inbox)
    for name, sales in (
        ("day[s].csv", "50"),
        ("days.csv", "60"),
    ):  # the first name is a pattern of the second
        filesystem.pipe_file(f"{path}/{name}", _sales(raw, sales=sales).to_csv(index=False).encode())
    taken = [(receipt.arrival.name, receipt.status) for receipt in actuals.take(inbox)]
    assert taken == [("day[s].csv", "taken"), ("days.csv", "taken")]
    assert uris.children(inbox) == []


def test_of_several_who_take_from_one_drop_folder_none_fails_and_nothing_is_lost(
    raw: Raw, tmp_path: Path
) -> None:
    actuals, inbox = _actuals(raw, tmp_path), tmp_path / "inbox"
    names = [f"day-{number:02d}.csv" for number in range(12)]
    for number, name in enumerate(names):
        _write(_sales(raw, sales=str(number)), inbox / name)
    with ThreadPoolExecutor(4) as pool:
        takers = [pool.submit(actuals.take, str(inbox)) for _ in range(4)]
    for taker in takers:
        taker.result()
    assert sorted(arrival.name for arrival in actuals.arrivals()) == names
    assert list(inbox.iterdir()) == []


def test_rows_may_come_as_json(raw: Raw, tmp_path: Path) -> None:
    actuals = _actuals(raw, tmp_path)
    rows = _sales(raw).assign(sales=7.5).to_dict("records")
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert actuals.add(str(tmp_path / "rows.json")).status == "taken"
    (tmp_path / "odd.json").write_text('{"date": 3}')
    odd = actuals.add(str(tmp_path / "odd.json"))
    assert odd.status == "refused"
    assert "list of rows" in odd.reason
    assert _ingest(raw, tmp_path, actuals).panel.history[:, -1].tolist() == [7.5] * 4


def test_a_missing_file_and_an_unknown_table_are_named(raw: Raw, tmp_path: Path) -> None:
    actuals = _actuals(raw, tmp_path)
    with pytest.raises(StoreError, match="no such file"):
        actuals.add(str(tmp_path / "nothing.csv"))
    with pytest.raises(DataError, match=r"stores\.csv"):
        actuals.add(_write(_sales(raw), tmp_path / "day.csv"), table="prices.csv")


def test_the_ingest_stage_is_run_again_when_something_has_arrived_and_only_then(
    raw: Raw, tmp_path: Path
) -> None:
    raw.rules(future_known="zero")
    actuals = _actuals(raw, tmp_path)
    data = str(raw.write(tmp_path / "raw"))
    yaml = tmp_path / "shop.yaml"
    yaml.write_text(json.dumps(raw.config))
    root = str(tmp_path / "workspace")

    def run() -> ingest_stage.Dataset:
        return ingest_stage.run(str(yaml), data, actuals=actuals.uri, workspace=root)

    before = run()
    actuals.add(_write(_sales(raw), tmp_path / "a.csv"))
    actuals.add(_write(_sales(raw, sales="60").head(1), tmp_path / "b.csv"))
    after = run()
    assert before.key != after.key
    assert (after.counts["arrivals"], after.counts["superseded"]) == (2, 1)
    actuals.add(_write(_sales(raw), tmp_path / "c.csv"))
    assert run().key == after.key
    assert ingest_stage.run(str(yaml), data, workspace=root).key == before.key


FILES = st.lists(
    st.tuples(st.lists(st.integers(0, 4 * (DAYS + HORIZON) - 1), min_size=1, max_size=40, unique=True),
              st.integers(0, 500)),
    max_size=4,
)  # fmt: skip


@given(files=FILES)
@settings(max_examples=5)
def test_however_rows_are_split_over_files_the_latest_stand_and_the_account_adds_up(
    files: list[tuple[list[int], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, raw = tmp_path_factory.mktemp("split"), Raw()
    actuals = _actuals(raw, folder)
    rows = pd.concat([raw.tables["train"], raw.tables["test"].assign(sales="0")], ignore_index=True)
    latest = rows["sales"].head(4 * DAYS).astype(float)
    for number, (places, sales) in enumerate(files):
        value = sales + number / 8  # no two files alike
        actuals.add(_write(rows.iloc[places].assign(sales=str(value)), folder / f"{number}.csv"))
        latest = latest.reindex(latest.index.union(places))
        latest[places] = value
    result = _ingest(raw, folder, actuals)
    wanted = rows.loc[latest.index].assign(sales=latest)
    cells = zip(wanted["store"] + "|" + wanted["family"], pd.to_datetime(wanted["date"]), strict=True)
    panel = result.panel
    series, days = zip(*cells, strict=True)
    found = panel.y[pd.Index(panel.ids).get_indexer(list(series)), panel.dates.get_indexer(list(days))]
    np.testing.assert_array_equal(found, wanted["sales"])
    assert all(file.adds_up for file in result.quality.files)
    assert result.quality.rows_superseded == len(rows.head(4 * DAYS)) + sum(len(p) for p, _ in files) - len(
        latest
    )
