from __future__ import annotations

import errno
import os

import pytest
from botocore.exceptions import ClientError

from storecast.errors import DataError, StoreError, store_errors
from storecast.store import uri as uris


def system_error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def test_a_full_disk_is_told_with_what_to_do() -> None:
    with pytest.raises(StoreError, match="no space left on device") as told, store_errors():
        raise system_error(errno.ENOSPC, "panel.parquet")
    assert told.value.where == "panel.parquet"
    assert "make room" in told.value.cure


def test_a_folder_without_the_right_to_write_is_told_with_what_to_do() -> None:
    with pytest.raises(StoreError, match="read-only file system") as told, store_errors():
        raise system_error(errno.EROFS, "/data/run")
    assert "give this user the right to it" in told.value.cure


def test_a_server_that_fails_since_the_disk_is_full_is_told_as_the_full_disk() -> None:
    with pytest.raises(StoreError, match="no space left on device"), store_errors():
        try:
            raise system_error(errno.ENOSPC, "model.txt")
        except OSError as error:
            raise ValueError("500 Internal Server Error") from error


def test_what_is_no_matter_of_the_disk_stays_as_it_is() -> None:
    port = PermissionError(errno.EACCES, "permission denied")
    for error in (system_error(errno.ECONNREFUSED, ""), port, ValueError("odd"), DataError("wrong rows")):
        with pytest.raises(type(error)) as told, store_errors():
            raise error
        assert told.value is error


def test_an_object_store_that_is_away_is_told_with_what_to_do(no_object_store: str) -> None:
    with pytest.raises(StoreError, match="the object store does not answer") as told, store_errors():
        uris.children("s3://bucket/releases")
    assert no_object_store in told.value.found


def test_an_answer_of_the_object_store_stays_as_it_is() -> None:
    with pytest.raises(FileNotFoundError), store_errors():
        raise FileNotFoundError("bucket/there-is-none") from ClientError({"Error": {}}, "GetObject")
