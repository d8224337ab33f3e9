"""Figures of benchmarks beside their bars: what is missed is told, whatever kind of number it is."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bars


@pytest.mark.parametrize("number", [float, np.float32, np.float64])
def test_a_missed_bar_is_missed_and_reads_back_as_it_was_kept(number: type, tmp_path: Path) -> None:
    kept = bars.Bars()
    kept.most("error", number(0.5), 1.0)
    kept.quicker("time", number(2.0), "s", "peer", number(3.0), 1)
    assert kept.reached
    kept.quicker("time", number(2.0), "s", "other peer", number(1.0), 1)
    assert not kept.reached
    kept.save(str(tmp_path / "figures.json"))
    assert bars.read(tmp_path / "figures.json") == kept.lines
    assert [line.reached for line in kept.lines] == [True, True, False]
