"""The gate: whether a challenger may become the champion.

It may if, on the very same rows of the backtest, its pooled RMSLE is lower than the champion's and the
seasonal naive's, and it loses no segment to either by more than a margin. A tie changes nothing; but where
there is no champion yet, and both it and the naive are near 0, sales are so regular that there is nothing to
beat, and it may be the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from storecast.errors import DataError
from storecast.metrics import KEYS, check_columns, rmsle
from storecast.segments import VOLUME
from storecast.side_by_side import orders_of


class GateConfig(BaseModel):
    """The rules of promotion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: float = Field(default=0.05, ge=0, description="Relative loss of RMSLE that one segment may take.")
    segments: tuple[str, ...] = Field(
        default=(VOLUME,),
        description="Columns whose every value is a segment: volume class, family, store...",
    )
    min_rows: int = Field(default=500, ge=1, description="Smaller segments are shown but decide nothing.")
    floor: float = Field(
        default=0.05, ge=0, description="RMSLE below which a segment is too easy to decide: both are near 0."
    )


@dataclass(frozen=True)
class Comparison:
    """One line of the decision: challenger against another model on one segment.

    Attributes:
        against: the other model.
        column: segment column; "" for all rows.
        segment: its value; "all" for all rows.
        rows: rows compared.
        challenger: the challenger's pooled RMSLE.
        other: the other model's.
        change: challenger / other - 1; negative is better.
        decisive: whether this line can stop the promotion.
        passed: whether it does not.
    """

    against: str
    column: str
    segment: str
    rows: int
    challenger: float
    other: float
    change: float
    decisive: bool
    passed: bool


@dataclass(frozen=True)
class Decision:
    """What the gate decided and why.

    Attributes:
        promoted: whether the challenger becomes the champion.
        challenger: its model name.
        champion: the champion's, None where there is none yet.
        reasons: sentences with numbers, for the log and the report.
        comparisons: every comparison that was made.
    """

    promoted: bool
    challenger: str
    champion: str | None
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per comparison."""
        names = [field.name for field in fields(Comparison)]
        return pd.DataFrame([vars(line) for line in self.comparisons], columns=names)

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON."""
        return {
            **vars(self),
            "reasons": list(self.reasons),
            "comparisons": [vars(c) for c in self.comparisons],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        lines = tuple(Comparison(**line) for line in data["comparisons"])
        return cls(**{**data, "reasons": tuple(data["reasons"]), "comparisons": lines})


def decide(
    cv: pd.DataFrame,
    challenger: str,
    champion: str | None = None,
    naive: str = "naive",
    config: GateConfig | None = None,
) -> Decision:
    """Compare the challenger with the champion and the seasonal naive.

    Overall it must beat both, and per segment it may lose at most the margin to either. The first model
    ever has no champion to beat, only the naive.

    Args:
        cv: the cv table with the rows of these models and the segment columns; NaN `y` rows are ignored.
        challenger: model name in the table.
        champion: model name in the table, or None.
        naive: model name of the seasonal naive.
        config: the rules.

    Raises:
        DataError: a model or a column is missing, or the models do not have the same rows.
    """
    config = config or GateConfig()
    check_columns(cv, [*KEYS, "model", "y", "yhat", *config.segments])
    rivals = list(
        dict.fromkeys(name for name in (champion, naive) if name is not None and name != challenger)
    )
    known = cv.loc[cv["y"].notna().to_numpy()]
    _same_rows(known, [challenger, *rivals])
    lines: list[Comparison] = []
    for column in ("", *config.segments):
        table = _table(known, [challenger, *rivals], column)
        for rival in rivals:
            lines += _compare(table, challenger, rival, column, config, first=champion is None)
    reasons = _reasons(lines, challenger, champion, config)
    promoted = bool(lines) and all(line.passed for line in lines)
    return Decision(promoted, challenger, champion, tuple(reasons), tuple(lines))


def _same_rows(known: pd.DataFrame, models: Sequence[str]) -> None:
    """Every model must have been scored on the same series, dates and folds."""
    there = set(map(str, known["model"].unique()))
    for name in models:
        if name not in there:
            raise DataError(
                f"the cv table has no scored row of model {name!r}",
                where="gate",
                expected=", ".join(models),
                found=", ".join(sorted(there)),
            )
    orders_of(known, models, "gate")


def _table(known: pd.DataFrame, models: Sequence[str], column: str) -> pd.DataFrame:
    """RMSLE and rows by segment (index) and model (columns)."""
    chosen = known[known["model"].isin(models)]
    by = ["model", column] if column else ["model"]
    scores = rmsle(chosen.assign(model=chosen["model"].astype(str)), by)
    scores["segment"] = scores[column].astype(str) if column else "all"
    order = list(dict.fromkeys(scores["segment"]))
    table = scores.pivot_table(index="segment", columns="model", values="rmsle", aggfunc="first")
    rows = scores.groupby("segment")["n"].first()
    return table.assign(rows=rows).loc[order]


def _compare(
    table: pd.DataFrame, challenger: str, rival: str, column: str, config: GateConfig, *, first: bool
) -> list[Comparison]:
    lines = []
    for segment, mine, other, count in zip(
        table.index, table[challenger], table[rival], table["rows"], strict=True
    ):
        easy = max(mine, other) < config.floor
        if column:
            decisive = bool(count >= config.min_rows and not easy)
            fine = bool(mine <= other * (1 + config.margin))
        else:
            decisive, fine = True, bool(mine < other or (first and easy))
        change = float(mine / other - 1) if other > 0 else (0.0 if mine == 0 else float(np.finfo(float).max))
        lines.append(
            Comparison(
                against=rival,
                column=column,
                segment=str(segment),
                rows=int(count),
                challenger=float(mine),
                other=float(other),
                change=change,
                decisive=decisive,
                passed=fine or not decisive,
            )
        )
    return lines


def _reasons(
    lines: Sequence[Comparison], challenger: str, champion: str | None, config: GateConfig
) -> list[str]:
    out = [_overall_sentence(line, champion) for line in lines if not line.column]
    if champion is None:
        out.append(f"There is no champion yet: {challenger} has only to beat the seasonal naive.")
        if any(line.passed and line.challenger >= line.other for line in lines if not line.column):
            out.append(f"Both are below {config.floor:g}: sales so regular leave nothing to beat.")
    checked = [line for line in lines if line.column and line.decisive]
    lost = [line for line in checked if not line.passed]
    out += [
        f"Segment {line.column} = {line.segment} loses {line.change:.1%} to {line.against} "
        f"({line.challenger:.4f} against {line.other:.4f}, {line.rows:,} rows); "
        f"{config.margin:.1%} is allowed."
        for line in lost
    ]
    if checked and not lost:
        worst = max(checked, key=lambda line: line.change)
        told = f"{worst.column} = {worst.segment} at {worst.change:+.1%}"
        many = f"None of {len(checked)} segments loses more than {config.margin:.1%}; the least favourable is"
        one = f"The only segment does not lose more than {config.margin:.1%}:"
        out.append(f"{many if len(checked) > 1 else one} {told}.")
    return out


def _overall_sentence(line: Comparison, champion: str | None) -> str:
    role = "champion" if line.against == champion else "seasonal naive"
    verb = "beats" if line.challenger < line.other else "ties with" if line.change == 0 else "does not beat"
    change = f"{line.change:+.1%}, " if line.other > 0 else ""
    return (
        f"Overall RMSLE {line.challenger:.4f} {verb} the {role} at {line.other:.4f} "
        f"({change}{line.rows:,} rows)."
    )
