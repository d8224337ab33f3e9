"""Raw files are read in parts: where a part ends makes no difference. Cells are read again when asked for."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_files import Raw

from storecast.dataset_config import CsvFormat
from storecast.errors import DataError
from storecast.ingest.assemble import Axes
from storecast.ingest.parse import Kind
from storecast.ingest.raw_table import Malformed, RawTable
from storecast.ingest.source import Source
from storecast.ingest.typed import Typed, builder

FORM = CsvFormat()
WORDS = {
    "date": ["2024-01-01", "2024-02-29", "2024-02-30", "01.02.2024", "NA", "", None],
    "key": ["1", "a", "B", "ü", "", None],
    "number": ["1", "-2.5", " 3", "1e3", "inf", "1,5", "x", "null", "", None],
    "covariate": ["1", "-2.5", "TRUE", " false", "Y", "no", "1,5", "x", "null", "", None],
    "flag": ["true", "No", "1", "maybe", "", None],
}


def typed_in(parts: Sequence[pa.Array], kind: Kind) -> Typed:
    made = builder(kind, FORM)
    for part in parts:
        made.add(part)
    return made.finish()


def same(one: Typed, other: Typed) -> None:
    pd.testing.assert_series_equal(one.values, other.values)
    np.testing.assert_array_equal(one.unreadable, other.unreadable)


@given(data=st.data(), kind=st.sampled_from(list(WORDS)))
def test_a_column_read_in_parts_is_the_column_read_at_once(data: st.DataObject, kind: Kind) -> None:
    words = data.draw(st.lists(st.sampled_from(WORDS[kind]), min_size=1, max_size=30))
    cuts = data.draw(st.lists(st.integers(0, len(words)), max_size=4))
    whole = pa.array(words, pa.string())
    edges = sorted({0, *cuts, len(words)})
    parts = [whole[start:stop] for start, stop in pairwise(edges)]
    same(typed_in(parts, kind), typed_in([whole], kind))
    coded = [part.dictionary_encode() for part in parts]
    same(typed_in(coded, kind), typed_in([whole], kind))


def test_whole_numbers_as_keys_are_written_without_a_point_unless_one_of_any_part_has_one() -> None:
    parts = [pa.array([1.0, 2.0]), pa.array([3.0, None])]
    assert typed_in(parts, "key").values.tolist()[:3] == ["1", "2", "3"]
    assert "3.5" in typed_in([*parts, pa.array([3.5])], "key").values.tolist()


def test_a_covariate_is_a_number_or_says_whether_it_holds_as_text_or_as_parquet_writes_it() -> None:
    told = typed_in([pa.array(["True", "FALSE", " yes", "n", "2.5", None, "BOGO"])], "covariate")
    np.testing.assert_array_equal(told.values, [1.0, 0.0, 1.0, 0.0, 2.5, np.nan, np.nan])
    assert told.unreadable.tolist() == [6]
    assert typed_in([pa.array([True, False])], "covariate").values.tolist() == [1.0, 0.0]


def test_sales_are_never_read_from_a_word() -> None:
    assert typed_in([pa.array(["3", "true", "no"])], "number").unreadable.tolist() == [1, 2]


def test_dates_of_parquet_need_no_text() -> None:
    days = pd.date_range("2024-01-01", periods=5)
    utc = days.tz_localize("Europe/Berlin").tz_convert("UTC").tz_localize(None)
    for column in (
        pa.array(days.as_unit("ns")),
        pa.array(utc).cast(pa.timestamp("us", "Europe/Berlin")),
        pa.array(days.date),
    ):
        found = typed_in([column[:2], column[2:]], "date")
        assert found.values.tolist() == list(days)
        assert not len(found.unreadable)


def test_a_time_beyond_python_s_dates_is_a_value_like_any_other() -> None:
    far = pa.array([0, 9_000_000_000_000_000_000 // 1_000], pa.timestamp("ms"))
    assert typed_in([far], "date").values[0] == pd.Timestamp("1970-01-01")


@pytest.mark.parametrize("kind", list(WORDS))
def test_a_file_of_broken_lines_alone_has_columns_without_rows(kind: Kind) -> None:
    table = RawTable.read(Lines(3, 5, [1, 2, 3]), [("x", kind)], (), FORM)
    assert (table.n_rows, table.n_read, len(table.typed["x", kind].values)) == (0, 3, 0)


class Lines:
    """A file of one column, `rows` at a time, which may become shorter."""

    name = "lines"

    def __init__(self, n: int, rows: int, lost: Sequence[int] = ()) -> None:
        self.n, self.rows, self.lost = n, rows, lost

    def columns(self, columns: Sequence[str], optional: Sequence[str]) -> list[str]:
        return [*columns, *optional]

    def batches(
        self, columns: Sequence[str], malformed: Callable[[Malformed], None]
    ) -> Iterator[pa.RecordBatch]:
        good = [str(row) for row in range(1, self.n + 1) if row not in self.lost]
        for row in self.lost:
            malformed(Malformed(row, "", 1, 2))
        for start in range(0, len(good), self.rows):
            yield pa.record_batch({columns[0]: good[start : start + self.rows]})


@given(n=st.integers(1, 40), rows=st.integers(1, 7), data=st.data())
def test_a_position_knows_its_row_and_its_cells(n: int, rows: int, data: st.DataObject) -> None:
    lost = sorted(data.draw(st.sets(st.integers(1, n), max_size=n)))
    table = RawTable.read(Lines(n, rows, lost), [("x", "number")], (), FORM)
    assert (table.n_rows, table.n_read) == (n - len(lost), n)
    asked = np.array(sorted(data.draw(st.sets(st.integers(0, max(table.n_rows - 1, 0))))), dtype=np.int64)
    asked = asked[asked < table.n_rows]
    told = [cells["x"] for cells in table.cells(asked).values()]
    assert told == [str(row) for row in table.rows(asked)]
    assert table.typed["x", "number"].values.to_numpy()[asked].tolist() == list(map(float, told))


def test_a_file_that_becomes_shorter_while_it_is_read_is_named() -> None:
    lines = Lines(20, 5)
    table = RawTable.read(lines, [("x", "number")], (), FORM)
    lines.n = 12
    with pytest.raises(DataError, match="has changed while it was read"):
        table.cells(np.array([3, 15]))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_wrong_cell_far_into_a_large_file_is_shown_as_it_stands_there(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storecast.ingest.parquet_file.BATCH_ROWS", 10_000)
    raw = Raw()
    train = pd.concat([raw.tables["train"]] * 600, ignore_index=True)  # some parts of either format
    train["sales"] = [f"{i}.25" for i in range(len(train))]
    train["store"] = train["store"] + [f"-{i // 120}" for i in range(len(train))]
    train.loc[len(train) - 2, "sales"] = "two dozen"
    raw.config["rules"] = {"max_quarantined_share": 0.1, "future_known": "zero"}
    raw.config["train"] = f"train.{ending}"
    raw.config["tables"], raw.config["holidays"] = [], None
    csv = train.to_csv(index=False).encode()
    made = {"csv": csv, "csv.gz": gzip.compress(csv), "parquet": train.to_parquet(index=False)}
    raw.files[f"train.{ending}"] = made[ending]
    result = raw.ingest(tmp_path)
    assert result.quarantine["row"].tolist() == [len(train) - 1]
    assert '"two dozen"' in result.quarantine["raw"][0]
    assert np.nansum(result.panel.y) == pytest.approx(
        sum(i + 0.25 for i in range(len(train)) if i != len(train) - 2)
    )


def test_more_combinations_of_keys_than_64_bits_can_number_are_told_apart() -> None:
    names = [f"k{i}" for i in range(9)]
    rows = pd.DataFrame(
        {name: [f"{name} {i % (255 - j)}" for i in range(600)] for j, name in enumerate(names)}
    )
    rows = rows.astype("category").assign(ds=pd.Timestamp("2024-01-01"))
    ids = ["/".join(each) for each in rows[names].itertuples(index=False)]
    keys = rows[names].astype(str).set_index(pd.Index(ids, name="unique_id")).sort_index()
    keys = keys[~keys.index.duplicated()]
    axes = Axes(np.array(keys.index, dtype=object), keys, pd.DatetimeIndex(["2024-01-01"]), 1)
    cells = axes.cells(rows, "/")
    assert [axes.ids[cell] for cell in cells] == ids


def test_a_source_reads_only_what_is_asked_for(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1], "b": ["x"], "c": [2.5]}).to_csv(tmp_path / "t.csv", index=False)
    (table,) = Source(str(tmp_path)).read(["t.csv"], [("a", "number"), ("d", "key")], ["d"])
    assert (table.names, list(table.typed)) == (("a",), [("a", "number")])


def test_a_price_is_carried_over_days_without_a_row_and_a_flag_is_not(tmp_path: Path) -> None:
    raw = Raw()
    for name in ("train", "test"):
        rows = np.arange(len(raw.tables[name]))
        raw.tables[name] = raw.tables[name].assign(
            price=np.where(rows % 8 < 4, "2.5", "3"), promo=np.where(rows % 8 < 4, "0", "1")
        )
    raw.config["known"] = {"promo": "promo", "price": "price"}
    raw.drop("train", 1, 5, 9 + 4, 9 + 8)  # of one series: the first two days, then the fourth and the fifth
    result = raw.ingest(tmp_path)
    panel = result.panel
    assert panel.y[0, :6].tolist()[3:5] == [0.0, 0.0]
    assert panel.known["price"][0, :6].tolist() == [2.5, 2.5, 2.5, 2.5, 2.5, 3.0]
    assert panel.known["promo"][0, :6].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert result.quality.added["carried_price"].count == 4


def long() -> Raw:
    """105 days."""
    raw = Raw()
    days = pd.date_range(end="2024-02-14", periods=75).strftime("%Y-%m-%d")
    earlier = [raw.tables["train"].head(4).assign(date=day) for day in days]
    raw.tables["train"] = pd.concat([*earlier, raw.tables["train"]], ignore_index=True)
    return raw


def ended(raw: Raw, last: int) -> None:
    """No rows of the first store's bread after a day."""
    rows = raw.tables["train"]
    gone = (rows["store"] == "1") & (rows["family"] == "BREAD") & (rows.index >= 4 * last)
    raw.tables["train"] = rows[~gone].reset_index(drop=True)


def test_a_series_without_rows_for_eight_weeks_sells_nothing_and_for_fewer_is_not_known(
    tmp_path: Path,
) -> None:
    raw = long()
    ended(raw, 50)
    late = raw.ingest(tmp_path / "late").panel
    assert np.isnan(late.history[0, 50:]).all()
    ended(raw, 49)
    result = raw.ingest(tmp_path / "ended")
    assert (result.panel.history[0, 49:] == 0).all()
    assert result.quality.added["ended"].count == 56
    raw.rules(gaps="missing")
    assert np.isnan(raw.ingest(tmp_path / "missing").panel.history[0, 49:]).all()


def test_where_rows_are_of_sales_only_dates_behind_the_last_one_are_without_a_sale(tmp_path: Path) -> None:
    raw = long()
    ended(raw, 100)
    raw.drop("train", *range(2, 400, 8))
    assert (raw.ingest(tmp_path / "sales").panel.history[0, 100:] == 0).all()
    for row in range(1, 20):
        raw.cell(row, "sales", "0")
    assert np.isnan(raw.ingest(tmp_path / "zeros too").panel.history[0, 100:]).all()
