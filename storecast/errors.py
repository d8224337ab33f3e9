"""The error tree. Every error says what was wrong, where, what was expected and what to do about it.

StorecastError
├── ConfigError      a YAML file or setting is wrong
├── DataError        raw data cannot be read, or too much of it is wrong
├── ModelError       a model cannot be fitted, saved, loaded or asked for a forecast
├── StoreError       a data set or folder is missing, half there, locked or not what its manifest says
├── ReleaseError     a release does not exist, is damaged or cannot be activated
└── RunError         a run of several data sets' runs did not do well with all of them
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class StorecastError(Exception):
    """Base of all errors that a user can act on.

    The message reads as one sentence per part that is known: what, where, expected, found, cure.
    """

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", found: str = "", cure: str = ""
    ) -> None:
        self.what, self.where, self.expected, self.found, self.cure = what, where, expected, found, cure
        parts = [f"{where}: {what}" if where else what]
        parts += [
            f"{label}: {text}"
            for label, text in (("expected", expected), ("found", found), ("to fix", cure))
            if text
        ]
        super().__init__("\n  ".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process (keyword-only arguments defeat the default)."""
        return _rebuild, (type(self), self.what, self.where, self.expected, self.found, self.cure)


class ConfigError(StorecastError):
    """A configuration file or setting is wrong."""


class DataError(StorecastError):
    """Raw data cannot be read, or too much of it is wrong."""


class ModelError(StorecastError):
    """A model cannot be fitted, saved, loaded or asked for a forecast."""


class StoreError(StorecastError):
    """A data set is missing, incomplete or not what its manifest says."""


class ReleaseError(StorecastError):
    """A release does not exist, is damaged or cannot be activated."""


class RunError(StorecastError):
    """A run of several data sets' runs did not do well with all of them."""


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def store_errors() -> Iterator[None]:
    """What the system says of a full disk, or of a file that this user has no right to, and what comes of an
    object store that is away, as a StoreError; also where another error came of it, such as a server's that
    could not write either."""
    try:
        yield
    except StorecastError:
        raise
    except Exception as error:
        if away := no_answer(error):
            raise StoreError(
                "the object store does not answer",
                found=str(away),
                cure="see that it is up, and that AWS_ENDPOINT_URL and its keys are right",
            ) from error
        first = next(filter(_of_the_disk, _chain(error)), None)
        if not isinstance(first, OSError):
            raise
        home = "or name a folder {} by STORECAST_HOME"
        raise StoreError(
            str(first.strerror).lower(),
            where=str(first.filename or ""),
            cure=f"make room, {home.format('on a larger disk')}"
            if first.errno in _FULL
            else f"give this user the right to it, {home.format('that it may write to')}",
        ) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def no_answer(error: BaseException) -> BaseException | None:
    """What says that the object store does not answer, where an error came of that; None where it did not."""
    return next(filter(_of_no_answer, _chain(error)), None)


def _of_no_answer(error: BaseException) -> bool:
    """Whether it is botocore's, which s3fs passes on, and not about an answer of the store."""
    kinds = type(error).__mro__
    return kinds[0].__module__ == "botocore.exceptions" and "ClientError" not in {k.__name__ for k in kinds}


def _of_the_disk(error: BaseException) -> bool:
    """Whether it is a matter of the disk. A right that is missing and names no file is that to a port."""
    if not isinstance(error, OSError):
        return False
    return error.errno in _FULL or (error.errno in _FORBIDDEN and error.filename is not None)


def _rebuild(
    kind: type[StorecastError], what: str, where: str, expected: str, found: str, cure: str
) -> StorecastError:
    return kind(what, where=where, expected=expected, found=found, cure=cure)
