"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from storecast.blend import BLEND, BlendWeights
from storecast.gate import Decision
from storecast.metrics import CV_COLUMNS, check_columns
from storecast.panel import Panel
from storecast.segments import VOLUME

MOST_GROUPS = 60
"""A static column with more values than this makes no readable picture."""


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """The material of a report.

    Attributes:
        title: the data set's or run's name, as the page's heading.
        cv: the cv table of all models with segment columns attached (`storecast.segments.attach`).
        panel: the panel with its whole history.
        weights: of the released blend, or None.
        decision: of the gate, or None.
        scale: in-sample naive MAE by unique_id for MASE (`storecast.metrics.naive_scale`), or None.
        fallbacks: one mapping per series that fell back: `model, unique_id, reason, used`.
        quality: what ingest counted, e.g. {"rows read": 3000888, "quarantined: negative sales": 2}.
        lineage: what was made of what, e.g. {"panel": "sha256:…", "code": "0.1.0"}.
        levels: of `storecast.aggregates.level_scores`: errors of sums by store, family, ..., or None.
        group: static column of the picture by group; "" takes "family" or the best one there is.
        model: the model whose forecasts and intervals are shown.
        naive: model name of the seasonal naive.
    """

    title: str
    cv: pd.DataFrame
    panel: Panel
    weights: BlendWeights | None = None
    decision: Decision | None = None
    scale: pd.Series | None = None
    fallbacks: Sequence[Mapping[str, str]] = ()
    quality: Mapping[str, object] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)
    levels: pd.DataFrame | None = None
    group: str = ""
    model: str = BLEND
    naive: str = "naive"

    def __post_init__(self) -> None:
        check_columns(self.cv, [*CV_COLUMNS, *([self.group] if self.group else [])], where="report")

    @cached_property
    def last_fold(self) -> pd.DataFrame:
        """Rows of the latest fold, the one that no choice has seen."""
        rows: pd.DataFrame = self.cv.loc[(self.cv["cutoff"] == self.cv["cutoff"].max()).to_numpy()]
        return rows

    @property
    def shown_model(self) -> str:
        """`model` where the table has it, else the first other than the naive, else the naive."""
        names = sorted(map(str, self.cv["model"].unique()))
        if self.model in names:
            return self.model
        return next((name for name in names if name != self.naive), names[0])

    @property
    def group_column(self) -> str:
        """Column for the picture by group: as given, or the static column with most values that fit."""
        if self.group:
            return self.group
        counts = {name: int(self.cv[name].nunique()) for name in self.panel.static.columns if name in self.cv}
        fitting = {name: count for name, count in counts.items() if 1 < count <= MOST_GROUPS}
        if "family" in fitting:
            return "family"
        return (
            max(fitting, key=lambda name: fitting[name]) if fitting else VOLUME if VOLUME in self.cv else ""
        )
