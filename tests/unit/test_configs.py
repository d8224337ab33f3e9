"""Model and training configs: errors name the file, the key and the nearest valid one."""

from pathlib import Path

import pytest

from storecast.backtest import cutoff_date, fold_cutoffs
from storecast.configs import config_folder
from storecast.errors import ConfigError, DataError
from storecast.models.catalogue import load_class, load_spec
from storecast.store import uri as uris
from storecast.synthetic import make_panel
from storecast.training_config import check_segments, load_training_config


@pytest.mark.parametrize(
    "path", sorted(config_folder("training_configs").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_training_config_that_ships_can_be_run(path: Path) -> None:
    config = load_training_config(path.stem)
    for model in config.models:
        assert load_spec(model).config(config.profile) is not None


def test_the_seasonal_naive_joins_every_training_config(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodels: [gbm]\n")
    assert load_training_config(str(tmp_path / "mine.yaml")).models == ("naive", "gbm")


def test_an_unknown_training_key_names_file_and_nearest_key(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nmodels: [gbm]\nfold: 3\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml(.|\n)*line 3(.|\n)*folds"):
        load_training_config(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blend_segment: famly", r"mine\.yaml: blend_segment(.|\n)*volume, store_nbr, family(.|\n)*'family'"),
        ("gate: {segments: [volume, region]}", r"mine\.yaml: gate\.segments(.|\n)*found: region"),
    ],
)
def test_segments_that_the_panel_lacks_are_named_with_those_it_has(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "mine.yaml").write_text(f"name: mine\nmodels: [gbm]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        check_segments(str(tmp_path / "mine.yaml"), ["store_nbr", "family"])
    check_segments("full", ["store_nbr", "family"])


def test_a_config_may_lie_in_an_object_store_and_change_there() -> None:
    uris.write_text("memory://configs/mine.yaml", "name: mine\nmodels: [gbm]\n")
    assert load_training_config("memory://configs/mine.yaml").folds == 3
    uris.write_text("memory://configs/mine.yaml", "name: mine\nmodels: [gbm]\nfolds: 2\n")
    assert load_training_config("memory://configs/mine.yaml").folds == 2
    with pytest.raises(ConfigError, match=r"memory://configs/yours\.yaml"):
        load_training_config("memory://configs/yours.yaml")


def test_a_mistyped_config_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        load_training_config("quik")


def test_an_unknown_model_parameter_names_the_nearest_valid_one(tmp_path: Path) -> None:
    text = "name: n\nclass: storecast.models.naive:SeasonalNaive\nparams: {season: 3}\n"
    (tmp_path / "n.yaml").write_text(text)
    with pytest.raises(ConfigError, match="did you mean 'seasons'"):
        load_spec(str(tmp_path / "n.yaml")).config()


def test_a_profile_overrides_parameters(tmp_path: Path) -> None:
    text = "name: n\nclass: storecast.models.naive:SeasonalNaive\nparams: {seasons: 3}\n"
    text += "profiles: {quick: {seasons: 2}}\n"
    (tmp_path / "n.yaml").write_text(text)
    spec = load_spec(str(tmp_path / "n.yaml"))
    assert spec.config("quick").model_dump() == {"seasons": 2}
    assert spec.config("full").model_dump() == {"seasons": 3}


def test_a_class_that_is_not_a_forecaster_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="SeasonalNaive"):
        load_class("storecast.models.naive:SeasonalNaiv")
    with pytest.raises(ConfigError, match="no module"):
        load_class("storecast.models.nothing:Model")


def test_a_class_whose_package_is_not_installed_here_is_refused_with_where_it_has_to_be() -> None:
    with pytest.raises(ConfigError, match=r"there is no module 'acme_models'(.|\n)*in the images"):
        load_class("acme_models.mean:Mean")


def test_folds_end_at_the_cutoff_and_do_not_overlap() -> None:
    panel = make_panel(n_stores=1, n_families=1, n_days=200, horizon=16)
    folds = fold_cutoffs(panel, 3)
    assert [(panel.cutoff - fold).days for fold in folds] == [48, 32, 16]


def test_a_history_too_short_for_the_folds_is_refused_with_what_is_needed() -> None:
    panel = make_panel(n_stores=1, n_families=1, n_days=60, horizon=16)
    with pytest.raises(DataError, match="at least 64 dates of history"):
        fold_cutoffs(panel, 3)


def test_a_cutoff_may_be_counted_from_the_end_of_the_panel() -> None:
    panel = make_panel(n_stores=1, n_families=1, n_days=200, horizon=16)
    assert [cutoff_date(panel, f"fold:{k}/3") for k in (1, 2, 3)] == fold_cutoffs(panel, 3)
    assert cutoff_date(panel, "last") == panel.cutoff
    for wrong in ("fold:4/3", "fold:0/3", "fold:3", "first"):
        with pytest.raises(ConfigError, match="not a cutoff"):
            cutoff_date(panel, wrong)
