"""A panel cut into partitions: nothing is lost or moved, and each partition is the panel's own part."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import TODAY, Raw

from storecast.bundle import Bundle, write_bundle
from storecast.conformal import Calibration
from storecast.dataset_config import DatasetConfig, load_dataset_config
from storecast.errors import ConfigError, DataError, ModelError, ReleaseError
from storecast.ingest import IngestResult, ingest
from storecast.metrics import QUANTILE_COLUMNS, score
from storecast.models.base import QUANTILES, FitContext, Forecast
from storecast.models.naive import NaiveConfig, SeasonalNaive
from storecast.panel import Panel, no_events
from storecast.panel_io import read_panel
from storecast.partition import spill
from storecast.partition.assign import assign
from storecast.partition.files import CONFIG, Cut, cut
from storecast.partition.groups import Group, Grouping, coarsest_key, count_keys
from storecast.partition.joined import JoinedBundle, join_bundles, load_bundle
from storecast.partition.pooled import on_last_folds, pooled_quality, pooled_scores
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.store.datasets import DatasetStore
from storecast.store.releases import datasets, part_name

GROUPS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.builds(Group, series=st.integers(1, 40), rows=st.integers(0, 3)),
    min_size=1,
    max_size=30,
).filter(lambda groups: any(group.rows for group in groups.values()))


@given(groups=GROUPS, most=st.integers(1, 60))
def test_every_group_has_a_place_and_no_partition_is_too_large_that_need_not_be(
    groups: dict[str, Group], most: int
) -> None:
    places = assign(groups, most, {})
    assert places.keys() == groups.keys()
    assert set(places.values()) == set(range(1, max(places.values()) + 1))
    for number in set(places.values()):
        own = [groups[name] for name in places if places[name] == number]
        lively = [group.series for group in own if group.rows]
        assert lively, "a partition without history cannot be learnt from"
        assert sum(lively) <= most or len(lively) == 1


@given(groups=GROUPS, later=GROUPS, most=st.integers(1, 60))
def test_a_group_keeps_its_partition_whatever_comes(
    groups: dict[str, Group], later: dict[str, Group], most: int
) -> None:
    places = assign(groups, most, {})
    again = assign({**groups, **later}, most, places)
    assert {name: again[name] for name in groups} == places
    assert assign(later, most, places).items() >= places.items()


def test_partitions_are_of_about_the_same_size() -> None:
    groups = {f"store {n}": Group(33, 1) for n in range(54)}
    loads = Counter(assign(groups, 600, {}).values())
    assert sorted(loads.values()) == [18, 18, 18]


def test_groups_without_any_history_are_refused() -> None:
    with pytest.raises(DataError, match="no history to cut"):
        assign({"new": Group(3, 0)}, 10, {})


def divide(
    raw: Raw, folder: Path, by: str = "", most: int = 4
) -> tuple[DatasetConfig, Cut, dict[str, Path], dict[str, int]]:
    """The data set's config, what came of the rows, and the folder of each partition."""
    config, source = DatasetConfig.model_validate(raw.config), str(raw.write(folder / "raw"))
    grouping = Grouping.of(config, source, by or "store")
    groups = grouping.groups(count_keys(config, source))
    places = assign(groups, most, {})
    (folder / "cut").mkdir()
    done = cut(config, source, grouping, groups, places, folder / "cut")
    return config, done, {path.name: path for path in sorted((folder / "cut").iterdir())}, places


def ingested(folder: Path) -> IngestResult:
    """What a partition is ingested to."""
    (folder / "panel").mkdir()
    return ingest(load_dataset_config(folder / CONFIG), str(folder), folder / "panel", today=TODAY)


def larger() -> Raw:
    """Six stores in three cities, with what goes wrong: a gap, negative sales, a store without a line."""
    raw = Raw()
    for name in ("train", "test", "visits"):
        frame = raw.tables[name]
        more = [frame.assign(store=str(int(n))) for n in range(3, 7)]
        keep = frame["store"] == "1"
        raw.tables[name] = pd.concat([frame, *(part[keep] for part in more)], ignore_index=True)
    raw.tables["stores"] = pd.DataFrame(
        {"store": list("123456"), "city": ["Quito", "Cuenca", "Quito", "Loja", "Loja", "Cuenca"]}
    )
    raw.cell(3, "sales", "-4")
    raw.cell(8, "sales", "7000")
    raw.drop("train", 50, 51)
    return raw


def test_a_panel_is_cut_by_a_key_of_another_name_than_its_column(tmp_path: Path) -> None:
    raw = larger()
    raw.config["keys"] = {"shop": "store", "family": "family"}
    raw.config["tables"][0]["join"] = {"shop": "store"}
    raw.config["tables"][1]["join"] = {"date": "date", "shop": "store"}
    _, _, folders, _ = divide(raw, tmp_path, "shop")
    panels = [ingested(folder).panel for folder in folders.values()]
    assert [panel.n_series for panel in panels] == [4, 4, 4]
    assert all(len(set(panel.static["shop"])) == 2 for panel in panels)


@pytest.mark.parametrize(("by", "partitions"), [("store", 3), ("family", 2), ("city", 3)])
def test_the_partitions_panels_are_the_panel(
    by: str, partitions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(spill, "GROUP_ROWS", 20)
    raw = larger()
    raw.config["known"] = {"promo": "promo", "twice": "promo=2"}
    whole = raw.ingest(tmp_path / "whole").panel
    _, done, folders, _ = divide(raw, tmp_path, by)
    assert len(folders) == partitions
    panels = [ingested(folder).panel for folder in folders.values()]
    assert sorted(uid for panel in panels for uid in panel.ids) == sorted(whole.ids)
    assert sum(done.rows.values()) == len(raw.tables["train"])
    for panel in panels:
        rows = pd.Index(whole.ids).get_indexer(pd.Index(panel.ids))
        assert list(panel.dates) == list(whole.dates)
        np.testing.assert_array_equal(panel.y, whole.y[rows])
        for kind in ("known", "past"):
            own, all_of_them = getattr(panel, kind), getattr(whole, kind)
            assert own.keys() == all_of_them.keys()
            for name in own:
                np.testing.assert_array_equal(own[name], all_of_them[name][rows])
        pd.testing.assert_frame_equal(panel.static, whole.static.iloc[rows], check_like=True)
        assert panel.events["event"].tolist() == whole.events["event"].tolist()


def test_the_rows_of_a_group_lie_together(tmp_path: Path) -> None:
    _, _, folders, places = divide(larger(), tmp_path, "city")
    for name, folder in folders.items():
        cities = set(parquet.read_frame(folder / "stores.parquet")["city"])
        assert {part_name("shop", places[city]) for city in cities} == {name}


def test_a_table_that_all_need_is_in_every_partition_and_one_by_store_is_cut(tmp_path: Path) -> None:
    raw = larger()
    _, _, folders, _ = divide(raw, tmp_path)
    for folder in folders.values():
        assert len(parquet.read_frame(folder / "holidays.parquet")) == len(raw.tables["holidays"])
        stores = set(parquet.read_frame(folder / "train.parquet")["store"])
        assert set(parquet.read_frame(folder / "visits.parquet")["store"]) == stores


def test_rows_without_a_group_go_to_the_first_partition_whose_ingest_tells_of_them(tmp_path: Path) -> None:
    raw = larger()
    raw.rules(max_quarantined_share=0.5)
    raw.cell(5, "store", "")
    _, _, folders, _ = divide(raw, tmp_path)
    found = [ingested(folder).quality.to_dict()["totals"]["rows_quarantined"] for folder in folders.values()]
    assert found == [1, 0, 0]


def test_lines_that_are_no_rows_are_told_with_their_numbers(tmp_path: Path) -> None:
    raw = larger()
    lines = raw.csv("train").splitlines(keepends=True)
    raw.files["train.csv"] = b"".join([*lines[:4], b"7,2024-02-15\n", *lines[4:]])
    _, done, _, _ = divide(raw, tmp_path)
    assert [(line.row, line.text) for line in done.malformed["train.csv"]] == [(4, "7,2024-02-15")]
    assert sum(done.rows.values()) == len(raw.tables["train"])


def test_a_store_without_history_joins_those_with_some(tmp_path: Path) -> None:
    raw = larger()
    new = raw.tables["test"].query("store == '1'").assign(store="9")
    raw.tables["test"] = pd.concat([raw.tables["test"], new], ignore_index=True)
    raw.tables["stores"] = pd.concat([raw.tables["stores"], pd.DataFrame({"store": ["9"], "city": ["Loja"]})])
    _, _, folders, places = divide(raw, tmp_path)
    result = ingested(folders[part_name("shop", places["9"])])
    assert {"9|BREAD", "9|MILK"} <= set(result.panel.ids)
    assert result.quality.series_without_history == ["9|BREAD", "9|MILK"]


def test_a_partition_that_no_future_rows_name_knows_of_none_yet(tmp_path: Path) -> None:
    raw = larger()
    raw.rules(future_known="zero")
    raw.tables["test"] = raw.tables["test"].query("store in ['1', '2']")
    whole = raw.ingest(tmp_path / "whole").panel
    _, _, folders, _ = divide(raw, tmp_path)
    panels = [ingested(folder).panel for folder in folders.values()]
    assert 0 in {len(parquet.read_frame(folder / "test.parquet")) for folder in folders.values()}
    assert sorted(uid for panel in panels for uid in panel.ids) == sorted(whole.ids)


def test_a_future_file_without_rows_is_cut_into_such_files(tmp_path: Path) -> None:
    raw = larger()
    raw.rules(future_known="zero")
    raw.tables["test"] = raw.tables["test"].head(0)
    _, _, folders, _ = divide(raw, tmp_path)
    for folder in folders.values():
        result = ingested(folder)
        assert result.panel.future_dates.size == result.panel.horizon
        assert "test.parquet has no rows: nothing of the future is known" in result.quality.notes


def test_a_column_that_is_no_group_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be cut by 'sales'(.|\n)*one of store, family, city"):
        divide(larger(), tmp_path, "sales")


@settings(max_examples=25)
@given(data=st.data())
def test_series_and_rows_are_counted_as_they_come(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = st.tuples(st.sampled_from(["1", "2", "30", ""]), st.sampled_from(["A", "B", "ü"]))
    rows = data.draw(st.lists(keys, min_size=1, max_size=40))
    folder = tmp_path_factory.mktemp("groups")
    frame = pd.DataFrame(rows, columns=["store", "family"]).assign(date="2024-02-15", sales="1")
    (folder / "train.csv").write_text(frame.to_csv(index=False))
    config = DatasetConfig.model_validate(
        {"name": "n", "freq": "D", "horizon": 2, "train": "train.csv", "date": "date", "target": "sales"}
        | {"keys": ["store", "family"]}
    )
    found = count_keys(config, str(folder))["store"]
    named = frame[frame["store"] != ""]
    expected = named.groupby("store").agg(rows=("family", "size"), series=("family", "nunique"))
    assert found == {str(s): Group(int(row.series), int(row.rows)) for s, row in expected.iterrows()}


def test_what_is_cut_by_is_in_the_configs_own_words(tmp_path: Path) -> None:
    _, _, folders, _ = divide(larger(), tmp_path)
    said = yaml.safe_load((folders["shop-002"] / CONFIG).read_text())
    assert said["name"] == "shop-002"
    assert said["train"] == "train.parquet"
    assert read_panel(ingested(folders["shop-002"]).folder).n_series == 4


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), parts=st.integers(1, 4))
def test_pooled_scores_are_those_of_the_panel(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    series, horizon = 12, 4
    rows = [
        (f"s{i}", h, c, m)
        for m in ("a", "b")
        for c in ("2024-01-01", "2024-01-05")
        for i in range(series)
        for h in range(horizon)
    ]
    frame = pd.DataFrame(rows, columns=["unique_id", "h", "cutoff", "model"])
    frame["y"] = rng.poisson(3, len(frame)).astype(float)
    frame["yhat"] = rng.gamma(2, 2, len(frame))
    spread = np.sort(rng.gamma(2, 2, (len(frame), len(QUANTILE_COLUMNS))), axis=1)
    frame[list(QUANTILE_COLUMNS)] = spread
    scale = pd.Series(rng.choice([0.0, 1.5, 2.0], series), index=[f"s{i}" for i in range(series)])
    frame["part"] = frame["unique_id"].str[1:].astype(int) % parts
    each = [
        score(own, ["model", "cutoff"], scale).assign(series=own["unique_id"].nunique())
        for _, own in frame.groupby("part")
    ]
    whole = score(frame, ["model", "cutoff"], scale).assign(series=series)
    pooled = pooled_scores(pd.concat(each))
    pd.testing.assert_frame_equal(pooled, whole[list(pooled.columns)], check_dtype=False)


def test_the_last_fold_of_a_partition_is_that_of_the_training_its_model_comes_from() -> None:
    rows = [
        ("a", "2024-01-01", 1.0),
        ("a", "2024-01-05", 2.0),
        ("b", "2023-12-30", 3.0),
        ("b", "2024-01-03", 4.0),
    ]
    scores = pd.DataFrame(rows, columns=["partition", "cutoff", "rmsle"])
    assert list(on_last_folds(scores)["rmsle"]) == [2.0, 4.0]


def bundle_of(panel: Panel, context: Path, folder: Path, name: str) -> Path:
    """A bundle of the seasonal naive."""
    model = SeasonalNaive(NaiveConfig())
    model.fit(panel, FitContext())
    plain = Calibration(QUANTILES, panel.horizon, 1, (1.0,) * len(QUANTILES), {}, {})
    about = {"dataset": name, "keys": ["store", "family"], "horizon": panel.horizon}
    about |= dict.fromkeys(("cutoff", "fitted_to"), str(panel.cutoff.date()))
    write_bundle(folder, model, plain, context, about)
    return folder


@pytest.fixture
def bundles(tmp_path: Path) -> dict[str, Path]:
    """A bundle for each partition of the shop, whose last store opened a week late."""
    raw = larger()
    train = raw.tables["train"]
    raw.tables["train"] = train[(train["store"] != "6") | (train["date"] >= "2024-02-22")]
    _, _, folders, places = divide(raw, tmp_path, most=2)
    assert places["6"] not in {places[name] for name in "12345"}
    made = {}
    for name, folder in folders.items():
        done = ingested(folder)
        made[name] = bundle_of(done.panel, done.folder, tmp_path / "bundles" / name, name)
    return made


def test_the_bundles_of_partitions_answer_as_one(bundles: dict[str, Path], tmp_path: Path) -> None:
    join_bundles(bundles, tmp_path / "joined", "shop")
    whole = load_bundle(tmp_path / "joined")
    alone = {str(uid): bundle for bundle in map(Bundle.load, bundles.values()) for uid in bundle.ids}
    assert sorted(alone) == sorted(map(str, whole.ids))
    rows = np.random.default_rng(1).permutation(len(whole.ids))
    forecast = whole.what_if(rows, {}, no_events())
    assert list(forecast.ids) == list(whole.ids[rows])
    for place, row in enumerate(rows):
        bundle = alone[str(whole.ids[row])]
        own = bundle.forecast().query("unique_id == @whole.ids[@row]")
        np.testing.assert_allclose(forecast.point[place], own["yhat"])


def test_what_if_changes_reach_the_series_that_they_are_of(bundles: dict[str, Path], tmp_path: Path) -> None:
    join_bundles(bundles, tmp_path / "joined", "shop")
    whole = load_bundle(tmp_path / "joined")
    asked: list[tuple[str, float]] = []

    def heard(model: SeasonalNaive, panel: Panel) -> Forecast:
        asked.extend(zip(map(str, panel.ids), panel.known["promo"][:, -1], strict=True))
        return seasonal(model, panel)

    seasonal = SeasonalNaive.forecast
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeasonalNaive, "forecast", heard)
        rows = np.array([0, len(whole.ids) - 1])
        whole.what_if(rows, {"promo": {int(rows[1]): {"2024-03-19": 99.0}}}, no_events())
    promoted = {uid for uid, value in asked if value == 99.0}
    assert promoted == {str(whole.ids[rows[1]])}


def test_memory_holds_the_models_of_the_partitions_that_were_asked_last(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    join_bundles(bundles, tmp_path / "joined", "shop")
    whole = load_bundle(tmp_path / "joined")
    assert isinstance(whole, JoinedBundle)
    loaded: list[Path] = []
    load = Bundle.load.__func__  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, "load", classmethod(lambda cls, path: loaded.append(path) or load(cls, path)))
        for row in (0, 2, 0, 2, 4, 0):
            whole.what_if(np.array([row]), {}, no_events())
    assert [path.name for path in loaded] == ["shop-001", "shop-002", "shop-003", "shop-001"]


def test_the_panel_of_all_begins_with_the_first_partition_and_each_sees_its_own_dates(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    about = join_bundles(bundles, tmp_path / "joined", "shop")
    panel = read_panel(tmp_path / "joined" / "context")
    starts = {part["name"]: part["start"] for part in about["partitions"]}
    assert set(starts.values()) == {"2024-02-15", "2024-02-22"}
    assert str(panel.dates[0].date()) == "2024-02-15"
    late = [str(uid).startswith("6") for uid in panel.ids]
    assert np.isnan(panel.y[late, :7]).all()
    assert all(np.isfinite(values).all() for values in panel.known.values())


def test_bundles_of_different_cutoffs_are_no_whole(bundles: dict[str, Path], tmp_path: Path) -> None:
    path = bundles["shop-002"] / "bundle.json"
    path.write_text(path.read_text().replace("2024-03-15", "2024-03-08"))
    with pytest.raises(ReleaseError, match=r"differ in their cutoff(.|\n)*2024-03-08 of shop-002"):
        join_bundles(bundles, tmp_path / "joined", "shop")


def test_a_bundle_of_partitions_is_no_model_of_a_whole_panel(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    join_bundles(bundles, tmp_path / "joined", "shop")
    with pytest.raises(ModelError, match="models of several partitions"):
        Bundle.load(tmp_path / "joined")


def test_the_whole_stands_for_its_partitions_where_no_data_set_is_named(tmp_path: Path) -> None:
    store = DatasetStore(str(tmp_path))
    for name in ("shop-001", "shop-002", "shop-2024", "other-001"):
        uris.write_text(str(tmp_path / "releases" / name / "current.json"), "{}")
    uris.write_text(str(tmp_path / "partitions" / "shop.json"), '{"groups": {"1": 1, "2": 2, "3": 1}}')
    assert datasets(store) == ["other-001", "shop-001", "shop-002", "shop-2024"]
    uris.write_text(str(tmp_path / "releases" / "shop" / "current.json"), "{}")
    assert datasets(store) == ["other-001", "shop", "shop-2024"]


def test_what_became_of_the_partitions_rows_adds_up(tmp_path: Path) -> None:
    raw = larger()
    whole = raw.ingest(tmp_path / "whole").quality.to_dict()
    _, _, folders, _ = divide(raw, tmp_path)
    parts = {name: ingested(folder).quality.to_dict() for name, folder in folders.items()}
    pooled = pooled_quality(parts)
    for name in ("rows_added", "rows_quarantined"):
        assert pooled["totals"][name] == whole["totals"][name]
    assert pooled["panel"] == whole["panel"]
    assert pooled["added"]["gaps"]["count"] == whole["added"]["gaps"]["count"]
    assert {file["file"] for file in pooled["files"]} >= {"shop-001/train.parquet", "shop-003/train.parquet"}


def test_a_key_is_the_same_as_a_number_of_parquet_and_as_text(tmp_path: Path) -> None:
    raw = larger()
    folder = raw.write(tmp_path / "raw")
    frame = pd.read_csv(folder / "train.csv")
    frame["family"] = frame["family"].astype("category")
    frame.to_parquet(folder / "train.parquet")
    config = DatasetConfig.model_validate({**raw.config, "train": "train.parquet"})
    counts = count_keys(config, str(folder))
    assert {name: group.series for name, group in counts["store"].items()} == dict.fromkeys("123456", 2)
    assert {name: group.series for name, group in counts["family"].items()} == {"BREAD": 6, "MILK": 6}


def test_a_panel_is_cut_by_its_coarsest_key_of_which_no_value_is_too_large() -> None:
    stores = {str(n): Group(33, 1) for n in range(54)}
    families = {f"F{n}": Group(54, 1) for n in range(33)}
    counts = {"store": stores, "family": families}
    assert coarsest_key(counts, 594) == "family"
    assert coarsest_key(counts, 53) == "store", "a family has 54"
    assert coarsest_key(counts, 5) == "store", "none fits: the finest"


def test_the_service_asks_models_of_partitions_without_what_only_an_ingest_needs() -> None:
    code = "import sys, serving.champion; sys.exit('pandera' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[2])
