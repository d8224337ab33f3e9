from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cv_tables import backtest, honest_blend, small_panel

from storecast.blend import fit_weights
from storecast.gate import GateConfig, decide
from storecast.metrics import naive_scale
from storecast.report import ReportInputs, write_report
from storecast.report.forecasts import forecasts, representative
from storecast.report.style import short


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    panel = small_panel()
    cv = backtest(panel)
    cv = pd.concat([cv, honest_blend(cv).merge(_segments(cv), on="unique_id")], ignore_index=True)
    return ReportInputs(
        title="Shops & <more>",
        cv=cv,
        panel=panel,
        weights=fit_weights(cv[cv["model"] != "blend"]),
        decision=decide(cv, "blend", config=GateConfig(min_rows=10)),
        scale=naive_scale(panel),
        fallbacks=[
            {"model": "arima", "unique_id": "1|BOOKS", "reason": "it never sold", "used": "zero"},
            {"model": "arima", "unique_id": "2|BOOKS", "reason": "it never sold", "used": "zero"},
        ],
        quality={"rows read": 12345, "quarantined": {"negative sales": 2}},
        lineage={"panel": "sha256:abc"},
    )


def _segments(cv: pd.DataFrame) -> pd.DataFrame:
    return cv.drop_duplicates("unique_id")[["unique_id", "store_nbr", "family", "city", "state", "type"]]


@pytest.fixture(scope="module")
def folder(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    write_report(path, inputs)
    return path


class Page(HTMLParser):
    """Text, image sources and tags of a page; every tag that opens must close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.images, self.open, self.links = "", list[str](), list[str](), list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
            assert dict(attrs)["alt"]
        self.links += [v or "" for k, v in attrs if k in ("href", "src") and tag != "img"]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_who_won_who_may_be_champion_and_what_went_wrong(folder: Path) -> None:
    page = Page((folder / "report.html").read_text())
    assert not page.open
    for part in (
        "Shops & <more>",
        "blend becomes the champion",
        "below the seasonal naive's",
        "2 series use zero",
    ):
        assert part in page.text
    for part in (
        "1|BOOKS, 2|BOOKS",
        "12,345",
        "quarantined: negative sales",
        "sha256:abc",
        "RMSLE by volume",
    ):
        assert part in page.text


def test_the_page_needs_no_other_file_and_no_network(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    page = Page(html)
    assert len(page.images) == 6
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert not page.links
    assert not re.search(r"https?://|<script", html)


def test_names_from_the_data_cannot_put_markup_into_the_page(folder: Path) -> None:
    assert "<more>" not in (folder / "report.html").read_text()


def test_every_picture_is_there_and_the_same_inputs_give_the_same_bytes(
    folder: Path, inputs: ReportInputs, tmp_path: Path
) -> None:
    names = ["report", "comparison", "forecasts", "horizon", "coverage", "groups", "weights"]
    again = write_report(tmp_path / "new", inputs)
    assert {path.stem for path in again} == set(names)
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in again)
    for path in again:
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_a_run_with_one_fold_and_no_blend_decision_or_static_columns_can_be_reported(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    cv = inputs.cv[(inputs.cv["model"] == "naive") & (inputs.cv["cutoff"] == inputs.cv["cutoff"].max())]
    bare = ReportInputs(
        "bare", cv[["unique_id", "ds", "cutoff", "h", "model", "y", "yhat", *QUANTILES]], inputs.panel
    )
    files = write_report(tmp_path, bare)
    assert [path.name for path in files] == [
        "report.html",
        "comparison.png",
        "forecasts.png",
        "horizon.png",
        "coverage.png",
    ]
    assert "Every model could fit every series" in files[0].read_text()


QUANTILES = ["q0.025", "q0.1", "q0.5", "q0.9", "q0.975"]


def test_the_series_shown_are_spread_over_volumes_and_neither_best_nor_worst(inputs: ReportInputs) -> None:
    rows = inputs.last_fold[inputs.last_fold["model"] == "blend"]
    chosen = representative(inputs, rows)
    recent = pd.Series(inputs.panel.y[:, -112:-16].mean(axis=1), index=inputs.panel.ids)
    assert len(set(chosen)) == 6
    assert recent[chosen[0]] > 4 * recent[chosen[-1]]
    error = ((np.log1p(rows["yhat"]) - np.log1p(rows["y"])) ** 2).groupby(rows["unique_id"]).mean()
    assert error.idxmax() not in chosen
    assert error.idxmin() not in chosen


def test_actuals_that_are_not_known_yet_leave_gaps_and_not_errors(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    cv = inputs.cv.copy()
    cv.loc[cv["ds"] == cv["ds"].max(), "y"] = np.nan
    assert len(write_report(tmp_path, replace(inputs, cv=cv))) == 7


def renamed(inputs: ReportInputs, ending: str) -> ReportInputs:
    names = {str(name): f"{name} {ending}" for name in inputs.panel.ids}
    ids = np.array(list(names.values()), dtype=object)
    panel = replace(inputs.panel, ids=ids, static=inputs.panel.static.set_axis(ids))
    return replace(inputs, cv=inputs.cv.assign(unique_id=inputs.cv["unique_id"].map(names)), panel=panel)


@pytest.mark.parametrize(
    "ending", ["organic " * 30, "有機茶"], ids=["as long as a sentence", "in other letters"]
)
def test_names_leave_the_pictures_their_room_and_nobody_is_warned(
    inputs: ReportInputs, tmp_path: Path, ending: str
) -> None:
    assert len(write_report(tmp_path, renamed(inputs, ending))) == 7


def test_a_name_is_cut_where_it_is_wider_than_its_place() -> None:
    assert short("7|TEA", 5) == "7|TEA"
    assert short("7|GREEN TEA", 5) == "7|GR…"
    assert short("有機茶葉", 5) == "有機…"
    assert short("", 5) == ""


def test_a_forecast_of_one_date_is_a_mark_and_not_a_line_of_no_length(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    told = replace(inputs, cv=inputs.cv[inputs.cv["h"] == 1])
    assert len(write_report(tmp_path, told)) == 7
    assert [
        line.get_marker() for line in forecasts(told).axes[0].lines if line.get_label() == "forecast"
    ] == ["o"]


def test_a_picture_by_group_has_a_line_for_each_group_only_while_they_are_few(inputs: ReportInputs) -> None:
    assert inputs.group_column == "family"
    many = inputs.cv.assign(family=[f"F{i % 100}" for i in range(len(inputs.cv))])
    assert replace(inputs, cv=many).group_column == "store_nbr"
