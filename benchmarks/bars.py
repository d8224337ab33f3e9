"""Figures beside their bars and their peers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHORT = 1e-9


@dataclass(frozen=True)
class Line:
    """One figure of a benchmark.

    Attributes:
        name: what was measured.
        value: the figure; None where it could not be measured here.
        unit: its unit.
        bar: what it is to be, such as "at least 20"; "" for a figure that is only told.
        reached: whether it is that; None without a bar or a figure.
        peer: what was measured beside it in the same run, "" for nothing.
        beside: the peer's figure.
        ratio: how many times better than the peer's, above 1 where it is better.
        note: why there is no figure, or what else to know.
    """

    name: str
    value: float | None
    unit: str = ""
    bar: str = ""
    reached: bool | None = None
    peer: str = ""
    beside: float | None = None
    ratio: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the bar was reached, in words."""
        if self.reached is None:
            return self.note
        return f"{'reached' if self.reached else 'NOT REACHED'}: {self.bar} {self.note}".rstrip()


class Bars:
    """Prints figures beside their bars, remembers whether all were reached, and keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    @property
    def reached(self) -> bool:
        """Whether no figure fell short of its bar."""
        return all(line.reached is not False for line in self.lines)

    def least(self, name: str, value: float, bar: float, unit: str = "") -> None:
        """A figure that is to be at least the bar."""
        self._add(Line(name, value, unit, f"at least {bar:g} {unit}".rstrip(), value >= bar))

    def most(self, name: str, value: float, bar: float, unit: str = "") -> None:
        """A figure that is to be at most the bar."""
        self._add(Line(name, value, unit, f"at most {bar:g} {unit}".rstrip(), value <= bar))

    def within(self, name: str, value: float, low: float, high: float, unit: str = "") -> None:
        """A figure that is to lie between two bars."""
        self._add(Line(name, value, unit, f"{low:g} to {high:g} {unit}".rstrip(), low <= value <= high))

    def told(self, name: str, value: float, unit: str = "", note: str = "") -> None:
        """A figure without a bar."""
        self._add(Line(name, value, unit, note=note))

    def missing(self, name: str, why: str) -> None:
        """A figure that cannot be measured here, and why."""
        self._add(Line(name, None, note=why))

    def quicker(
        self, name: str, value: float, unit: str, peer: str, beside: float, times: float | None = None
    ) -> None:
        """A time, or another cost, beside a peer's: its ratio is to be at least `times`; None: only told."""
        self._beside(name, value, unit, peer, beside, beside / max(value, SHORT), times)

    def more(
        self, name: str, value: float, unit: str, peer: str, beside: float, times: float | None = None
    ) -> None:
        """A rate beside a peer's: its ratio is to be at least `times`; None: only told."""
        self._beside(name, value, unit, peer, beside, value / max(beside, SHORT), times)

    def save(self, path: str) -> None:
        """Write the lines as JSON, for `benchmarks.all`; "" writes nothing."""
        if path:
            Path(path).write_text(json.dumps([asdict(line) for line in self.lines], indent=1) + "\n")

    def _beside(
        self, name: str, value: float, unit: str, peer: str, beside: float, ratio: float, times: float | None
    ) -> None:
        bar = "" if times is None else _times(times)
        reached = None if times is None else ratio >= times
        self._add(Line(name, value, unit, bar, reached, peer, beside, ratio))

    def _add(self, told: Line) -> None:
        plain = {name: _plain(value) for name, value in asdict(told).items()}
        line = Line(**plain)
        self.lines.append(line)
        print(text(line), flush=True)


def _plain(value: Any) -> Any:
    """A number or truth of NumPy's as Python's own, which JSON has and `is False` knows."""
    return value.item() if isinstance(value, np.generic) else value


def _times(times: float) -> str:
    if times < 1:
        return f"within {1 / times - 1:.0%}"
    return f"at least {times:g} x" if times > 1 else "no worse"


def text(line: Line) -> str:
    """A line as people read it."""
    value = "not measured" if line.value is None else f"{line.value:,.4g}"
    beside = "" if line.beside is None else f"{line.peer} {line.beside:,.4g}, ratio {line.ratio:.2f}"
    return f"{line.name:<52} {value:>12} {line.unit:<9} {beside:<44} {line.verdict}".rstrip()


def read(path: Path) -> list[Line]:
    """What `Bars.save` wrote."""
    return [Line(**content) for content in json.loads(path.read_text())]
