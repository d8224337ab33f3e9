"""Ingest of whole panels: what is written, that it reads back, and forms other than the synthetic shop's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from raw_files import DAYS, HORIZON, TODAY, Raw

from storecast.calendar import event_days
from storecast.dataset_config import RESERVED, CsvFormat, DatasetConfig, Rules, load_dataset_config
from storecast.errors import DataError, StoreError
from storecast.hierarchy import TOTAL
from storecast.ingest import ingest, read_panel, write_panel
from storecast.ingest.quality import sentences
from storecast.metrics import CV_COLUMNS, METRICS
from storecast.segments import VOLUME

CONFIGS = Path(__file__).parents[2] / "configs" / "datasets"


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_a_panel_reads_back_as_it_was_ingested(tmp_path: Path) -> None:
    result = Raw().ingest(tmp_path)

    panel = read_panel(result.folder)

    assert list(panel.ids) == ["1|BREAD", "1|MILK", "2|BREAD", "2|MILK"]
    assert (panel.n_history, panel.horizon, panel.freq) == (DAYS, HORIZON, "D")
    assert (panel.dates == result.panel.dates).all()
    np.testing.assert_array_equal(panel.y, result.panel.y)
    np.testing.assert_array_equal(panel.known["promo"], result.panel.known["promo"])
    np.testing.assert_array_equal(panel.past["visits"], result.panel.past["visits"])
    assert panel.static.equals(result.panel.static)
    assert panel.static.loc["2|MILK"].to_dict() == {"store": "2", "family": "MILK", "city": "Cuenca"}
    np.testing.assert_array_equal(event_days(panel), event_days(result.panel))
    assert event_days(panel).sum() == 4 + 2  # Founding for all, Quito Day for the two series of Quito


def test_days_are_those_of_the_shops_clock_also_where_clocks_change(tmp_path: Path) -> None:
    raw = Raw()
    raw.config |= {"csv": {"date_format": "%Y-%m-%d %H:%M:%S%z"}, "holidays": None, "future": [], "id": None}
    raw.config["tables"] = [table for table in raw.config["tables"] if "date" not in table["join"]]
    days = pd.to_datetime(raw.tables["train"]["date"]) + pd.Timedelta(days=30)
    raw.tables["train"]["date"] = days.dt.tz_localize("Europe/Berlin").dt.strftime("%Y-%m-%d %H:%M:%S%z")
    raw.rules(future_known="zero")

    panel = raw.ingest(tmp_path).panel

    assert raw.tables["train"]["date"].str[-5:].nunique() == 2
    assert panel.n_history == DAYS
    assert panel.cutoff == days.max()


def test_the_long_table_has_every_series_on_every_date_and_no_sales_after_the_cutoff(tmp_path: Path) -> None:
    result = Raw().ingest(tmp_path)

    frame = pd.read_parquet(result.folder / "panel.parquet")

    assert list(frame.columns) == ["unique_id", "ds", "y", "promo", "visits"]
    assert len(frame) == 4 * (DAYS + HORIZON)
    assert frame.sort_values(["unique_id", "ds"]).index.is_monotonic_increasing
    future = frame["ds"] > result.panel.cutoff
    assert frame.loc[future, ["y", "visits"]].isna().all(axis=None)
    assert frame.loc[future, "promo"].notna().all()


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = Raw().ingest(tmp_path / "a"), Raw().ingest(tmp_path / "b")

    assert hashes(first.folder) == hashes(second.folder)


def test_parquet_gives_the_same_panel_as_csv(tmp_path: Path) -> None:
    csv = Raw().ingest(tmp_path / "csv")
    raw = Raw()
    frame = raw.tables.pop("train")
    typed = frame.assign(
        date=pd.to_datetime(frame["date"]),
        store=frame["store"].astype("uint8"),
        family=frame["family"].astype("category"),
        sales=frame["sales"].astype(float),
        promo=frame["promo"].astype("int16"),
    )
    (tmp_path / "parquet" / "raw").mkdir(parents=True)
    typed.to_parquet(tmp_path / "parquet" / "raw" / "train.parquet")
    raw.config["train"] = ["train.parquet", "train.csv"]

    parquet = raw.ingest(tmp_path / "parquet")

    assert hashes(parquet.folder)["panel.parquet"] == hashes(csv.folder)["panel.parquet"]
    assert parquet.quality.file("train").file == "train.parquet"


def test_the_future_file_s_ids_are_kept_for_an_export(tmp_path: Path) -> None:
    raw = Raw()

    ids = pd.read_parquet(raw.ingest(tmp_path).folder / "ids.parquet")

    test = raw.tables["test"]
    expected = {
        (f"{s}|{f}", d): i
        for s, f, d, i in zip(test["store"], test["family"], test["date"], test["id"], strict=True)
    }
    found = zip(ids["unique_id"], ids["ds"].dt.strftime("%Y-%m-%d"), ids["id"], strict=True)
    assert {(u, d): i for u, d, i in found} == expected


def test_raw_files_may_lie_behind_any_uri(tmp_path: Path) -> None:
    raw = Raw()
    files = fsspec.filesystem("memory")
    for name in raw.tables:
        files.pipe(f"/shop/{name}.csv", raw.csv(name))

    result = ingest(DatasetConfig.model_validate(raw.config), "memory://shop", tmp_path, today=TODAY)

    assert result.panel.n_series == 4
    with pytest.raises(DataError, match="gone"):
        ingest(
            DatasetConfig.model_validate(raw.config | {"train": "gone.csv"}),
            "memory://shop",
            tmp_path,
            today=TODAY,
        )


def test_a_line_of_two_gigabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    raw = Raw()
    folder = tmp_path / "raw"
    raw.write(folder)
    with (folder / "train.csv").open("r+b") as handle:
        handle.truncate(2 << 30)  # sparse: takes no space

    with pytest.raises(DataError, match=r"train\.csv, row 121: a line is longer than 1,048,576 bytes"):
        ingest(DatasetConfig.model_validate(raw.config), folder, tmp_path, today=TODAY)


def test_the_account_reads_as_json_and_as_text(tmp_path: Path) -> None:
    raw = Raw()
    raw.cell(41, "sales", "a lot")
    raw.cell(42, "sales", "-2")

    result = raw.ingest(tmp_path)

    stored = json.loads((result.folder / "quality.json").read_text())
    assert stored == result.quality.to_dict()
    assert stored["totals"]["rows_quarantined"] == 1
    text = sentences(stored)
    assert ", 1 quarantined" in text[0]
    assert "train.csv: 1 repaired: negative sales set to 0 (first: row 42, sales = '-2')" in text
    reason = "sales is not a number; expected a number such as 12.5 (first: row 41, sales = 'a lot')"
    assert f"train.csv: 1 quarantined: {reason}" in text


def test_a_covariate_that_never_changes_is_named(tmp_path: Path) -> None:
    raw = Raw()
    raw.config["known"] = {"promo": "promo", "bogo": "promo=BOGO"}

    notes = raw.ingest(tmp_path).quality.notes

    assert [note for note in notes if "nothing can be learnt" in note] == [
        "bogo is 0 on every date: nothing can be learnt of it"
    ]


def test_a_quarantined_row_keeps_its_raw_values(tmp_path: Path) -> None:
    raw = Raw()
    raw.cell(41, "sales", "a lot")
    raw.cell(41, "promo", "often")

    quarantine = pd.read_parquet(raw.ingest(tmp_path).folder / "quarantine.parquet")

    assert list(quarantine.columns) == ["file", "row", "column", "reason", "expected", "raw"]
    row = quarantine.iloc[0]
    assert (row["file"], row["row"], row["column"]) == ("train.csv", 41, "sales; promo")
    assert json.loads(row["raw"])["sales"] == "a lot"


def test_a_damaged_panel_folder_is_named(tmp_path: Path) -> None:
    folder = Raw().ingest(tmp_path).folder
    (folder / "static.parquet").write_bytes(b"torn")

    with pytest.raises(StoreError, match=r"static\.parquet: cannot be read as Parquet"):
        read_panel(folder)
    with pytest.raises(StoreError, match=r"panel\.json: cannot be read"):
        read_panel(tmp_path)


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("ms"), pa.timestamp("us")])
def test_dates_of_parquet_beyond_those_of_panels_are_quarantined_even_beyond_python_s(
    kind: pa.DataType, tmp_path: Path
) -> None:
    raw = Raw()
    table = pa.Table.from_pandas(raw.tables["train"].assign(sales=1.0))
    days = pd.to_datetime(raw.tables["train"]["date"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    days[[40, 41, 42]] = [2932896, -719162, 104249991]  # 9999-12-31, 0001-01-01 and PostgreSQL's last one
    dates = pa.array(days.astype(np.int32)).cast(pa.date32()).cast(kind)
    (tmp_path / "raw").mkdir()
    pq.write_table(table.set_column(1, "date", dates), tmp_path / "raw" / "train.parquet")
    raw.config["train"] = ["train.parquet"]
    raw.rules(max_quarantined_share=0.1)

    result = raw.ingest(tmp_path)

    assert result.quarantine["row"].tolist() == [41, 42, 43]
    assert set(result.quarantine["reason"]) == {"date is not a date"}
    assert "9999-12-31" in result.quarantine["raw"][0]


def test_a_key_may_have_another_name_than_its_column(tmp_path: Path) -> None:
    raw = Raw()
    raw.config["keys"] = {"shop": "store", "line": "family"}
    for table, join in zip(
        raw.config["tables"], ({"shop": "store"}, {"date": "date", "shop": "store"}), strict=True
    ):
        table["join"] = join

    panel, plain = raw.ingest(tmp_path / "renamed").panel, Raw().ingest(tmp_path / "plain").panel

    assert panel.static.columns.tolist() == ["shop", "line", "city"]
    assert panel.ids.tolist() == plain.ids.tolist()
    np.testing.assert_array_equal(panel.y, plain.y)
    np.testing.assert_array_equal(panel.past["visits"], plain.past["visits"])


def test_no_key_or_static_column_can_be_called_like_a_column_of_scores() -> None:
    columns = [*CV_COLUMNS, *METRICS, "n", "left_out", VOLUME, TOTAL]
    for name in (name for name in columns if name not in RESERVED):
        with pytest.raises(ValueError, match=rf"called '{name}'.*keys: {{my_{name}: {name}}}"):
            DatasetConfig.model_validate({**Raw().config, "keys": [name], "tables": [], "holidays": None})
    assert DatasetConfig.model_validate({**Raw().config, "known": ["mae"]}).known == {"mae": "mae"}


def test_the_real_panel_s_config_is_valid() -> None:
    config = load_dataset_config(CONFIGS / "store_sales.yaml")

    assert config.covariates("static") == ["store_nbr", "family", "city", "state", "type", "cluster"]
    assert config.covariates("known") == ["onpromotion"]
    assert config.covariates("past") == ["transactions", "oil"]


def write_weekly(folder: Path) -> pd.DataFrame:
    """The files of configs/datasets/weekly_example.yaml; returns the sales as ingest should see them."""
    folder.mkdir()
    weeks = pd.date_range("2023-01-02", periods=60, freq="W-MON")
    rng = np.random.default_rng(3)
    sales = pd.DataFrame(
        [
            (w, s, a, float(rng.integers(0, 40)) + 0.5)
            for w in weeks
            for s in ("N1", "S1")
            for a in ("tea", "jam")
        ],
        columns=["week", "shop", "article", "units"],
    )
    tills = pd.concat([sales, sales.iloc[[3]].assign(units=2.5)])  # a second till
    later = weeks.append(pd.date_range(weeks[-1], periods=4, freq="W-MON")[1:])
    prices = pd.DataFrame([(w, a, 2.25 + i % 3) for i, w in enumerate(later) for a in ("tea", "jam")])
    tables = {
        "weekly_sales": tills,
        "shops": pd.DataFrame({"shop": ["N1", "S1"], "area": ["north", "south"]}),
        "prices": prices.set_axis(["week", "article", "price"], axis=1),
        "weather": pd.DataFrame({"week": weeks, "region": "north", "mean_temp": -1.5}),
        "holidays": pd.DataFrame(
            {
                "day": pd.to_datetime(["2023-05-01", "2023-06-08"]),
                "holiday": ["Labour Day", "Fair"],
                "scope": ["country", "region"],
                "region": ["", "south"],
            }
        ),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", sep=";", decimal=",", index=False, date_format="%d.%m.%Y")
    sales.loc[3, "units"] += 2.5
    return sales


def test_a_weekly_panel_is_another_yaml_and_no_code(tmp_path: Path) -> None:
    sales = write_weekly(tmp_path / "raw")
    (tmp_path / "panel").mkdir()

    config = load_dataset_config(CONFIGS / "weekly_example.yaml")
    result = ingest(config, tmp_path / "raw", tmp_path / "panel", today=TODAY)
    panel = read_panel(tmp_path / "panel")

    assert (panel.freq, panel.n_history, panel.horizon) == ("W-MON", 60, 6)
    assert list(panel.ids) == ["N1/jam", "N1/tea", "S1/jam", "S1/tea"]
    expected = sales.assign(unique_id=sales["shop"] + "/" + sales["article"])
    wide = expected.pivot_table(index="unique_id", columns="week", values="units")
    np.testing.assert_allclose(panel.history, wide.to_numpy())
    assert result.quality.file("train").merged["summed"].count == 1
    price = panel.known["price"][0]
    assert price[62] == 2.25 + 62 % 3
    assert (price[63:] == price[62]).all()  # carried forward beyond the last one known
    assert (panel.past["temperature"][0, :60] == -1.5).all()
    assert np.isnan(panel.past["temperature"][2]).all()  # no weather for the south
    fair = event_days(panel, local=True)
    assert fair[:2].sum() == 0
    assert fair[2:].sum() == 2
    assert panel.dates[fair[2].argmax()] == pd.Timestamp("2023-06-05")  # the week that holds 8 June


def test_an_earlier_value_stands_in_where_a_past_table_is_carried_forward(tmp_path: Path) -> None:
    raw = Raw()
    raw.config["tables"][1]["fill"] = "forward"
    raw.drop("visits", 5, 6)
    raw.cell(3, "visits", "250", table="visits")

    visits = raw.ingest(tmp_path).panel.past["visits"]

    assert visits[0, :4].tolist() == [100, 250, 250, 100]
    assert np.isnan(visits[:, DAYS:]).all()


def test_a_panel_of_any_origin_can_be_written_and_read(tmp_path: Path) -> None:
    from storecast.synthetic import make_panel

    panel = make_panel(n_stores=2, n_families=2, n_days=40)

    write_panel(panel, tmp_path, dataset="made")

    again = read_panel(tmp_path)
    np.testing.assert_array_equal(again.y, panel.y)
    assert again.static.equals(panel.static)
    assert again.cutoff == panel.cutoff


@pytest.mark.parametrize("rows", [slice(0, 2), slice(3, 5), slice(5, 6), slice(2, 2)])
def test_some_series_are_read_as_they_stand_in_the_whole(rows: slice, tmp_path: Path) -> None:
    from storecast.synthetic import make_panel

    panel = make_panel(n_stores=2, n_families=3, n_days=40)
    write_panel(panel, tmp_path)
    table = pq.read_table(tmp_path / "panel.parquet")
    pq.write_table(table, tmp_path / "panel.parquet", row_group_size=75)  # a series spans groups

    some, whole = read_panel(tmp_path, rows), read_panel(tmp_path).select(rows)

    np.testing.assert_array_equal(some.y, whole.y)
    np.testing.assert_array_equal(some.known["onpromotion"], whole.known["onpromotion"])
    np.testing.assert_array_equal(some.past["transactions"], whole.past["transactions"])
    assert some.ids.tolist() == whole.ids.tolist() == some.static.index.tolist()


def test_a_panel_that_lacks_rows_is_named(tmp_path: Path) -> None:
    folder = Raw().ingest(tmp_path).folder
    pq.write_table(pq.read_table(folder / "panel.parquet").slice(1), folder / "panel.parquet")

    with pytest.raises(StoreError, match=r"does not have the rows that panel\.json states"):
        read_panel(folder)


def test_empty_texts_in_parquet_are_missing_as_they_are_in_csv(tmp_path: Path) -> None:
    raw = Raw()
    raw.cell(41, "family", "")
    raw.rules(max_quarantined_share=0.5)
    stores = raw.tables.pop("stores").assign(city=["", "unknown"])
    train = raw.tables.pop("train")
    (tmp_path / "raw").mkdir()
    stores.to_parquet(tmp_path / "raw" / "stores.parquet")
    train.to_parquet(tmp_path / "raw" / "train.parquet")
    raw.config["train"] = "train.parquet"
    raw.config["tables"][0]["files"] = "stores.parquet"

    result = raw.ingest(tmp_path)

    assert result.quarantine["reason"].tolist() == ["family is empty"]
    assert set(result.panel.static["city"]) == {"unknown"}
    assert result.quality.file("stores.parquet").repairs["city_empty"].count == 1


def test_the_documented_yaml_is_complete_and_valid() -> None:
    text = (CONFIGS.parents[1] / "docs" / "adding-a-dataset.md").read_text()
    documented = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])

    config = DatasetConfig.model_validate(documented)

    assert set(documented) == set(DatasetConfig.model_fields)
    assert set(documented["rules"]) == set(Rules.model_fields)
    assert set(documented["csv"]) == set(CsvFormat.model_fields)
    assert (config.rules, config.csv) == (Rules(), CsvFormat())


def test_a_panel_knows_which_of_its_covariates_nobody_plans(tmp_path: Path) -> None:
    raw = Raw()
    raw.rules(future_known="last_season")
    raw.config["tables"][1] |= {"kind": "known", "fill": "forward"}
    result = raw.ingest(tmp_path / "planned")
    assert read_panel(result.folder).unplanned == {"visits": "last"}
    raw.tables["test"] = raw.tables["test"].drop(columns="promo")
    result = raw.ingest(tmp_path / "unplanned")
    assert read_panel(result.folder).unplanned == {"visits": "last", "promo": "last_season"}
