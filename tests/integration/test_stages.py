"""Each stage by itself: as a container would run it, and the gate against a champion."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from staged import TRAINING, drop_last_days, release_of

from components import activate
from storecast.synthetic import write_raw

STAGES = (
    "ingest", "features", "train", "evaluate", "gate", "report", "forecast", "release", "register",
    "activate", "shadow", "refresh",
)  # fmt: skip
ROOT = Path(__file__).parents[2]
END = "\f"
HELP = f"""
import runpy, sys
for stage in sys.argv[1:]:
    sys.argv = [stage, "--help"]
    try:
        runpy.run_module(f"components.{{stage}}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, (stage, end.code)
    print({END!r}, end="")
"""


@pytest.fixture(autouse=True)
def _home(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    (tmp_path / "two.yaml").write_text(TRAINING)


def test_a_champion_is_measured_on_the_folds_after_its_own_cutoff(tmp_path: Path) -> None:
    write_raw(tmp_path / "early", n_stores=3, n_families=3, n_days=300)
    write_raw(tmp_path / "late", n_stores=3, n_families=3, n_days=300)
    drop_last_days(tmp_path / "early", 32)
    first, decision = release_of(tmp_path, "early")
    assert decision["champion"] is None
    _, decision = release_of(tmp_path, "late", first.uri)
    comparisons = decision["comparisons"]
    assert isinstance(comparisons, list)
    overall = {line["against"]: line for line in comparisons if line["segment"] == "all"}
    assert overall["champion"]["rows"] == 2 * 9 * 16, "both folds begin at or after the champion's cutoff"


def test_what_depends_on_the_current_release_can_be_left_to_the_stages(tmp_path: Path) -> None:
    write_raw(tmp_path / "early", n_stores=3, n_families=3, n_days=300)
    write_raw(tmp_path / "late", n_stores=3, n_families=3, n_days=300)
    drop_last_days(tmp_path / "early", 16)
    first, decision = release_of(tmp_path, "early", "current")
    assert decision["champion"] is None
    second, decision = release_of(tmp_path, "late", "current")
    assert decision["champion"] is not None
    assert second.about["champion"] == first.id, "the release takes it from the decision"
    assert activate.run(first.uri, once=True).id == second.id, (
        "it was current before, so it stays where it is"
    )
    assert activate.run(first.uri).id == first.id
    again, _ = release_of(tmp_path, "early", "current")
    assert again.id == first.id, "a rerun is measured as it was then"


@pytest.fixture(scope="module")
def explained() -> dict[str, str]:
    """What each stage's command says to --help, one after the other in a process that imports once."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, *STAGES],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(STAGES, done.stdout.split(END), strict=False))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_its_options(explained: dict[str, str], stage: str) -> None:
    assert "Usage: " in explained[stage]
    assert "--workspace" in explained[stage]
    assert "--result" in explained[stage]


def test_a_stage_prints_the_uri_of_what_it_made_and_writes_it_to_a_file(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", n_stores=1, n_families=1, n_days=60)
    command = [
        sys.executable,
        "-m",
        "components.ingest",
        "--dataset",
        "synthetic",
        "--data",
        str(tmp_path / "raw"),
    ]
    done = subprocess.run(
        [
            *command,
            "--workspace",
            str(tmp_path / "ws"),
            "--result",
            str(tmp_path / "uri.txt"),
            "--count",
            f"series={tmp_path / 'series.txt'}",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=True,
    )
    uri = json.loads(done.stdout)["uri"]
    assert (tmp_path / "uri.txt").read_text() == uri
    assert (tmp_path / "series.txt").read_text() == "1"
    assert (Path(uri) / "panel.parquet").is_file()


def test_a_stage_that_fails_says_why_and_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "components.ingest", "--dataset", "synthetik", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 2
    assert "did you mean 'synthetic'" in done.stderr
    assert "Traceback" not in done.stderr
