"""Stage: raw files of a synthetic retailer, to try the platform without data of one's own.

python -m components.synthetic --seed 7
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from components.stage import Workspace, main, open_store
from storecast.store.code import code_version
from storecast.store.datasets import Dataset
from storecast.synthetic import write_raw


def run(
    seed: Annotated[int, typer.Option(help="The same seed gives the same sales.")] = 7,
    stores: Annotated[int, typer.Option(help="Number of stores.", min=1)] = 6,
    families: Annotated[int, typer.Option(help="Number of product families.", min=1, max=8)] = 6,
    days: Annotated[int, typer.Option(help="Days of history.", min=100)] = 800,
    workspace: Workspace = "",
) -> Dataset:
    """Write the raw files of a synthetic retailer, as the data set config `synthetic` reads them.

    Args:
        seed: the same seed gives the same sales.
        stores: number of stores.
        families: number of product families, at most 8.
        days: days of history.
        workspace: where data sets lie.

    Returns:
        A data set of CSV files; its URI is the `data` of a training run.
    """
    sizes = {"seed": int(seed), "n_stores": int(stores), "n_families": int(families), "n_days": int(days)}

    def build(folder: Path, work: Path) -> Mapping[str, Any]:
        del work
        write_raw(folder, **sizes)
        return {"series": sizes["n_stores"] * sizes["n_families"]}

    code = code_version("components.synthetic")
    return open_store(workspace).materialise("synthetic", inputs={}, config=sizes, code=code, build=build)


if __name__ == "__main__":
    main(run)
