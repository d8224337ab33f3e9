"""What a tuning may choose is checked against the model before anything is fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storecast.configs import config_folder
from storecast.errors import ConfigError
from storecast.models.catalogue import load_spec
from storecast.search_space import check_space, load_search_space, value_at, with_values

SHIPPED = sorted(path.stem for path in config_folder("search_spaces").glob("*.yaml"))


def space_of(folder: Path, text: str) -> Any:
    (folder / "space.yaml").write_text(f"params:\n  {text}\n")
    return load_search_space(str(folder / "space.yaml")).of("full")


def test_the_four_models_that_can_be_tuned_have_a_space() -> None:
    assert SHIPPED == ["arima", "gbm", "lstm", "prophet"]


@pytest.mark.parametrize("model", SHIPPED)
@pytest.mark.parametrize("profile", ["full", "quick", "smoke"])
def test_a_shipped_space_fits_its_model_and_holds_the_models_own_values(model: str, profile: str) -> None:
    space, spec = load_search_space(model).of(profile), load_spec(model)
    check_space(space, spec, profile, model)
    base = spec.config(profile).model_dump(mode="json")
    outside = [path for path, parameter in space.items() if not parameter.holds(value_at(base, path, model))]
    assert not outside, (
        "the first trial is the model as it is; a space without it would learn nothing from it"
    )


@pytest.mark.parametrize(
    ("model", "text", "complaint"),
    [
        ("lstm", "hiden: {type: int, low: 8, high: 64}", "did you mean 'hidden'"),
        ("gbm", "boosters.0.leafs: {type: int, low: 8, high: 64}", r"did you mean 'boosters\.0\.leaves'"),
        ("gbm", "boosters.7.leaves: {type: int, low: 8, high: 64}", "no parameter 'boosters.7.leaves'"),
        ("lstm", "dropout: {type: float, low: 0.1, high: 1.5}", r"dropout = 1\.5"),
        ("arima", "criterion: {type: choice, choices: [aic, hqic]}", "criterion = 'hqic'"),
        ("lstm", "hidden: {type: int, low: 64, high: 8}", "low must be below high"),
        ("lstm", "rate: {type: float, low: 0, high: 0.1, log: true}", "low above 0"),
        ("lstm", "rate: {type: real, low: 0, high: 0.1}", "line 2: params.rate"),
    ],
)
def test_a_space_that_does_not_fit_says_what_is_wrong(
    model: str, text: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_space(space_of(tmp_path, text), load_spec(model), "full", "space.yaml")


def test_a_model_without_a_space_is_answered_with_those_that_have_one() -> None:
    with pytest.raises(ConfigError, match="arima, gbm, lstm, prophet"):
        load_search_space("naive")


@given(st.sampled_from(["hidden", "rate", "boosters.0.rounds", "boosters.1.leaves"]), st.integers(1, 99))
def test_a_value_lands_where_its_path_leads_and_nowhere_else(path: str, value: int) -> None:
    base = {"hidden": 64, "rate": 0.5, "boosters": [{"rounds": 1, "leaves": 2}, {"rounds": 3, "leaves": 4}]}
    changed = with_values(base, {path: value})
    assert value_at(changed, path, "") == value
    assert with_values(changed, {path: value_at(base, path, "")}) == base
    assert base["boosters"] == [{"rounds": 1, "leaves": 2}, {"rounds": 3, "leaves": 4}], "a copy was changed"
