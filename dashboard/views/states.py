"""How runs look, on every page: their state's colour."""

from __future__ import annotations

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


def colour(state: str) -> Colour:
    """Of a state's badge."""
    return _COLOURS.get(state, "gray")
