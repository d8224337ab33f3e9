"""POST /v1/actuals: rows of raw files, put into the drop folder, from which the next ingest takes them."""

from __future__ import annotations

import asyncio
import hashlib
import re

import orjson

from serving import answers, asking
from serving.answers import Answer
from serving.problems import invalid, store_failed
from storecast.errors import StorecastError
from storecast.settings import Settings
from storecast.store import uri as uris

TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
MOST_ROWS = 100_000


async def keep(settings: Settings, dataset: str, body: bytes) -> Answer:
    """Keep rows for the next ingest, which checks them; the same rows again are the same file.

    Args:
        settings: where the drop folder is.
        dataset: name of the data set.
        body: JSON {"rows": [{column: value, ...}, ...], "table": "train.csv"}; rows have the columns of that
            raw table, without `table` those of sales.

    Raises:
        Problem: the body is of another form, or the folder cannot be written.
    """
    content = asking.json_object(body, ("rows", "table"), ("rows",))
    rows = asking.items(content["rows"], "body.rows", MOST_ROWS)
    wrong = next((i for i, row in enumerate(rows) if not _is_row(row)), None)
    if wrong is not None:
        raise invalid(
            f"body.rows[{wrong}]", "an object of texts and numbers, with the columns of the raw file"
        )
    table = content.get("table", "sales")
    if not isinstance(table, str) or not TABLE.fullmatch(table):
        raise invalid("body.table", "the name of a raw file, such as train.csv")
    text = orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)
    name = f"{table.split('.', 1)[0]}-{hashlib.sha256(text).hexdigest()[:16]}.json"
    try:
        await asyncio.to_thread(uris.write_text, uris.join(settings.inbox(dataset), name), text.decode())
    except (StorecastError, OSError) as error:
        raise store_failed(error, "inbox/") from error
    return answers.json({"file": name, "rows": len(rows)}, status=202)


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and bool(row) and all(isinstance(value, VALUES) for value in row.values())


VALUES = (str, int, float, bool, type(None))
