"""A model whose forecasts are off by a factor, to be tuned: the nearer the factor is to 1, the better."""

from __future__ import annotations

from pathlib import Path

MODEL = """
import json
import os
from pathlib import Path
import numpy as np
from dataclasses import replace
from storecast.models.naive import NaiveConfig, SeasonalNaive

class LiftConfig(NaiveConfig):
    lift: float = 2.0
    bug: bool = False

class Lift(SeasonalNaive):
    \"\"\"Last weeks' sales times a factor: the nearer to 1, the better.\"\"\"
    Config = LiftConfig

    def fit(self, panel, context):
        if self.config.bug:
            raise ValueError("a bug")
        if "TRAP" in os.environ:
            trap = Path(os.environ["TRAP"])
            count = int(trap.read_text()) if trap.exists() else 0
            trap.write_text(str(count + 1))
            if count == 7:
                os.kill(os.getpid(), 9)
        return super().fit(panel, context)

    @classmethod
    def load(cls, folder):
        return cls(LiftConfig(**json.loads((folder / "naive.json").read_text())))

    def forecast(self, panel):
        made = super().forecast(panel)
        return replace(made, point=made.point * self.config.lift)
"""


def write(folder: Path) -> None:
    """The model with its spec, a search space, and a training config that uses it."""
    (folder / "lift_model.py").write_text(MODEL)
    (folder / "lift.yaml").write_text("name: lift\nclass: lift_model:Lift\nparams: {seasons: 2}\n")
    (folder / "space.yaml").write_text("params:\n  lift: {type: float, low: 0.5, high: 4.0}\n")
    (folder / "mine.yaml").write_text("name: mine\nmodels: [naive, lift.yaml]\nfolds: 2\n")
