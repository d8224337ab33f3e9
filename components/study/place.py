"""Where a study is: its database, its lock on this machine, and what goes wrong with them in our words."""

from __future__ import annotations

import random
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import RDBStorage
from optuna.study import Study
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from components.study.attempts import try_again
from components.study.sampler import SeededByTrial
from storecast.errors import StoreError
from storecast.search_space import Parameter

HEARTBEAT_SECONDS, SILENCE_SECONDS = 10, 60
UNPRUNED_TRIALS = 4
MOST_MEETINGS = 6
"""Attempts to open a study whose tables others are making."""
PLAIN_POSTGRESQL = re.compile(r"^postgres(ql)?://")
"""A URL of PostgreSQL that names no driver: it means the one that the extra `postgres` brings."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class StudyPlace:
    """Where a study is, and what it chooses.

    Attributes:
        url: SQLAlchemy URL of the database, such as sqlite:////home/tune.db or postgresql://...
        name: the study's name in it.
        lock: file on this machine that is locked by those who work on the study.
        space: the parameters by path.
        defaults: their values in the model's profile: what the first trial tries.
        seed: seeds every choice.
    """

    url: str
    name: str
    lock: Path
    space: Mapping[str, Parameter]
    defaults: Mapping[str, Any]
    seed: int

    def open(self) -> Study:
        """The study, made where it is missing.

        Raises:
            StoreError: the database cannot be reached.
        """
        with clear_errors(self.url), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.create_study(
                storage=self._storage(),
                study_name=self.name,
                sampler=SeededByTrial(self.seed, self.defaults),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
                load_if_exists=True,
            )

    def _storage(self) -> RDBStorage:
        """The database, with its tables, which others may make at the same moment, one after the other."""
        for _ in range(MOST_MEETINGS - 1):
            try:
                return self._connected()
            except (IntegrityError, ProgrammingError):
                time.sleep(random.uniform(0.0, 0.5))  # noqa: S311 (apart from the others)
        return self._connected()

    def _connected(self) -> RDBStorage:
        wait = {"connect_args": {"timeout": 60}} if self.url.startswith("sqlite") else {}
        return RDBStorage(
            PLAIN_POSTGRESQL.sub("postgresql+psycopg2://", self.url),
            engine_kwargs=wait,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=SILENCE_SECONDS,
            heartbeat_stale_trial_callback=try_again,
        )


@contextmanager
def clear_errors(url: str) -> Iterator[None]:
    """The database's errors as ours, without the password that a URL may hold."""
    try:
        yield
    except (SQLAlchemyError, OptunaError, ImportError) as error:
        no_driver = isinstance(error, ImportError) and PLAIN_POSTGRESQL.match(url)
        raise StoreError(
            "the study's database cannot be used",
            where=re.sub(r"//[^@/\s]+@", "//***@", url),
            found=re.sub(r"//[^@/\s]+@", "//***@", str(error)).splitlines()[0],
            cure="install the extra: pip install 'storecast[postgres]'"
            if no_driver
            else "check tuning_storage or --storage: an SQLAlchemy URL whose driver is installed",
        ) from error
