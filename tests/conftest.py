"""What all tests share: how long an example takes says nothing where several tests share two cores."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec
import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def no_object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an object store that does not answer, which S3 URIs are looked for at."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield "127.0.0.1:9"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
