"""The scores of partitions, and what became of their rows, as those of one panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from storecast.blend import BLEND
from storecast.metrics import METRICS
from storecast.panel import Floats

BY = ("model", "cutoff")
BY_ROWS = ("mae", "coverage_80", "width_80", "coverage_95", "width_95")
BY_SALES = ("wape", "bias", "quantile_loss")


def pooled_scores(scores: pd.DataFrame, by: Sequence[str] = BY) -> pd.DataFrame:
    """Scores of each model and cutoff over all partitions, or of each model over all cutoffs, too.

    Means over rows and shares of sales are exact. MASE is a mean over the rows of series that have a scale:
    exact where a partition's series have equally many rows.

    Args:
        scores: one row per partition, model and cutoff: what `storecast.metrics.score` gives, and `series`,
            how many the partition has.
        by: what is not pooled over.

    Returns:
        One row per group, sorted, of the same columns; `n`, `series` and `left_out` are sums. A
        model that not every partition has is scored over those that have it: `n` tells.
    """
    scores = scores.reset_index(drop=True)
    rows = scores["n"].to_numpy(dtype=np.float64)
    wape = scores["wape"].to_numpy(dtype=np.float64)
    sold = np.divide(rows * scores["mae"], wape, out=np.zeros(len(rows)), where=wape > 0)
    usable = rows * (1 - scores["left_out"] / scores["series"]).to_numpy(dtype=np.float64)
    weights: Mapping[str, Floats] = {
        "rmsle": rows,
        "mase": usable,
        **dict.fromkeys(BY_ROWS, rows),
        **dict.fromkeys(BY_SALES, sold),
    }
    keys = [scores[name] for name in by]
    out = scores.groupby(list(by), observed=True)[["n", "series", "left_out"]].sum()
    for name in METRICS:
        values = scores[name].to_numpy(dtype=np.float64)
        values = values**2 if name == "rmsle" else values
        weight = np.where(np.isfinite(values), weights[name], 0.0)
        sums = pd.DataFrame({"above": np.where(weight > 0, values, 0.0) * weight, "below": weight})
        total = sums.groupby(keys, observed=True).sum()
        mean = total["above"] / total["below"].where(total["below"] > 0)
        out[name] = np.sqrt(mean) if name == "rmsle" else mean
    return out.reset_index()[[*by, "n", *METRICS, "left_out", "series"]]


def last_folds(scores: pd.DataFrame) -> pd.DataFrame:
    """RMSLE of each partition's last fold: a row each, the largest of the blend first; a column a model.

    Args:
        scores: `partition, model, cutoff, rmsle`.
    """
    wide = on_last_folds(scores).pivot(index="partition", columns="model", values="rmsle")
    return wide.sort_values(BLEND, ascending=False)


def on_last_folds(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of each partition's last fold: the folds are of the training that its model comes from."""
    return scores[scores["cutoff"] == scores.groupby("partition")["cutoff"].transform("max")]


def pooled_quality(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What became of all partitions' rows.

    Args:
        parts: of each partition, what its ingest says (`DataQualityReport.to_dict`).

    Returns:
        The same for all: counts are sums, files and notes are named by their partition.
    """
    first = next(iter(parts.values()))
    added: dict[str, dict[str, Any]] = {}
    for part in parts.values():
        for name, tally in part["added"].items():
            before = added.get(name, {**tally, "count": 0})
            added[name] = {**before, "count": before["count"] + tally["count"]}
    about = [part["panel"] for part in parts.values()]
    return {
        "totals": {name: sum(part["totals"][name] for part in parts.values()) for name in first["totals"]},
        "files": [
            {**file, "file": f"{name}/{file['file']}"}
            for name, part in parts.items()
            for file in part["files"]
        ],
        "added": added,
        "notes": [f"{name}: {note}" for name, part in parts.items() for note in part["notes"]],
        "series_without_history": [
            series for part in parts.values() for series in part["series_without_history"]
        ],
        "panel": {
            **first["panel"],
            **{name: max(each[name] for each in about) for name in ("history_dates", "cutoff", "events")},
            "series": sum(each["series"] for each in about),
            "start": min(each["start"] for each in about),
        },
    }
