"""New stores and families: forecasts of series whose history is hidden, beside what their peers sell.

    python -m benchmarks.cold_start --data DIR            Store Sales, the last fold, boosting and naive
    python -m benchmarks.cold_start --data DIR --models gbm lstm --seeds 0 1 2
    python -m benchmarks.cold_start                       a synthetic panel

A tenth of all series, then all series of a tenth of the stores, then of a tenth of the families, lose all of
their history, from the fit too. The peer is the mean of what the same family sells in the other stores (of a
new family: what the store's other families sell) on the same weekday.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.bars import Bars
from benchmarks.sample import ended
from components.cold_start import PEERS, cold_start
from storecast.backtest import cutoff_date
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.ingest import ingest
from storecast.models.catalogue import load_spec
from storecast.panel import Panel
from storecast.panel_io import read_panel
from storecast.synthetic import make_panel

BARRED = ("gbm", "lstm", "blend")
"""Models that are to be no worse than the peer mean, whatever is hidden."""


def main() -> int:
    """Print RMSLE by what is hidden; the exit code, 1 where boosting is behind the peer mean."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start")
    parser.add_argument("--data", default="", help="folder of the raw files; default: synthetic")
    parser.add_argument("--panel", default="", help="folder of an ingested panel, instead of raw files")
    parser.add_argument("--dataset", default="store_sales", help="data set config of the raw files")
    parser.add_argument("--models", nargs="+", default=["naive", "gbm"], help="names or files of model specs")
    parser.add_argument("--profile", default="full", help="the models' parameter profile")
    parser.add_argument("--cutoff", default="fold:1/1", help="a date, or fold:k/n; default: the last fold")
    parser.add_argument("--share", type=float, default=0.1, help="share of series, stores, families")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds of the choice")
    parser.add_argument("--ways", nargs="+", default=[], help="of hiding: series, a key; default: all")
    parser.add_argument("--no-seen", action="store_true", help="leave out the fit that sees all")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    panel = _panel(options.data, options.panel, options.dataset)
    cutoff = options.cutoff
    day = pd.Timestamp(cutoff) if cutoff[:1].isdigit() else cutoff_date(panel, cutoff)
    specs = [load_spec(name) for name in options.models]
    models = {spec.name: partial(spec.make, options.profile) for spec in specs}
    began = time.monotonic()
    threads = len(os.sched_getaffinity(0))
    tables = []
    for seed in options.seeds:
        found = cold_start(
            panel,
            day,
            models,
            share=options.share,
            seed=seed,
            threads=threads,
            seen=not options.no_seen,
            ways=options.ways,
        )
        for table in found:
            tables.append(table.assign(seed=seed))
            print(_wide(tables[-1], [seed]).to_string(float_format=lambda x: f"{x:.4f}"), flush=True)
    table = pd.concat(tables, ignore_index=True)
    print(f"\nfold after {day.date()}, {time.monotonic() - began:.0f} s on {threads} cores\n")
    print(_wide(table, options.seeds).to_string(float_format=lambda x: f"{x:.4f}"))
    print()
    return ended(_barred(table), options.json)


def _panel(data: str, folder: str, dataset: str) -> Panel:
    if folder:
        return read_panel(Path(folder))
    if not data:
        return make_panel(n_stores=20, n_families=8, n_days=800)
    with tempfile.TemporaryDirectory() as temporary:
        return ingest(load_dataset_config(config_file(dataset, "datasets")), data, Path(temporary)).panel


def _wide(table: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
    """A line per way of hiding and seed, a column per model."""
    index = ["hidden", "series", *(["seed"] if len(seeds) > 1 else [])]
    order = list(dict.fromkeys(table["model"]))
    return table.pivot_table(index=index, columns="model", values="rmsle", sort=False)[order]


def _barred(table: pd.DataFrame) -> Bars:
    """Boosting (and what else learns from peers) beside the peer mean, over all seeds."""
    bars = Bars()
    means = table.groupby(["hidden", "model"], sort=False)["rmsle"].mean()
    for (hidden, model), value in means.items():
        name = f"{model}, {hidden} hidden: RMSLE"
        if model in BARRED:
            bars.quicker(name, value, "", "peer mean", means[hidden, PEERS], 1)
        elif model != PEERS:
            bars.told(name, value)
    return bars


if __name__ == "__main__":
    raise SystemExit(main())
