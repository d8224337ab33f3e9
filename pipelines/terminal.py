"""What a run looks like in a terminal: a bar for the stage at work, a line for each that is done."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from components.stage import progress as stage_progress

PERCENT = {"vs_naive", "wape", "bias", "coverage_80", "coverage_95"}
HEADINGS = {
    "rmsle": "RMSLE",
    "vs_naive": "vs naive",
    "mae": "MAE",
    "wape": "WAPE",
    "mase": "MASE",
    "coverage_80": "in 80 %",
    "coverage_95": "in 95 %",
}

STOPPED = "\nStopped. What is done is kept: the same command goes on from there."


class StageDisplay:
    """Shows what stages report: a moving bar in a terminal, one line per finished stage anywhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self.running: dict[str, tuple[TaskID, float]] = {}
        self.interrupted = False

    def report(self, label: str, done: int, total: int) -> None:
        """A stage began (0 of 0), got on, or ended (1 of 1 after others).

        Raises:
            KeyboardInterrupt: there was one, and it got lost in what ran at that moment.
        """
        self.raise_lost()
        if label not in self.running:
            task = self.bars.add_task(label, total=None, count="")
            self.running[label] = (task, time.monotonic())
        task, _ = self.running[label]
        if total:
            self.bars.update(task, completed=done, total=total, count=f"{done:,}/{total:,}")

    def finish(self, label: str) -> None:
        """A stage ended: its bar goes, a line stays; not of one within another, whose line tells of both."""
        if label in self.running:
            task, began = self.running.pop(label)
            self.bars.remove_task(task)
            if self.running:
                return
            seconds = time.monotonic() - began
            state = f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
            self.console.print(f"  [green]✓[/] {label:<34} [dim]{state}[/]", highlight=False)

    def drop(self, label: str) -> None:
        """A stage failed: its bar goes, and what runs after it is not within it."""
        if label in self.running:
            self.bars.remove_task(self.running.pop(label)[0])

    def raise_lost(self) -> None:
        """Raise the interrupt that there was: what it met may have swallowed it, or made an error of it."""
        if self.interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Remember it: a callback or a destructor may swallow what is raised here."""
        self.interrupted = True
        signal.default_int_handler(number, frame)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show what stages report meanwhile; an interrupt from the keyboard is told in one line."""
        before = dict(vars(stage_progress))
        stage_progress.reporter, stage_progress.finished = self.report, self.finish
        stage_progress.failed, stage_progress.raise_lost = self.drop, self.raise_lost
        handler = signal.signal(signal.SIGINT, self._interrupt)
        try:
            with self.bars:
                try:
                    yield
                except Exception:
                    self.raise_lost()
                    raise
        except KeyboardInterrupt:
            self.console.print(STOPPED, highlight=False)
            raise
        finally:
            signal.signal(signal.SIGINT, handler)
            vars(stage_progress).update(before)


def score_table(scores: pd.DataFrame, title: str) -> Table:
    """The comparison of models as a table; the best is bold."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=0)
    for name in scores.columns:
        justify: Literal["left", "right"] = "left" if name == "model" else "right"
        heading = HEADINGS.get(str(name), str(name))
        table.add_column(heading, justify=justify, no_wrap=True, min_width=len(heading) + 1)
    for i, row in enumerate(scores.itertuples(index=False)):
        cells = [_cell(str(n), v) for n, v in zip(scores.columns, row, strict=True)]
        table.add_row(*cells, style="bold" if i == 0 else "")
    return table


def _cell(name: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return "–"
    if name in PERCENT:
        return f"{value:+.1%}" if name in {"vs_naive", "bias"} else f"{value:.1%}"
    return f"{value:,.2f}" if name == "mae" else f"{value:.4f}"
