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


def _rebuild(
    kind: type[StorecastError], what: str, where: str, expected: str, found: str, cure: str
) -> StorecastError:
    return kind(what, where=where, expected=expected, found=found, cure=cure)
