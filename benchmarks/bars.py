"""Figures beside their bars."""

from __future__ import annotations


class Bars:
    """Prints figures beside their bars and remembers whether all were reached."""

    def __init__(self) -> None:
        self.reached = True

    def least(self, name: str, value: float, bar: float, unit: str = "") -> None:
        """A figure that is to be at least the bar."""
        self._line(name, value, value >= bar, f"at least {bar:g}", unit)

    def most(self, name: str, value: float, bar: float, unit: str = "") -> None:
        """A figure that is to be at most the bar."""
        self._line(name, value, value <= bar, f"at most {bar:g}", unit)

    def told(self, name: str, value: float, unit: str = "") -> None:
        """A figure without a bar."""
        print(f"{name:<52} {value:>12,.4g} {unit}")

    def _line(self, name: str, value: float, good: bool, bar: str, unit: str) -> None:
        self.reached &= good
        print(f"{name:<52} {value:>12,.4g} {unit:<8} {'reached' if good else 'NOT REACHED'}: {bar} {unit}")
