"""A panel in partitions on the cluster: trained by pods of their own, two at a time, and released as one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
import yaml
from cluster import ROOT, Platform

from storecast.synthetic import raw_tables, tables_after

RUN_SECONDS = 1200.0
BUCKET = "storecast"
RAW, CONFIGS = f"{BUCKET}/raw/parts", f"{BUCKET}/configs/parts"
SIZES = {"n_stores": 2, "n_families": 3, "n_days": 200}
RELEASES = f"{BUCKET}/storecast/releases"
TRAINING = {
    "name": "few",
    "models": ["naive", "arima"],
    "profile": "smoke",
    "folds": 1,
    "aggregates": "",
    "gate": {"min_rows": 60},
}


@pytest.fixture(scope="module")
def cut(platform: Platform) -> str:
    """A run of two stores with a partition for each, started by the command line and ended well; its id."""
    dataset = yaml.safe_load((ROOT / "configs" / "datasets" / "synthetic.yaml").read_text())
    files = {
        f"{RAW}/{name}.csv": table.to_csv(index=False, date_format="%Y-%m-%d")
        for name, table in raw_tables(**SIZES).items()
    }
    files[f"{CONFIGS}/parts.yaml"] = yaml.safe_dump({**dataset, "name": "parts"})
    files[f"{CONFIGS}/few.yaml"] = yaml.safe_dump(TRAINING)
    with platform.store() as store:
        for path, text in files.items():
            store.write(path, text)
    with platform.timeline.step("run in two partitions at a time, from raw files to one release"):
        started = platform.storecast(
            "runs", "start", "--dataset", f"s3://{CONFIGS}/parts.yaml", "--data", f"s3://{RAW}",
            "--profile", f"s3://{CONFIGS}/few.yaml", "--partition", "3", "--partition-by", "store_nbr",
            "--at-once", "2",
        )  # fmt: skip
        run = started.split()[0]
        platform.completed(run, RUN_SECONDS)
    return run


def test_partitions_are_trained_side_by_side_in_pods_of_their_own(platform: Platform, cut: str) -> None:
    stages = platform.stages(cut)
    partitions = [runs[-1] for label, runs in stages.items() if label.startswith("parts-00")]
    assert sorted(run["name"] for run in partitions) == [
        f"parts-00{n} with s3://{CONFIGS}/few.yaml" for n in (1, 2)
    ]
    times = sorted((run["start_time"], run["end_time"]) for run in partitions)
    assert all(second[0] < first[1] for first, second in pairwise(times)), times
    for stage in ("ingest", "evaluate", "release"):
        assert {run["work_pool_name"] for run in stages[stage]} == {"cpu"}
        assert len({run["parent_task_run_id"] for run in stages[stage]}) == 2, stage


def test_the_release_of_all_has_every_series_and_the_sums_over_both(platform: Platform, cut: str) -> None:
    del cut
    with platform.store() as store:
        current = {name: _current(store.read(f"{RELEASES}/{name}/current.json")) for name in _names()}
        about = json.loads(store.read(f"{RELEASES}/parts/{current['parts']}/release.json"))
        files = {path.rsplit("/", 1)[-1] for path in store.find(f"{RELEASES}/parts/{current['parts']}")}
        lineage = json.loads(store.read(f"{RELEASES}/parts/{current['parts']}/lineage.json"))
    assert about["series"] == 6
    assert {name: lineage[name] for name in ("parts-001", "parts-002")} == {
        name: current[name] for name in ("parts-001", "parts-002")
    }
    assert {"forecasts.parquet", "aggregates.parquet", "partitions.json"} <= files


def test_a_pass_of_the_loop_deals_what_arrived_and_renews_the_release_of_all(
    platform: Platform, cut: str
) -> None:
    del cut
    with platform.store() as store:
        before = {name: _current(store.read(f"{RELEASES}/{name}/current.json")) for name in _names()}
        store.write(f"{CONFIGS}/never.yaml", yaml.safe_dump({"name": "never", "checks": [], "every_days": 0}))
        for name, table in tables_after(**SIZES).items():
            text = table.to_csv(index=False, date_format="%Y-%m-%d")
            store.write(f"{BUCKET}/storecast/inbox/parts/{name}.csv", text)
    given = {
        "dataset": f"s3://{CONFIGS}/parts.yaml",
        "data": f"s3://{RAW}",
        "policy": f"s3://{CONFIGS}/never.yaml",
    }
    with platform.timeline.step("pass of the loop over both partitions, with sixteen days of sales"):
        platform.completed(platform.start("watch", **given, at_once=2), RUN_SECONDS)

    with platform.store() as store:
        after = {name: _current(store.read(f"{RELEASES}/{name}/current.json")) for name in _names()}
        left = store.find(f"{BUCKET}/storecast/inbox/parts")
    assert not left
    assert all(after[name] > before[name] for name in _names()), after
    assert len({release[:10] for release in after.values()}) == 1, "all end on the same day"


def _names() -> tuple[str, ...]:
    return ("parts", "parts-001", "parts-002")


def _current(pointer: str) -> str:
    found: Mapping[str, Any] = json.loads(pointer)
    return str(found["current"])
