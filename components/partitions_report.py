"""Stage: what the partitions of a data set came to: their scores as those of one panel, and a picture.

python -m components.partitions_report --partition URI --evaluation URI --evaluation URI ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from components.stage import Workspace, main, open_store
from storecast.errors import DataError
from storecast.partition.picture import errors
from storecast.partition.pooled import on_last_folds, pooled_scores
from storecast.report import style
from storecast.store.code import code_version
from storecast.store.datasets import Dataset
from storecast.training_config import NAIVE

SCORES, PARTITIONS, PICTURE = "scores.json", "partitions.json", "partitions.png"


def run(
    partition: Annotated[str, typer.Option(help="URI of what the stage `partition` made.")],
    evaluation: Annotated[list[str], typer.Option(help="URI of a partition's evaluation; once for each.")],
    workspace: Workspace = "",
) -> Dataset:
    """Pool the scores of the partitions that have an evaluation.

    Args:
        partition: URI of the partitions.
        evaluation: URI of the evaluation of each partition, in their order; "" where there is none.
        workspace: where data sets lie.

    Returns:
        A data set with scores.json (pooled, by model and cutoff), partitions.json (by partition, model and
        cutoff) and partitions.png.

    Raises:
        DataError: no partition has an evaluation.
    """
    store = open_store(workspace)
    source = store.open(partition)
    told = source.counts["partitions"]
    found = {about["name"]: store.open(uri) for about, uri in zip(told, evaluation, strict=True) if uri}
    if not found:
        raise DataError(
            "no partition has an evaluation",
            where=partition,
            cure="run the partitions; their errors say more",
        )

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        parts = []
        for about in told:
            if about["name"] in found:
                own = pd.DataFrame(json.loads((store.path(found[about["name"]]) / SCORES).read_text()))
                parts.append(own.assign(partition=about["name"], series=about["series"]))
        scores = pd.concat(parts, ignore_index=True)
        pooled = pooled_scores(scores)
        _write(folder / SCORES, pooled)
        _write(folder / PARTITIONS, scores)
        style.write_png(folder / PICTURE, lambda: errors(scores, NAIVE))
        last = pooled_scores(on_last_folds(scores), ["model"])
        return {
            "partitions": len(told),
            "evaluated": len(found),
            "series": int(sum(about["series"] for about in told if about["name"] in found)),
            "rmsle_last_fold": dict(zip(last["model"], last["rmsle"], strict=True)),
        }

    return store.materialise(
        "partitions_report",
        inputs={"partition": source.hash, **{name: made.hash for name, made in found.items()}},
        config={},
        code=code_version("components.partitions_report"),
        build=build,
    )


def _write(path: Path, frame: pd.DataFrame) -> None:
    rows = json.loads(frame.to_json(orient="records"))
    path.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(run)
