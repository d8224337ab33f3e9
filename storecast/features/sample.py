"""Which series a cutoff's rows are taken of, where a panel has more rows than a fit is to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from storecast.features.sums import Bools
from storecast.panel import Panel


@dataclass(frozen=True)
class Sample:
    """Some of the series at each cutoff, at random; others at the next, so that all are learnt from.

    Attributes:
        share: of the series, in (0, 1]; 1 are all.
        seed: of the choice, which depends on it, the cutoff and the number of series alone.
    """

    share: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, panel: Panel, cutoffs: int, most_rows: int, seed: int) -> Self:
        """As large as `most_rows` rows at so many cutoffs allow; one series at each at least."""
        rows = max(panel.n_series * panel.horizon * cutoffs, 1)
        return cls(min(1.0, most_rows / rows), seed)

    def at(self, cutoff: pd.Timestamp, n_series: int) -> Bools:
        """(n_series,) which series' rows are taken at a cutoff."""
        if self.share >= 1.0:
            return np.ones(n_series, dtype=bool)
        generator = np.random.default_rng([self.seed, cutoff.value])
        chosen = np.zeros(n_series, dtype=bool)
        chosen[generator.choice(n_series, max(1, int(self.share * n_series)), replace=False)] = True
        return chosen


EVERYTHING = Sample()
