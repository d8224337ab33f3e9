"""Answers: bytes, headers, compression, and whether the asker has them already."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from serving.table import ReleaseTable

JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"
PROBLEM = b"application/problem+json"
WORTH_COMPRESSING = 1_000
LEVEL = 1
Header = tuple[bytes, bytes]
Messages = tuple[dict[str, Any], dict[str, Any]]
"""The two ASGI messages of an answer."""

SECURITY: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""Headers of every answer; where TLS ends in this process, `only_over_tls` adds one."""
NO_STORE: Header = (b"cache-control", b"no-store")
REVALIDATE: Header = (b"cache-control", b"private, no-cache")
"""Keep it, but ask whether it still holds: a release may be current no longer in the next second."""


@dataclass
class Answer:
    """What goes back: ready to send."""

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: list[Header] = field(default_factory=list)

    def compressed(self) -> Answer:
        """The same in gzip, where that is worth it."""
        if len(self.body) < WORTH_COMPRESSING:
            return self
        packed = gzip.compress(self.body, LEVEL, mtime=0)
        return Answer(self.status, packed, self.media_type, [*self.headers, (b"content-encoding", b"gzip")])

    def messages(self) -> Messages:
        """The two ASGI messages that send it."""
        length = (b"content-length", str(len(self.body)).encode())
        headers = [(b"content-type", self.media_type), length, *self.headers, *SECURITY]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        return start, {"type": "http.response.body", "body": self.body}


def only_over_tls() -> None:
    """From now on tell browsers to come by HTTPS only."""
    SECURITY.append((b"strict-transport-security", b"max-age=31536000"))


def of_release(table: ReleaseTable) -> list[Header]:
    """Headers by which caches tell one release's answers from another's."""
    release = table.id.encode()
    return [
        (b"etag", b'W/"' + release + b'"'),
        (b"storecast-release", release),
        REVALIDATE,
        (b"vary", b"accept, accept-encoding, authorization"),
    ]


def json(content: Any, headers: Sequence[Header] = (NO_STORE,), status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, orjson.dumps(content), headers=list(headers))


def envelope(table: ReleaseTable) -> bytes:
    """How every answer with forecasts begins: the release and what its columns are."""
    said = {
        "release": table.id,
        "dataset": table.about["dataset"],
        "keys": table.keys,
        "horizon": {"from": table.dates[0], "to": table.dates[-1]},
    }
    return orjson.dumps(said)[:-1]


def forecasts(table: ReleaseTable, texts: Sequence[bytes], unknown: Sequence[tuple[str, ...]]) -> bytes:
    """The JSON of some series, and the keys that the release does not have."""
    names = orjson.dumps([dict(zip(table.keys, key, strict=True)) for key in unknown])
    return b"".join((envelope(table), b',"series":[', b",".join(texts), b'],"unknown":', names, b"}"))


def arrow(
    table: ReleaseTable,
    rows: Sequence[int],
    days: slice,
    columns: Sequence[int],
    unknown: Sequence[tuple[str, ...]],
) -> bytes:
    """The same as an Arrow stream: unique_id, the keys, ds and the columns; the rest in its metadata."""
    dates = pa.array(np.array(table.dates[days], dtype="datetime64[D]"))
    width = len(dates)
    at = pa.array(np.repeat(np.arange(len(rows), dtype=np.int32), width))
    names = [table.names[row] for row in rows]
    made: dict[str, Any] = {
        title: pa.DictionaryArray.from_arrays(at, pa.array([name[i] for name in names], pa.string()))
        for i, title in enumerate(("unique_id", *table.keys))
    }
    made["ds"] = dates.take(pa.array(np.tile(np.arange(width, dtype=np.int32), len(rows))))
    picked = table.values[np.asarray(rows, dtype=np.int64), days]
    for i in columns:
        made[table.columns[i]] = pa.array(picked[:, :, i].ravel())
    missing = orjson.dumps([dict(zip(table.keys, key, strict=True)) for key in unknown])
    result = pa.table(made).replace_schema_metadata({"release": table.id, "unknown": missing})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, result.schema) as writer:
        writer.write_table(result)
    return bytes(sink.getvalue())
