"""A shop that runs the command line as its user does, in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEADLINE = 500.0
TRAINING = """
name: tiny
models: [naive, gbm, arima]
profile: smoke
folds: 1
shard_size: 5
gate: {min_rows: 100}
"""


@dataclass(frozen=True)
class Shop:
    """A folder with raw files and a training config, and homes to run in."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pipelines.cli", *arguments]

    def environment(self, home: str) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("STORECAST_", "PREFECT_", "MLFLOW_"))
        }
        root = str(Path(__file__).parents[2])
        return {**kept, "STORECAST_HOME": str(self.folder / home), "PYTHONPATH": root, "COLUMNS": "200"}

    def call(self, home: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(home),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def furnish(self, home: str, empty: Path) -> None:
        """Make a home from an empty one, which takes fifteen seconds to make."""
        shutil.copytree(empty, self.folder / home)

    def start(self, home: str, output: Path) -> subprocess.Popen[bytes]:
        """The run of `train` in a session of its own."""
        with output.open("w") as told:
            return subprocess.Popen(
                self.command("run", "--dataset", "synthetic", "--data", "raw", "--profile", "tiny.yaml"),
                env=self.environment(home),
                cwd=self.folder,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def train(self, home: str) -> str:
        return self.call(home, "run", "--dataset", "synthetic", "--data", "raw", "--profile", "tiny.yaml")

    def release(self, home: str) -> Path:
        root = self.folder / home / "releases" / "synthetic"
        return root / str(json.loads((root / "current.json").read_text())["current"])
