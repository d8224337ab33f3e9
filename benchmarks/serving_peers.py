"""What the service is measured beside, under the same server: two hellos, and a typed API with its answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel

from serving.table import ReleaseTable

FOLDER = os.environ.get("BENCHMARK_TABLE", "")
BODY = b'{"hello":"world"}'
_START: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
_BODY: dict[str, Any] = {"type": "http.response.body", "body": BODY}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """The least an ASGI application can do."""
    del scope, receive
    await send(_START)
    await send(_BODY)


class _Before(bentoml.Service[Any]):  # type: ignore[misc]
    def to_asgi(self, is_main: bool = True) -> Any:
        """BentoML's application, with the hello before all its middlewares."""
        app = super().to_asgi(is_main)

        async def outer(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == "/bare":
                await hello(scope, receive, send)
            else:
                await app(scope, receive, send)

        return outer


class Forecast(BaseModel):
    """A series as a typed answer."""

    release: str
    unique_id: str
    ds: list[str]
    columns: dict[str, list[float]]


class _Peers:
    def __init__(self) -> None:
        self._table = ReleaseTable.open(Path(FOLDER))

    @bentoml.api  # type: ignore[untyped-decorator]
    async def typed(self, key: list[str]) -> Forecast:
        """The same answer by BentoML's typed API."""
        table = self._table
        row = table.rows[tuple(key)]
        values = table.values[row]
        columns = {name: values[:, i].tolist() for i, name in enumerate(table.columns)}
        return Forecast(release=table.id, unique_id=table.names[row][0], ds=table.dates, columns=columns)


Peers = bentoml.service(name="peers", workers=2, service_class=_Before)(
    bentoml.asgi_app(hello, path="/mounted")(_Peers)
)
