from __future__ import annotations

import errno
import os

import pytest

from storecast.errors import DataError, StoreError, disk_errors


def system_error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def test_a_full_disk_is_told_with_what_to_do() -> None:
    with pytest.raises(StoreError, match="no space left on device") as told, disk_errors():
        raise system_error(errno.ENOSPC, "panel.parquet")
    assert told.value.where == "panel.parquet"
    assert "make room" in told.value.cure


def test_a_folder_without_the_right_to_write_is_told_with_what_to_do() -> None:
    with pytest.raises(StoreError, match="read-only file system") as told, disk_errors():
        raise system_error(errno.EROFS, "/data/run")
    assert "give this user the right to it" in told.value.cure


def test_a_server_that_fails_since_the_disk_is_full_is_told_as_the_full_disk() -> None:
    with pytest.raises(StoreError, match="no space left on device"), disk_errors():
        try:
            raise system_error(errno.ENOSPC, "model.txt")
        except OSError as error:
            raise ValueError("500 Internal Server Error") from error


def test_what_is_no_matter_of_the_disk_stays_as_it_is() -> None:
    port = PermissionError(errno.EACCES, "permission denied")
    for error in (system_error(errno.ECONNREFUSED, ""), port, ValueError("odd"), DataError("wrong rows")):
        with pytest.raises(type(error)) as told, disk_errors():
            raise error
        assert told.value is error
