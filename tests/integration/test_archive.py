"""Archiving as people use it: the command, what it leaves in MLflow, and the record of what it did."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components import archive as stage
from components import mlflow_cleanup as cleanup
from components import mlflow_registry as registry
from components import mlflow_tracking as tracking
from components.stage import open_store
from pipelines.archive_cli import archive
from storecast.settings import load_settings
from storecast.store.datasets import Dataset

POLICY = "kinds:\n  stages: {paths: ['datasets/*/*'], days: 30, then: archive}\n"


@pytest.fixture(autouse=True)
def _home(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setenv("STORECAST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)


def old_dataset(text: str = "old") -> Dataset:
    def build(folder: Path, work: Path) -> dict[str, int]:
        (folder / "a.txt").write_text(text)
        return {}

    made = open_store().materialise("train", inputs={}, config={"text": text}, code="1", build=build)
    long_ago = time.time() - 100 * 86_400
    for path in Path(made.uri).iterdir():
        os.utime(path, (long_ago, long_ago))
    return made


def command(*arguments: str, answer: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(archive, [*arguments], input=answer, catch_exceptions=False)
    return done.exit_code, done.output


def test_a_dry_run_says_what_would_go_and_why_and_changes_nothing() -> None:
    made = old_dataset()
    code, output = command("--policy", "policy.yaml", "--dry-run", "--all")
    assert code == 0
    assert f"datasets/train/{made.key}: stages: 100 days old, 30 stay" in output
    assert Path(made.uri).is_dir()


def test_it_asks_before_it_does_anything_and_no_is_no() -> None:
    made = old_dataset()
    code, output = command("--policy", "policy.yaml", answer="n\n")
    assert code == 1
    assert "Do it?" in output
    assert Path(made.uri).is_dir()


def test_what_is_archived_is_listed_and_comes_back_by_its_name(tmp_path: Path) -> None:
    made, name = old_dataset(), ""
    code, output = command("--policy", "policy.yaml", "--yes")
    assert code == 0, output
    assert not Path(made.uri).exists()
    (record,) = (tmp_path / "home" / "retention").iterdir()
    (done,) = json.loads(record.read_text())["done"]
    name = done["name"]
    assert name in command("list", "--policy", "policy.yaml")[1]
    assert command("restore", name, "--policy", "policy.yaml")[0] == 0
    assert (Path(made.uri) / "a.txt").read_text() == "old"
    assert stage.run("policy.yaml", dry_run=True).counts["items"] == 0, "what was restored is young again"


def test_mlflows_old_runs_go_with_their_artifacts_and_those_of_models_in_use_stay(tmp_path: Path) -> None:
    settings = load_settings()
    (tmp_path / "plot.png").write_bytes(b"a picture")
    ids = {}
    for name in ("old", "champion"):
        with tracking.run(settings, "storecast-toy", name, name) as run:
            run.file(tmp_path / "plot.png")
        ids[name] = run.id
    with tracking.run(settings, "somebody-elses", "theirs", "theirs"):
        pass
    client = run.client
    client.create_registered_model("storecast-toy")
    version = client.create_model_version("storecast-toy", str(tmp_path), ids["champion"])
    client.set_registered_model_alias("storecast-toy", registry.CHAMPION, version.version)

    assert cleanup.runs_before(settings, datetime.now(UTC) - timedelta(days=1), []) == []
    found = cleanup.runs_before(settings, datetime.now(UTC) + timedelta(days=1), [])
    assert found == [ids["old"]]
    cleanup.delete_runs(settings, found)
    kept = ids["champion"]
    assert not list((tmp_path / "home" / "mlartifacts").glob(f"**/{ids['old']}/artifacts/*"))
    assert list((tmp_path / "home" / "mlartifacts").glob(f"**/{kept}/artifacts/*"))
    assert cleanup.runs_before(settings, datetime.now(UTC) + timedelta(days=1), []) == []
