"""The database of MLflow in the home folder, made whole or not at all.

MLflow makes its tables in some forty steps, each of which SQLite keeps at once. A process that is killed in
between (three seconds of a first run) leaves a database which no later one gets past, and two that begin
together are in each other's way.
"""

from __future__ import annotations

from pathlib import Path

from storecast.store.locks import locked


def make(path: Path) -> None:
    """Make MLflow's SQLite database where there is none.

    Args:
        path: of the database, which appears under this name once it is complete.
    """
    if path.exists():
        return
    with locked(path.parent / "run" / "mlflow.lock"):
        if path.exists():
            return  # made by another process meanwhile
        new = path.with_name(f"{path.name}.new")
        for left in (new, new.with_name(f"{new.name}-journal")):
            left.unlink(missing_ok=True)
        from mlflow.db import commands

        commands(["upgrade", f"sqlite:///{new}"], standalone_mode=False)
        new.rename(path)
