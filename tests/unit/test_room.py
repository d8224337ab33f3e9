"""A panel too large for the machine is told of before its run begins."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipelines import partitioned_cli, room
from storecast.dataset_config import load_dataset_config
from storecast.ingest import about_rows
from storecast.synthetic import write_raw

ROOT = Path(__file__).parents[2]
SYNTHETIC = load_dataset_config(ROOT / "configs" / "datasets" / "synthetic.yaml")


@pytest.mark.parametrize("name", ["train.csv", "train.csv.gz", "train.parquet"])
def test_how_many_rows_a_large_file_has_is_told_from_little_of_it(tmp_path: Path, name: str) -> None:
    rows = 150_000
    frame = pd.DataFrame({"date": "2024-02-15", "store_nbr": range(rows), "sales": 1.5})
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_csv(tmp_path / name)

    found = about_rows(SYNTHETIC.model_copy(update={"train": [name]}), str(tmp_path))

    assert found == pytest.approx(rows, rel=0.1)


def test_of_a_small_file_every_row_is_counted(tmp_path: Path) -> None:
    write_raw(tmp_path, n_stores=2, n_families=2, n_days=100)
    assert about_rows(SYNTHETIC, str(tmp_path)) == len(pd.read_csv(tmp_path / "train.csv"))


def test_only_a_panel_that_takes_more_than_is_free_is_told_of() -> None:
    assert room.shortage(3_000_000, free=room.GIB) == ""
    told = room.shortage(300_000_000, free=12 * room.GIB)
    assert told.startswith(
        "Some 300 million rows: stages of this run may take 14 GiB of memory, and 12.0 GiB"
    )
    assert "--partition" in told


@pytest.mark.parametrize("version", [0, 1])
def test_a_containers_limit_counts_and_files_that_are_only_cached_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    _, limit, taken = room.CGROUPS[version]
    monkeypatch.setattr(room, "CGROUPS", ((str(tmp_path), limit, taken),))
    (tmp_path / taken).write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 300000\n")

    (tmp_path / limit).write_text("1000000\n")
    assert room.free_bytes() == 400_000
    (tmp_path / limit).write_text("max\n")
    assert room.free_bytes() > room.GIB // 4


def test_a_run_of_the_whole_panel_tells_it_and_one_in_partitions_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raw(tmp_path, n_stores=2, n_families=2, n_days=100)
    monkeypatch.setattr(room, "free_bytes", lambda: 0)

    partitioned_cli.look("synthetic", str(tmp_path), "quick", whole=True)
    assert "are free. With --partition" in capsys.readouterr().out
    partitioned_cli.look("synthetic", str(tmp_path), "quick", whole=False)
    assert "--partition" not in capsys.readouterr().out
