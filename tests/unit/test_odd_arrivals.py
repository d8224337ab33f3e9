"""Files that arrive and are odd: what cannot be read, what was refused before, what is replaced meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from raw_files import HORIZON, TODAY, Raw

import storecast.actuals
from storecast.actuals import Actuals
from storecast.dataset_config import DatasetConfig
from storecast.ingest import ingest
from storecast.ingest.context import Context
from storecast.panel import Panel
from storecast.store import uri as uris


@pytest.fixture
def raw() -> Raw:
    return Raw()


def _actuals(raw: Raw, folder: Path) -> Actuals:
    return Actuals(str(folder / "workspace"), DatasetConfig.model_validate(raw.config))


def _sales(raw: Raw, sales: str = "50") -> pd.DataFrame:
    """Sales of the first day of the future file."""
    future = raw.tables["test"]
    return future[future["date"] == future["date"].min()].assign(sales=sales)


def _write(frame: pd.DataFrame, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return str(path)


def _panel(raw: Raw, folder: Path, actuals: Actuals) -> Panel:
    raw.rules(future_known="zero")
    out = folder / "panel"
    out.mkdir()
    config = DatasetConfig.model_validate(raw.config)
    return ingest(config, raw.write(folder / "raw"), out, today=TODAY, arrivals=actuals.arrivals()).panel


def test_a_value_that_only_later_json_rows_have_is_kept(raw: Raw, tmp_path: Path) -> None:
    actuals = _actuals(raw, tmp_path)
    rows = raw.tables["test"].assign(promo=7).to_dict("records")
    del rows[0]["promo"]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    assert actuals.add(str(tmp_path / "test.json")).rows == len(rows)
    promotions = _panel(raw, tmp_path, actuals).known["promo"][:, -HORIZON:]
    assert sorted(promotions.ravel().tolist()) == [0.0] + [7.0] * (len(rows) - 1)


def _row(**other: object) -> dict[str, object]:
    return {"date": "2024-03-16", "store": "1", "family": "MILK", "sales": 5} | other


ODD_FILES = {
    "huge.json": json.dumps([_row(store=2**63), _row()]),
    "list.json": json.dumps([_row(store=["1"])]),
    "object.json": json.dumps([_row(date={"day": 1})]),
    "deep.json": "[" * 200_000,
    "long-header.csv": "a" * 200_000 + "\n1\n",
}


@pytest.mark.parametrize("name", [*ODD_FILES, "list.parquet", "bytes.parquet"])
def test_whatever_a_file_holds_it_is_refused_and_the_files_behind_it_are_taken(
    name: str, raw: Raw, tmp_path: Path
) -> None:
    actuals, inbox = _actuals(raw, tmp_path), tmp_path / "inbox"
    _write(_sales(raw), inbox / "z.csv")
    if name in ODD_FILES:
        (inbox / name).write_text(ODD_FILES[name])
    else:
        stores = {"list.parquet": ["1"], "bytes.parquet": b"\xff\xfe"}[name]
        _sales(raw).assign(store=lambda rows: [stores] * len(rows)).to_parquet(inbox / name)
    first, second = actuals.take(str(inbox))
    assert (first.status, second.status) == ("refused", "taken")
    assert first.reason
    assert list(inbox.iterdir()) == []


def test_what_was_refused_is_taken_once_the_yaml_is_as_the_error_says(raw: Raw, tmp_path: Path) -> None:
    path = _write(_sales(raw, sales="1,5"), tmp_path / "day.csv")
    refused = _actuals(raw, tmp_path).add(path)
    assert refused.status == "refused"
    assert "decimal: ','" in refused.reason
    assert _actuals(raw, tmp_path).add(path) == refused, "nothing has changed"
    raw.config["csv"] = {"decimal": ","}
    actuals = _actuals(raw, tmp_path)
    assert actuals.add(path).status == "taken"
    assert actuals.add(path).status == "known"
    assert uris.children(uris.join(actuals.uri, "refused")) == []


def test_a_file_that_replaces_another_while_that_is_read_stays_for_the_next_pass(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actuals, inbox = _actuals(raw, tmp_path), tmp_path / "inbox"
    _write(_sales(raw), inbox / "sales.csv")
    check = storecast.actuals.check_arrival

    def meanwhile(*given: Any) -> Context:
        Path(_write(_sales(raw, sales="70"), tmp_path / "sales.part")).replace(inbox / "sales.csv")
        return check(*given)

    monkeypatch.setattr(storecast.actuals, "check_arrival", meanwhile)
    [first] = actuals.take(str(inbox))
    assert (first.status, first.left) == ("taken", storecast.actuals.REPLACED)
    monkeypatch.undo()
    [second] = actuals.take(str(inbox))
    assert (second.status, second.left) == ("taken", "")
    assert _panel(raw, tmp_path, actuals).history[:, -1].tolist() == [70.0] * 4
    assert list(inbox.iterdir()) == []
