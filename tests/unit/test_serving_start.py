"""The service's own command, as its image runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def serving(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m serving`, with settings as variables."""
    return subprocess.run(
        [sys.executable, "-m", "serving", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_asked_for_help_it_prints_its_usage_and_starts_nothing() -> None:
    done = serving("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m serving" in done.stdout
    assert "--host" in done.stdout


def test_half_a_certificate_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    done = serving(STORECAST_HOME=str(tmp_path), STORECAST_SERVING_CERTIFICATE=str(tmp_path / "tls.crt"))
    assert done.returncode == 2
    assert "TLS needs a certificate and its key" in done.stderr
    assert "Traceback" not in done.stderr
