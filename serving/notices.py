"""What the processes of a machine tell each other through the folder of local copies.

<data set>/in-use.json              the release in use, from which a worker starts, and the one before
<data set>/<release>/verdict.json   whether the release's model forecasts what was released
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storecast.store import uri as uris

IN_USE = "in-use.json"
VERDICT = "verdict.json"


@dataclass(frozen=True)
class Verdict:
    """What the model's probe found: `why` a release is bad."""

    good: bool
    why: str = ""


def verdict(folder: Path) -> Verdict | None:
    """The verdict on a prepared release; None: there is none yet."""
    content = _read(folder / VERDICT)
    return Verdict(bool(content["good"]), str(content["why"])) if {"good", "why"} <= set(content) else None


def give_verdict(folder: Path, found: Verdict) -> None:
    """Leave the verdict on a prepared release."""
    _write(folder / VERDICT, {"good": found.good, "why": found.why})


def in_use(local: Path) -> str:
    """The release of a data set that was last in use; "" before the first."""
    return str(_read(local / IN_USE).get("release", ""))


def use(local: Path, release: str) -> None:
    """Note the release that is in use; what was until now is the one before, which workers go back to."""
    if (before := in_use(local)) != release:
        _write(local / IN_USE, {"release": release, "before": before})


def needed(local: Path) -> set[str]:
    """The releases of a data set whose local copies are read: the one in use and the one before."""
    content = _read(local / IN_USE)
    return {str(content[key]) for key in ("release", "before") if content.get(key)}


def datasets(home: Path) -> list[str]:
    """The data sets of which a release was in use."""
    return sorted(path.parent.name for path in home.glob(f"*/{IN_USE}"))


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    uris.write_text(str(path), json.dumps(content) + "\n")
