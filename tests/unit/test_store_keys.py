"""Parquet files in a store: encrypted by the keys of the settings, plain without, named by their content."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_files import Raw

from storecast import features
from storecast.actuals import Actuals
from storecast.dataset_config import DatasetConfig
from storecast.errors import ConfigError, StoreError
from storecast.ingest.parse import Kind
from storecast.ingest.source import Source
from storecast.settings import explain_settings, load_settings
from storecast.store import keyring, parquet
from storecast.store.archive import Archive
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import Release, ReleaseStore
from storecast.store.retention import RetentionPolicy, Rule, plan
from storecast.synthetic import make_panel

FRAME = pd.DataFrame({"unique_id": ["1 GROCERY", "1 BREAD"], "yhat": [1.5, 2.5]})


def line(key_id: str) -> str:
    return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}"


class KeyFile:
    """The file of the keys that the settings name, and the settings' way to it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.patch = path, monkeypatch
        self.old, self.new = line("old"), line("new")

    def holds(self, *lines: str) -> None:
        self.path.write_text("\n".join(["# keys of the store", "", *lines, ""]))
        self.patch.setenv("STORECAST_STORE_KEY_FILE", str(self.path))
        load_settings()

    def is_not_named(self) -> None:
        self.patch.delenv("STORECAST_STORE_KEY_FILE", raising=False)
        load_settings()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyFile]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STORECAST_STORE_KEY_FILE", raising=False)
    yield KeyFile(tmp_path / "keys.txt", monkeypatch)
    keyring.use(None)


def written(path: Path) -> bytes:
    parquet.write_frame(FRAME, path)
    return path.read_bytes()


def test_without_keys_a_file_is_what_pandas_and_arrow_write(keys: KeyFile, tmp_path: Path) -> None:
    keys.is_not_named()
    FRAME.to_parquet(tmp_path / "pandas.parquet", index=False)
    assert written(tmp_path / "ours.parquet") == (tmp_path / "pandas.parquet").read_bytes()
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    pq.write_table(table, tmp_path / "arrow.parquet", compression="zstd")
    parquet.write_table(table, tmp_path / "ours.parquet")
    assert (tmp_path / "ours.parquet").read_bytes() == (tmp_path / "arrow.parquet").read_bytes()


def test_with_keys_a_file_shows_neither_values_nor_columns_and_reads_as_it_was(
    keys: KeyFile, tmp_path: Path
) -> None:
    keys.holds(keys.new)
    content = written(tmp_path / "a.parquet")
    assert (content[:4], content[-4:]) == (b"PARE", b"PARE")
    assert not any(word in content for word in (b"GROCERY", b"BREAD", b"unique_id", b"yhat"))
    pd.testing.assert_frame_equal(parquet.read_frame(tmp_path / "a.parquet"), FRAME)
    assert parquet.read_table(tmp_path / "a.parquet", ["yhat"]).column_names == ["yhat"]
    assert written(tmp_path / "b.parquet") != content, "the same key and nonces twice would be a leak"


@pytest.mark.parametrize("encrypted", [False, True])
def test_of_a_frame_the_wanted_rows_alone_are_read_and_texts_as_numbers(
    keys: KeyFile, tmp_path: Path, encrypted: bool
) -> None:
    if encrypted:
        keys.holds(keys.new)
    else:
        keys.is_not_named()
    written(tmp_path / "a.parquet")
    wanted = parquet.read_frame(tmp_path / "a.parquet", where={"unique_id": ["1 BREAD"]})
    pd.testing.assert_frame_equal(wanted, FRAME[1:].reset_index(drop=True))
    short = parquet.read_frame(tmp_path / "a.parquet", categories=["unique_id"])
    assert isinstance(short["unique_id"].dtype, pd.CategoricalDtype)
    pd.testing.assert_frame_equal(short.astype({"unique_id": FRAME["unique_id"].dtype}), FRAME)


def test_the_newest_key_encrypts_and_those_below_it_open_what_they_encrypted(
    keys: KeyFile, tmp_path: Path
) -> None:
    keys.holds(keys.old)
    assert b'"masterKeyID":"old"' in written(tmp_path / "a.parquet")
    keys.holds(keys.new, keys.old)
    assert b'"masterKeyID":"new"' in written(tmp_path / "b.parquet")
    for name in ("a", "b"):
        assert len(parquet.read_frame(tmp_path / f"{name}.parquet")) == 2


def test_a_key_that_is_added_to_the_file_holds_at_once(keys: KeyFile, tmp_path: Path) -> None:
    keys.holds(keys.old)
    written(tmp_path / "a.parquet")
    keys.path.write_text(f"{keys.new}\n{keys.old}\n")
    assert b'"masterKeyID":"new"' in written(tmp_path / "a.parquet")


def test_threads_read_and_write_side_by_side_while_a_key_is_added(keys: KeyFile, tmp_path: Path) -> None:
    keys.holds(keys.old)

    def there_and_back(number: int) -> float:
        path = tmp_path / f"{number}.parquet"
        parquet.write_frame(FRAME.assign(yhat=float(number)), path)
        if number == 20:
            keys.path.with_suffix(".part").write_text(f"{keys.new}\n{keys.old}\n")
            keys.path.with_suffix(".part").replace(keys.path)
        return float(parquet.read_frame(path)["yhat"].mean())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(there_and_back, range(60))) == list(range(60))
    assert b'"masterKeyID":"new"' in written(tmp_path / "after.parquet")


def test_plain_files_are_read_beside_encrypted_ones(keys: KeyFile, tmp_path: Path) -> None:
    keys.is_not_named()
    written(tmp_path / "plain.parquet")
    keys.holds(keys.new)
    pd.testing.assert_frame_equal(parquet.read_frame(tmp_path / "plain.parquet"), FRAME)


def test_a_missing_key_a_lost_one_and_another_of_its_name_are_told_apart(
    keys: KeyFile, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    keys.holds(keys.old)
    written(path)
    keys.is_not_named()
    with pytest.raises(StoreError, match=r"a\.parquet: is encrypted, and no key(.|\n)*STORE_KEY_FILE"):
        parquet.read_frame(path)
    keys.holds(keys.new)
    with pytest.raises(StoreError, match=r"by key old, which is not given(.|\n)*keys\.txt(.|\n)*back, below"):
        parquet.open_file(path)
    keys.holds(line("old"))
    with pytest.raises(StoreError, match="another key than the one that is given as old"):
        parquet.read_table(path)


def test_a_file_that_was_tampered_with_is_not_read(keys: KeyFile, tmp_path: Path) -> None:
    keys.holds(keys.new)
    content = bytearray(written(tmp_path / "a.parquet"))
    content[60] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(OSError, match="ecrypt"):
        parquet.read_frame(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "there is no key in it"),
        ("new:c2hvcnQ=", r"keys\.txt, line 1: not a key of the store"),
        ("# a\nnew = " + "A" * 43 + "=", "line 2: not a key"),
        (f"new:{'A' * 43}=\nnew:{'B' * 43}=", "line 2: a second key of the id new"),
        ("schlüssel", "other characters than ASCII"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused_without_showing_its_lines(
    keys: KeyFile, text: str, complaint: str
) -> None:
    keys.path.write_text(text)
    keys.patch.setenv("STORECAST_STORE_KEY_FILE", str(keys.path))
    with pytest.raises(ConfigError, match=complaint) as error:
        load_settings()
    assert not any(part in str(error.value) for part in ("c2hvcnQ", "AAAA", "BBBB"))


def test_a_key_file_that_is_not_there_says_how_to_make_one(keys: KeyFile) -> None:
    keys.patch.setenv("STORECAST_STORE_KEY_FILE", str(keys.path))
    with pytest.raises(ConfigError, match=r"/keys\.txt: (.|\n)*No such file(.|\n)*urandom"):
        load_settings()


def test_the_settings_tell_what_the_keys_do_and_never_show_them(keys: KeyFile) -> None:
    keys.holds(keys.new, keys.old)
    told = {name: value for name, value, _ in explain_settings()}["store_key_file"]
    assert told.endswith("keys.txt (key new encrypts; keys new, old open, and plain files are read, too)")
    shown = [told, repr(keyring.in_force()), repr(load_settings())]
    secrets = [text.partition(":")[2] for text in (keys.new, keys.old)]
    assert not any(secret in text for secret in secrets for text in shown)


def _panel(folder: Path, work: Path) -> Mapping[str, Any]:
    del work
    panel = make_panel(n_stores=2, n_families=2, n_days=120)
    features.write(folder, panel, [panel.dates[80], panel.dates[100]])
    parquet.write_frame(FRAME, folder / "forecasts.parquet", "zstd")
    return {}


def _made(root: Path) -> Dataset:
    return DatasetStore(str(root)).materialise("stage", inputs={}, config={}, code="c", build=_panel)


def _released(root: Path) -> Release:
    store = DatasetStore(str(root))
    with store.building("release") as folder:
        parquet.write_frame(FRAME, folder / "forecasts.parquet")
        return ReleaseStore(store, "shop").publish(folder, {"cutoff": "2023-07-31"})


def test_an_encrypted_data_set_or_release_has_the_hash_and_the_name_of_the_plain_one(
    keys: KeyFile, tmp_path: Path
) -> None:
    keys.is_not_named()
    plain, released = _made(tmp_path / "plain"), _released(tmp_path / "plain")
    keys.holds(keys.new)
    locked = _made(tmp_path / "locked")
    assert (locked.key, locked.hash) == (plain.key, plain.hash)
    for name, entry in locked.manifest["files"].items():
        file = Path(locked.uri) / name
        assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert entry["content"] == plain.manifest["files"][name]["sha256"]
        assert (entry["rows"], entry["schema"]) == tuple(
            plain.manifest["files"][name][what] for what in ("rows", "schema")
        )
    assert _released(tmp_path / "locked").id == released.id
    assert _released(tmp_path / "locked").id == released.id, "made again, it is the release that is there"
    again = _made(tmp_path / "again")
    assert again.hash == locked.hash
    assert again.manifest["files"] != locked.manifest["files"], "though its bytes are others"


def test_a_release_is_verified_without_its_key(keys: KeyFile, tmp_path: Path) -> None:
    keys.holds(keys.new)
    releases, made = ReleaseStore(DatasetStore(str(tmp_path)), "shop"), _released(tmp_path)
    keys.is_not_named()
    assert releases.verify(made.id) == []
    with (releases.path(made) / "forecasts.parquet").open("ab") as file:
        file.write(b"x")
    assert releases.verify(made.id) == ["forecasts.parquet was changed"]


def test_the_archive_holds_what_was_encrypted_encrypted_and_gives_it_back(
    keys: KeyFile, tmp_path: Path
) -> None:
    keys.holds(keys.new)
    root = tmp_path / "workspace"
    folder = Path(_made(root).uri)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rule = Rule(paths=("datasets/*/*",), days=1, then="archive")
    [step] = plan(DatasetStore(str(root)), RetentionPolicy(kinds={"data": rule}), [])
    Archive(str(root)).put(step.item)
    tar = next((root / "archive").rglob("*.zst"))
    with pa.CompressedInputStream(str(tar), "zstd") as unzipped:
        packed = unzipped.read()
    assert b"PARE" in packed
    assert b"PAR1" not in packed
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    Archive(str(root)).restore(step.item.name)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_parquet_file_that_arrives_is_kept_encrypted_and_reads_as_it_came(
    keys: KeyFile, tmp_path: Path
) -> None:
    keys.holds(keys.new)
    raw = Raw()
    future = raw.tables["test"]
    came = tmp_path / "day.parquet"
    future[future["date"] == future["date"].min()].assign(sales="5").to_parquet(came)
    config = DatasetConfig.model_validate(raw.config)
    actuals = Actuals(str(tmp_path / "workspace"), config)
    receipt = actuals.add(str(came))
    assert (receipt.status, receipt.rows) == ("taken", 4)
    kept = Path(receipt.arrival.uri)
    assert kept.read_bytes()[:4] == b"PARE"
    columns: list[tuple[str, Kind]] = [(name, "key") for name in pq.read_schema(came).names]
    wanted = Source(str(tmp_path)).read(["day.parquet"], columns)[0].cells(np.arange(4))
    assert Source(str(kept.parent)).read([kept.name], columns)[0].cells(np.arange(4)) == wanted
    assert actuals.add(str(came)).status == "known"


def test_a_damaged_parquet_file_that_arrives_is_refused_and_kept_as_it_came(
    keys: KeyFile, tmp_path: Path
) -> None:
    keys.holds(keys.new)
    (tmp_path / "day.parquet").write_bytes(b"PAR1 torn PAR1")
    actuals = Actuals(str(tmp_path / "workspace"), DatasetConfig.model_validate(Raw().config))
    receipt = actuals.add(str(tmp_path / "day.parquet"))
    assert receipt.status == "refused"
    assert Path(receipt.arrival.uri).read_bytes() == b"PAR1 torn PAR1"


def test_what_is_exported_is_plain(keys: KeyFile, tmp_path: Path) -> None:
    keys.holds(keys.new)
    parquet.export_frame(FRAME, tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), FRAME)
