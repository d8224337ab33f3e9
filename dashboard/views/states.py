"""How runs look, on every page: their state's colour, and their name without the paths in it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

Colour = Literal["red", "orange", "blue", "green", "gray"]
_COLOURS: dict[str, Colour] = {
    "Completed": "green",
    "Failed": "red",
    "Crashed": "red",
    "Cancelled": "orange",
    "Cancelling": "orange",
    "Running": "blue",
    "Pending": "blue",
}


FAILED = ("Failed", "Crashed")


def short(name: str) -> str:
    """A run's name with configs as names, wherever they lie."""
    return " ".join(PurePosixPath(word).stem if "/" in word else word for word in name.split(" "))


def colour(state: str) -> Colour:
    """Of a state's badge."""
    return _COLOURS.get(state, "gray")
