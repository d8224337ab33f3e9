"""What every integration test leaves as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

import pytest


@pytest.fixture(autouse=True)
def _the_process_as_it_was() -> Iterator[None]:
    """Prefect's variables, which the command line sets, and the main module, which Streamlit replaces."""
    before, main = _prefect_variables(), sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main
    for name in _prefect_variables().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _prefect_variables() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
