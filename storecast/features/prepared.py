"""The features at a panel's cutoff, kept, so that another known future can be asked about again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from storecast.features.known import holiday_features
from storecast.features.outlook import Columns
from storecast.features.past import Past
from storecast.features.peers import Pair
from storecast.features.table import DIGITS, FeatureTable, build
from storecast.panel import Panel


class Prepared:
    """The features at a panel's cutoff, ready to be asked again with another known future: "what if".

    Args:
        panel: the panel as it is.
        categories: as for `build`.
        pairs: as for `build`.
    """

    def __init__(
        self, panel: Panel, categories: Mapping[str, Sequence[str]], pairs: Sequence[Pair] | None
    ) -> None:
        self.panel = panel
        past = Past(panel, pairs, panel.n_history - 1)
        table = build(panel, [panel.cutoff], categories=categories, past=past)
        self._table, shape = table, (panel.n_series, panel.horizon, len(table.names))
        self._block = table.values.reshape(shape)
        self._place = {name: i for i, name in enumerate(table.names)}
        self._outlook = past.outlook(panel.n_history - 1, panel.horizon)

    def fits(self, panel: Panel) -> bool:
        """Whether a panel has the same history: it was made from this one by changing what is ahead."""
        end, mine = panel.n_history, self.panel.known
        return (
            panel.y is self.panel.y
            and panel.static is self.panel.static
            and panel.past is self.panel.past
            and all(
                x is mine[k] or np.array_equal(x[:, :end], mine[k][:, :end]) for k, x in panel.known.items()
            )
        )

    def rows(self, panel: Panel, rows: NDArray[np.int64]) -> FeatureTable:
        """Features of some series (positions) of a panel that `fits`."""
        values, steps = self._block[rows], panel.horizon
        for those, columns in self._outlook.changes(panel):
            self._write(values, rows, those, columns)
        if panel.events is not self.panel.events:
            ahead = holiday_features(panel.last(1))
            columns = {name: x[:, 1:].astype(np.float64) for name, x in ahead.items()}
            self._write(values, rows, np.arange(panel.n_series), columns)
        places = (rows[:, None] * steps + np.arange(steps)).ravel()
        table = self._table
        return replace(
            table,
            values=values.reshape(len(places), -1),
            series=table.series[places],
            cutoff=table.cutoff[places],
            ds=table.ds[places],
            h=table.h[places],
            y=table.y[places],
        )

    def _write(
        self, values: NDArray[np.float32], rows: NDArray[np.int64], those: NDArray[np.int64], columns: Columns
    ) -> None:
        """Put columns (m, H) of `those` series (m,), ascending, in place in the values (rows, H, k)."""
        found = np.minimum(np.searchsorted(those, rows), len(those) - 1)
        into = those[found] == rows
        for name, x in columns.items():
            values[into, :, self._place[name]] = np.round(x[found[into]], DIGITS) + 0.0
