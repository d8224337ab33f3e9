"""What every integration test leaves as it was, and Prefect's API for those that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from filelock import FileLock

from components import mlflow_registry
from storecast.settings import Settings


@pytest.fixture(autouse=True)
def _the_process_as_it_was() -> Iterator[None]:
    """Prefect's variables, which the command line sets, and the main module, which Streamlit replaces."""
    before, main = _prefect_variables(), sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main
    for name in _prefect_variables().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home to copy, with the databases of Prefect and MLflow: all tables and nothing in them.

    It is made once for all: a home of its own takes a run fifteen seconds.
    """
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = folder / "empty-home"
    with FileLock(folder / "empty-home.lock"):
        if not made.exists():
            new = folder / "new-home"
            (new / "prefect").mkdir(parents=True)
            subprocess.run(
                [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
                env={
                    **os.environ,
                    "PREFECT_HOME": str(folder / "prefect"),
                    "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{new}/prefect/prefect.db",
                },
                capture_output=True,
                check=True,
                timeout=300,
            )
            mlflow_registry.version_of(Settings(home=new), "none yet")
            new.rename(made)
    return made


@pytest.fixture(scope="module")
def prefect_api(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect API of the module's own."""
    from prefect.testing import utilities

    folder = tmp_path_factory.mktemp("prefect")
    shutil.copy(empty_home / "prefect" / "prefect.db", folder / "prefect-test.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utilities, "mkdtemp", lambda: str(folder))
        with utilities.prefect_test_harness(server_startup_timeout=120):
            yield


def _prefect_variables() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
