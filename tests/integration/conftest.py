"""What every integration test leaves as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _the_process_as_it_was() -> Iterator[None]:
    """The environment, which the command line prepares, and the main module, which Streamlit replaces."""
    environment, main = dict(os.environ), sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
