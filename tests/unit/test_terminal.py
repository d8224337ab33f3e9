"""What a run's outcome looks like in a terminal."""

import numpy as np
import pandas as pd
from rich.console import Console

from pipelines.terminal import score_table


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
