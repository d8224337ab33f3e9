"""Options that a command would not look at, or cannot read, are refused before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.replay import replay
from pipelines.runs_cli import start
from storecast.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"demo": True, "dataset": "mine"}, "sales of its own(.|\\n)*--dataset mine"),
        ({"demo": True, "data": "s3://raw"}, "sales of its own(.|\\n)*--data s3://raw"),
        ({"data": "s3://raw", "seed": 0}, "only the demo's sales have a seed"),
        ({"data": "s3://raw", "trials": 3}, "without --tune"),
        ({"data": "s3://raw", "partition_by": "family"}, "without --partition(.|\\n)*--partition-by family"),
        ({"data": "s3://raw", "at_once": 2}, "without --partition(.|\\n)*--at-once 2"),
        ({"data": "s3://raw", "tune": "gbm", "partition": 5}, "only a training run has partitions"),
        ({"demo": True, "tune": "gbm"}, "it does not tune"),
    ],
)
def test_an_option_that_the_run_would_not_look_at_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        start(**options)


def test_a_replay_from_a_day_that_no_calendar_has_is_refused_before_any_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--from: not a date(.|\n)*YYYY-MM-DD(.|\n)*2015-09-31"):
        replay("synthetic", str(tmp_path / "none"), "2015-09-31", "2016-02-15", print)
