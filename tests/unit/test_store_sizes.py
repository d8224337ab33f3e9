"""How much lies in a workspace, told by kind."""

import uuid
from pathlib import Path

import pytest

from storecast.errors import StoreError
from storecast.store import uri as uris
from storecast.store.sizes import Size, sizes

FILES = {
    "datasets/train/a/model.bin": 700,
    "datasets/train/b/part/model.bin": 300,
    "datasets/ingest/c/y.parquet": 50,
    "releases/shop/r/forecasts.parquet": 2000,
    "mlflow.db": 9,
}


@pytest.mark.parametrize("kind", ["disk", "object store"])
def test_each_stage_each_folder_and_what_lies_beside_them_is_a_kind(kind: str, tmp_path: Path) -> None:
    root = str(tmp_path) if kind == "disk" else f"memory://{uuid.uuid4().hex}/home"
    for name, size in FILES.items():
        uris.write_text(uris.join(root, name), "x" * size)
    assert list(sizes(root).items()) == [
        ("releases", Size(1, 2000)),
        ("datasets/train", Size(2, 1000)),
        ("datasets/ingest", Size(1, 50)),
        ("mlflow.db", Size(1, 9)),
    ]


def test_where_nothing_is_yet_there_is_no_kind_and_no_error(tmp_path: Path) -> None:
    assert sizes(str(tmp_path / "nowhere")) == {}
    with pytest.raises(StoreError):
        sizes("nosuch://bucket/prefix")
