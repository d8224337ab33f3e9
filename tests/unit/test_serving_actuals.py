"""POST /v1/actuals over a bucket that the service may not write to: a real server refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from serving.actuals import keep
from serving.problems import Problem
from storecast.settings import Settings

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
ROWS = b'{"rows": [{"date": "2023-08-01", "sales": 12}]}'


class Refusing(BaseHTTPRequestHandler):
    """Lets nobody write."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(403)
        self.send_header("Content-Length", str(len(DENIED)))
        self.end_headers()
        self.wfile.write(DENIED)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        del format, arguments


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"):
            monkeypatch.setenv(f"AWS_{name}", "some")
        yield "s3://bucket/inbox"
        server.shutdown()
        thread.join()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_where_the_service_may_not_write_nobody_is_told_to_try_again(refused: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, actuals_inbox=refused)
    with pytest.raises(Problem) as caught:
        asyncio.run(keep(settings, "shop", ROWS))
    assert (caught.value.status, caught.value.slug, caught.value.headers) == (500, "store-refuses", [])
    assert "inbox" in caught.value.cure


def test_where_the_store_is_away_it_says_when_to_try_again(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("in the way")
    with pytest.raises(Problem) as caught:
        asyncio.run(keep(Settings(home=tmp_path), "shop", ROWS))
    assert (caught.value.status, dict(caught.value.headers)) == (503, {b"retry-after": b"5"})
