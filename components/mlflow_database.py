"""The database of MLflow in the home folder, made whole or not at all.

MLflow makes its tables in some forty steps, each of which SQLite keeps at once. A process that is killed in
between (three seconds of a first run) leaves a database which no later one gets past, and two that begin
together are in each other's way.
"""

from __future__ import annotations

from pathlib import Path

from storecast.settings import Settings
from storecast.store.locks import locked


def path(settings: Settings) -> Path:
    """Where the home folder's database lies."""
    return settings.home.absolute() / "mlflow.db"


def make(settings: Settings) -> None:
    """Make MLflow's SQLite database in the home folder where there is none; it appears when complete."""
    made = path(settings)
    if made.exists():
        return
    with locked(settings.run_folder / "mlflow.lock"):
        if made.exists():
            return  # by another process meanwhile
        new = made.with_name(f"{made.name}.new")
        for left in (new, new.with_name(f"{new.name}-journal")):
            left.unlink(missing_ok=True)
        from mlflow.db import commands

        commands(["upgrade", f"sqlite:///{new}"], standalone_mode=False)
        new.rename(made)
