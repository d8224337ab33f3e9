"""What a run and its outcome look like in a terminal."""

import signal
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from components.stage import progress
from pipelines import executor
from pipelines.terminal import StageDisplay, score_table


def printed(content: object) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(content)
    return capture.get()


def test_scores_are_told_as_planners_read_them() -> None:
    scores = pd.DataFrame(
        [("gbm", 0.3889, -0.37, 12345.6, 0.1), ("naive", 0.617, 0.0, 20000.0, -0.02)],
        columns=["model", "rmsle", "vs_naive", "mae", "bias"],
    )
    text = printed(score_table(scores, "The last fold"))
    assert "0.3889" in text
    assert "-37.0%" in text
    assert "12,345.60" in text
    assert "+10.0%" in text


def test_what_cannot_be_divided_is_a_dash() -> None:
    scores = pd.DataFrame([("naive", 0.0, np.nan, np.inf)], columns=["model", "rmsle", "wape", "vs_naive"])
    text = printed(score_table(scores, "All sales are zero"))
    assert text.count("–") == 2
    assert "nan" not in text
    assert "inf" not in text


def test_an_interrupt_that_got_lost_is_raised_again_at_the_next_progress() -> None:
    display = StageDisplay(Console(quiet=True))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), display.showing():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        display.report("train", 1, 2)
        pytest.fail("the run went on")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("where", ["in a stage's task", "between stages"])
def test_an_interrupt_that_has_become_another_error_is_an_interrupt_all_the_same(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*what: object) -> NoReturn:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ValueError("Task run is not set")

    monkeypatch.setattr(executor, "stage_task", lambda *_: lost)
    with pytest.raises(KeyboardInterrupt), StageDisplay(Console(quiet=True)).showing():
        if where == "between stages":
            lost()
        with pytest.raises(KeyboardInterrupt):  # within the flow, so that Prefect is told of it, too
            executor.InProcess().submit("ingest", "ingest", {})
        raise KeyboardInterrupt


def test_an_error_without_an_interrupt_stays_that_error() -> None:
    with pytest.raises(ValueError, match="bad"), StageDisplay(Console(quiet=True)).showing():
        raise ValueError("bad")


def test_a_stage_within_another_is_told_by_that_one_and_a_failed_one_hides_none_after_it() -> None:
    console = Console(width=100)
    with console.capture() as capture, StageDisplay(console).showing():
        with pytest.raises(ValueError, match="bad"), progress.stage("partition 1"), progress.stage("ingest"):
            raise ValueError("bad")
        with progress.stage("partition 2"), progress.stage("ingest"):
            pass
    told = capture.get()
    assert "partition 2" in told
    assert "partition 1" not in told
    assert "ingest" not in told
