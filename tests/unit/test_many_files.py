"""A table in several files that a pattern stands for: one table, with an account for each file."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import N_TRAIN, TODAY, Raw

from components.ingest import raw_hashes
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.errors import DataError
from storecast.ingest import about_rows, ingest
from storecast.ingest.arrived import raw_tables, table_of
from storecast.ingest.ledger import Arrival
from storecast.partition.files import CONFIG, cut
from storecast.partition.groups import Grouping, count_keys


def in_files(raw: Raw, *cuts: int, pattern: str = "train_*.csv", table: str = "train") -> Raw:
    """The same rows in several files, cut before these rows."""
    frame = raw.tables.pop(table)
    bounds = [0, *cuts, len(frame)]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds), 1):
        raw.tables[pattern.removesuffix(".csv").replace("*", str(number))] = frame[start:stop]
    raw.config[table if table == "train" else "future"] = pattern
    return raw


@given(cuts=st.lists(st.integers(1, N_TRAIN - 1), min_size=1, max_size=4, unique=True).map(sorted))
@settings(max_examples=15, deadline=None)
def test_however_rows_are_split_over_files_the_panel_is_that_of_one_file(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = Raw().ingest(tmp_path_factory.mktemp("one"))
    parts = in_files(Raw(), *cuts).ingest(tmp_path_factory.mktemp("many"))
    assert (parts.folder / "panel.parquet").read_bytes() == (whole.folder / "panel.parquet").read_bytes()
    files = [file for file in parts.quality.files if file.role == "train"]
    assert [file.file for file in files] == [f"train_{n}.csv" for n in range(1, len(cuts) + 2)]
    assert sum(file.rows_read for file in files) == N_TRAIN


def test_a_wrong_row_is_told_with_its_file_and_its_row_there(tmp_path: Path) -> None:
    raw = Raw()
    raw.rules(max_quarantined_share=0.05)
    raw.cell(70, "sales", "many")
    found = in_files(raw, 50).ingest(tmp_path).quarantine
    assert found[["file", "row"]].to_numpy().tolist() == [["train_2.csv", 20]]


def test_rows_of_one_key_in_two_files_follow_the_rule_for_duplicates(tmp_path: Path) -> None:
    raw = Raw()
    raw.rules(conflicting_duplicates="sum")
    first = raw.tables["train"].iloc[0]
    more = pd.DataFrame([{**first, "sales": "100"}])
    raw.tables["train"] = pd.concat([raw.tables["train"], more], ignore_index=True)
    panel = in_files(raw, 50).ingest(tmp_path).panel
    row = panel.ids.tolist().index(f"{first['store']}|{first['family']}")
    assert panel.y[row, 0] == float(first["sales"]) + 100


@pytest.mark.parametrize("cuts", [(), (N_TRAIN + 1,)])
def test_where_the_last_row_stands_a_value_that_was_corrected_back_stands(
    cuts: tuple[int, ...], tmp_path: Path
) -> None:
    raw = Raw()
    raw.rules(conflicting_duplicates="last", max_quarantined_share=0.1)
    first = raw.tables["train"]["sales"][0]
    raw.repeat(1, sales="99")
    raw.repeat(1, sales=first)
    result = (in_files(raw, *cuts) if cuts else raw).ingest(tmp_path)
    assert result.panel.y[result.panel.ids.tolist().index("1|BREAD"), 0] == float(first)
    files = [file for file in result.quality.files if file.role == "train"]
    assert sum(sum(change.count for change in file.merged.values()) for file in files) == 2
    assert all(file.adds_up for file in files)


def test_where_sales_are_summed_a_plan_that_was_corrected_back_stands(tmp_path: Path) -> None:
    raw = Raw()
    raw.rules(conflicting_duplicates="sum")
    first = raw.tables["test"]["promo"][0]
    raw.repeat(1, "test", promo="99")
    raw.repeat(1, "test", promo=first)
    panel = raw.ingest(tmp_path).panel
    assert panel.known["promo"][panel.ids.tolist().index("1|BREAD"), panel.n_history] == float(first)


def test_what_arrives_stands_for_the_rows_of_all_files(tmp_path: Path) -> None:
    raw = in_files(Raw(), 50)
    source = raw.write(tmp_path / "raw")
    late = raw.tables["train_1"].iloc[:1].assign(sales="1000")
    late.to_csv(tmp_path / "late.csv", index=False)
    config = DatasetConfig.model_validate(raw.config)
    arrival = Arrival(
        "0" * 64, "late.csv", config.train[0], str(tmp_path / "late.csv"), "2024-05-01T00:00:00Z"
    )
    (tmp_path / "panel").mkdir()
    result = ingest(config, source, tmp_path / "panel", today=TODAY, arrivals=[arrival])
    assert (result.panel.y == 1000).sum() == 1
    assert result.quality.rows_superseded == 1


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("sales_2024.csv", "sales_*.csv"),
        ("sales_2024-05.parquet", "sales_*.csv"),
        ("plan-2024.csv", "plan.csv"),
        ("planning.csv", "sales_*.csv"),
    ],
)
def test_a_file_that_arrives_belongs_to_the_pattern_that_it_fits(name: str, table: str) -> None:
    config = {**Raw().config, "train": "sales_*.csv", "future": "plan.csv"}
    assert table_of(DatasetConfig.model_validate(config), name) == table


def test_one_more_file_is_another_input_and_is_counted(tmp_path: Path) -> None:
    raw = in_files(Raw(), 50)
    source, config = str(raw.write(tmp_path)), DatasetConfig.model_validate(raw.config)
    rows, hashes = about_rows(config, source), raw_hashes(config, source)
    (tmp_path / "train_3.csv").write_bytes((tmp_path / "train_2.csv").read_bytes())
    assert rows == N_TRAIN
    assert about_rows(config, source) == N_TRAIN + N_TRAIN - 50
    assert set(raw_hashes(config, source)) - set(hashes) == {"train_3.csv"}


def test_files_in_folders_are_found_too(tmp_path: Path) -> None:
    raw = Raw()
    frame = raw.tables.pop("train")
    raw.config["train"] = "year=*/part-?.csv"
    for number, part in enumerate((frame[:40], frame[40:])):
        (tmp_path / "raw" / f"year={number}").mkdir(parents=True)
        part.to_csv(tmp_path / "raw" / f"year={number}" / "part-0.csv", index=False)
    assert raw.ingest(tmp_path).quality.rows_read > N_TRAIN


def test_a_pattern_that_fits_nothing_says_what_is_there(tmp_path: Path) -> None:
    raw = Raw()
    raw.config["train"] = "sales_*.csv"
    with pytest.raises(DataError, match="the file is missing") as refused:
        raw.ingest(tmp_path)
    assert "sales_*.csv" in str(refused.value)
    assert "train.csv" in str(refused.value)


def test_a_file_without_a_column_is_named(tmp_path: Path) -> None:
    raw = in_files(Raw(), 50)
    raw.tables["train_2"] = raw.tables["train_2"].drop(columns="sales")
    with pytest.raises(DataError, match="'sales' is missing") as refused:
        raw.ingest(tmp_path)
    assert refused.value.where == "train_2.csv, header"


def test_a_panel_of_many_files_is_cut_into_partitions(tmp_path: Path) -> None:
    whole = Raw().ingest(tmp_path / "whole").panel
    raw = in_files(in_files(Raw(), 50, 90), 5, pattern="test_*.csv", table="test")
    config, source = DatasetConfig.model_validate(raw.config), str(raw.write(tmp_path / "raw"))
    grouping = Grouping.of(config, source, "store")
    groups = grouping.groups(count_keys(config, source))
    assert sum(group.rows for group in groups.values()) == N_TRAIN
    (tmp_path / "cut").mkdir()
    cut(config, source, grouping, groups, {"1": 1, "2": 2}, tmp_path / "cut")
    for folder in (tmp_path / "cut").iterdir():
        own = load_dataset_config(folder / CONFIG)
        assert [files[0] for files in raw_tables(own).values()][:2] == ["train.parquet", "test.parquet"]
        (folder / "panel").mkdir()
        panel = ingest(own, str(folder), folder / "panel", today=TODAY).panel
        rows = pd.Index(whole.ids).get_indexer(pd.Index(panel.ids))
        np.testing.assert_array_equal(panel.y, whole.y[rows])


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"promo": "much"}, "another kind of values than in another file"),
        ({"promo": None}, "the files of one table have different columns"),
    ],
)
def test_files_that_do_not_go_together_are_not_cut_into_partitions(
    later: dict[str, str | None], reason: str, tmp_path: Path
) -> None:
    raw = Raw()
    frame = raw.tables.pop("test").astype({"promo": int})
    raw.config["future"] = "test_*.parquet"
    config, source = DatasetConfig.model_validate(raw.config), raw.write(tmp_path / "raw")
    frame.to_parquet(source / "test_1.parquet")
    frame.assign(**later).dropna(axis="columns").to_parquet(source / "test_2.parquet")
    grouping = Grouping.of(config, str(source), "store")
    groups = grouping.groups(count_keys(config, str(source)))
    (tmp_path / "cut").mkdir()
    with pytest.raises(DataError, match=reason) as refused:
        cut(config, str(source), grouping, groups, {"1": 1, "2": 2}, tmp_path / "cut")
    assert "test_2.parquet" in str(refused.value)
