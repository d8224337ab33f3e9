"""What arrives for a data set that was cut reaches its partitions: they have what the whole would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components import partition
from components.partition import data_of
from storecast.actuals import Actuals
from storecast.configs import config_file
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.errors import ReleaseError
from storecast.ingest import ingest
from storecast.panel import Panel
from storecast.partition.arrivals import Partition, deal
from storecast.partition.places import kept
from storecast.store.datasets import DatasetStore
from storecast.synthetic import raw_tables, tables_after, write_raw

SIZES = {"n_stores": 3, "n_families": 3, "n_days": 120}
CONFIG = load_dataset_config(config_file("synthetic", "datasets"))


@dataclass(frozen=True)
class Cut:
    """A data set in partitions of which one has been released."""

    folder: Path
    partitions: Sequence[Partition]
    raws: Sequence[str]

    @classmethod
    def by(cls, folder: Path, column: str, series: int, planned: Sequence[int] = ()) -> Cut:
        """Cut by a column; with promotions known of the future of all stores, or of those in `planned`."""
        write_raw(folder / "raw", **SIZES)
        if planned:
            plans = raw_tables(**SIZES)["test"]
            plans = plans[plans["store_nbr"].isin(planned)]
            plans.to_csv(folder / "raw" / "test.csv", index=False, date_format="%Y-%m-%d")
        made = partition.run(
            "synthetic", str(folder / "raw"), series, column, workspace=str(folder / "store")
        )
        (folder / "store" / "releases" / "synthetic-001").mkdir(parents=True)
        places = [data_of(made.uri, str(told["name"])) for told in made.counts["partitions"]]
        partitions = [
            Partition(int(told["number"]), int(told["series"]), load_dataset_config(config))
            for told, (config, _) in zip(made.counts["partitions"], places, strict=True)
        ]
        return cls(folder, partitions, [raw for _, raw in places])

    def alone(self) -> tuple[Partition, int]:
        """The partition of one store, and that store."""
        smallest = min(self.partitions, key=lambda each: each.series)
        places = kept(self.store, "synthetic")
        assert places is not None
        (store,) = (int(name) for name, number in places.groups.items() if number == smallest.number)
        return smallest, store

    @property
    def store(self) -> DatasetStore:
        return DatasetStore(str(self.folder / "store"))

    def arrives(self, name: str, frame: pd.DataFrame) -> None:
        path = self.folder / name
        frame.to_csv(path, index=False, date_format="%Y-%m-%d")
        assert Actuals(self.store.root, CONFIG).add(str(path)).status == "taken"

    def deal(self) -> list[str]:
        return deal(self.store, CONFIG, str(self.folder / "raw"), self.partitions)

    def whole(self) -> Panel:
        return self._ingested(CONFIG, str(self.folder / "raw"))

    def parts(self) -> list[Panel]:
        return [
            self._ingested(each.config, raw) for each, raw in zip(self.partitions, self.raws, strict=True)
        ]

    def _ingested(self, config: DatasetConfig, raw: str) -> Panel:
        arrivals = Actuals(self.store.root, config).arrivals()
        out = self.folder / f"panel-{config.name}-{len(arrivals)}"
        out.mkdir()
        return ingest(config, raw, out, arrivals=arrivals).panel


@pytest.mark.parametrize(("by", "series"), [("store_nbr", 6), ("family", 3), ("city", 3)])
def test_partitions_have_what_the_panel_has(tmp_path: Path, by: str, series: int) -> None:
    cut = Cut.by(tmp_path, by, series)
    after = tables_after(**SIZES)
    holidays = pd.DataFrame(
        [{"date": after["test"]["date"].max(), "type": "Holiday", "locale": "National", "locale_name": "",
          "description": "Fair", "transferred": False}]
    )  # fmt: skip
    for name, frame in (*after.items(), ("holidays_events", holidays)):
        cut.arrives(f"{name}.csv", frame)

    assert cut.deal() == []

    whole, parts = cut.whole(), cut.parts()
    assert len(parts) > 1
    assert sorted(uid for panel in parts for uid in panel.ids) == sorted(whole.ids)
    assert whole.cutoff == after["train"]["date"].max()
    for panel in parts:
        rows = pd.Index(whole.ids).get_indexer(pd.Index(panel.ids))
        assert list(panel.dates) == list(whole.dates)
        np.testing.assert_array_equal(panel.y, whole.y[rows])
        np.testing.assert_array_equal(panel.known["onpromotion"], whole.known["onpromotion"][rows])
        assert panel.events["event"].tolist() == whole.events["event"].tolist()


def test_plans_reach_a_partition_of_which_nothing_was_planned(tmp_path: Path) -> None:
    cut = Cut.by(tmp_path, "store_nbr", 3, planned=[2])
    after = tables_after(**SIZES)
    for name in ("train", "test"):
        cut.arrives(f"{name}.csv", after[name])

    assert cut.deal() == []

    whole = cut.whole()
    for panel in cut.parts():
        rows = pd.Index(whole.ids).get_indexer(pd.Index(panel.ids))
        known, expected = panel.known["onpromotion"], whole.known["onpromotion"][rows]
        np.testing.assert_array_equal(known, expected)


def test_the_latest_file_stands_in_each_partition_also_where_its_rows_came_before(tmp_path: Path) -> None:
    cut = Cut.by(tmp_path, "store_nbr", 6)
    after = tables_after(**SIZES)
    cut.arrives("test.csv", after["test"])
    first = after["train"]
    higher = first.assign(sales=first["sales"] + 5)
    again = first["store_nbr"] == cut.alone()[1]
    back = first.assign(sales=first["sales"].where(again, first["sales"] + 9))
    for name, frame in (("train-1.csv", first), ("train-2.csv", higher), ("train-3.csv", back)):
        cut.arrives(name, frame)
        cut.deal()

    whole = cut.whole()
    for panel in cut.parts():
        rows = pd.Index(whole.ids).get_indexer(pd.Index(panel.ids))
        np.testing.assert_array_equal(panel.y, whole.y[rows])


def test_dealing_again_changes_nothing(tmp_path: Path) -> None:
    cut = Cut.by(tmp_path, "store_nbr", 6)
    cut.arrives("train.csv", tables_after(**SIZES)["train"])
    cut.deal()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "actuals").rglob("*")}
    cut.deal()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "actuals").rglob("*")} == before


def test_a_new_store_goes_to_the_smallest_partition_and_stays_there(tmp_path: Path) -> None:
    cut = Cut.by(tmp_path, "store_nbr", 6)
    smallest, _ = cut.alone()
    stores = raw_tables(**SIZES)["stores"]
    cut.arrives("stores-new.csv", stores.head(1).assign(store_nbr=77))
    for name, frame in tables_after(**SIZES).items():
        cut.arrives(f"{name}.csv", frame)
        cut.arrives(f"{name}-new.csv", frame[frame["store_nbr"] == 1].assign(store_nbr=77))
        cut.deal()

    places = kept(cut.store, "synthetic")
    assert places is not None
    assert places.groups["77"] == smallest.number
    new = {uid for panel in cut.parts() for uid in panel.ids if uid.startswith("77|")}
    assert len(new) == SIZES["n_families"]


def test_what_a_partition_does_not_take_is_told(tmp_path: Path) -> None:
    cut = Cut.by(tmp_path, "store_nbr", 6)
    alone, store = cut.alone()
    train = tables_after(**SIZES)["train"].astype({"sales": object})
    train.loc[train.index[np.flatnonzero(train["store_nbr"] == store)[0]], "sales"] = "many"
    cut.arrives("train.csv", train)  # one row of the file is little, one of the store's is too much

    (note,) = cut.deal()
    assert note.startswith(f"{alone.config.name} did not take train.csv: ")


def test_without_partitions_nothing_is_dealt(tmp_path: Path) -> None:
    cut = Cut.by(tmp_path, "store_nbr", 6)
    (tmp_path / "store" / "releases" / "synthetic-001").rmdir()
    cut.arrives("train.csv", tables_after(**SIZES)["train"])
    with pytest.raises(ReleaseError, match="no partitions"):
        cut.deal()
