"""What is written to S3 asks for the encryption that the settings name: a real server sees the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from storecast.errors import ConfigError
from storecast.settings import load_settings
from storecast.store import uri as uris

SSE, KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"


class Bucket(BaseHTTPRequestHandler):
    """Takes every object and remembers the headers it came with."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, str]]

    def do_PUT(self) -> None:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        del format, arguments


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[dict[str, str]]]:
    Bucket.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_address[1]}")
    for name, value in {
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.chdir(tmp_path)
    yield Bucket.seen
    server.shutdown()
    server.server_close()
    uris.encrypt_s3("")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def write(folder: Path) -> None:
    uris.write_text("s3://shop/notes/a.txt", "a")
    (folder / "b.txt").write_text("b")
    (folder / "made").mkdir()
    (folder / "b.txt").rename(folder / "made" / "b.txt")
    uris.publish(folder / "made", "s3://shop/made", last="b.txt")


def test_every_object_asks_for_the_key_of_the_key_service(
    written: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORECAST_S3_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("STORECAST_S3_KMS_KEY", "arn:aws:kms:eu-west-1:1:key/shop")
    load_settings()
    write(tmp_path)
    assert [(put[SSE], put[KEY]) for put in written] == [("aws:kms", "arn:aws:kms:eu-west-1:1:key/shop")] * 2


def test_the_stores_own_key_needs_no_name(
    written: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORECAST_S3_ENCRYPTION", "AES256")
    load_settings()
    write(tmp_path)
    assert [(put[SSE], KEY in put) for put in written] == [("AES256", False)] * 2


def test_without_the_setting_the_bucket_decides(written: list[dict[str, str]], tmp_path: Path) -> None:
    load_settings()
    write(tmp_path)
    assert [SSE in put for put in written] == [False] * 2


def test_another_kind_of_encryption_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORECAST_S3_ENCRYPTION", "rot13")
    with pytest.raises(ConfigError, match="s3_encryption"):
        load_settings()
