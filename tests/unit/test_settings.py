"""Settings: variables over YAML over defaults, and errors that name the nearest valid key."""

from pathlib import Path

import pytest

from storecast.errors import ConfigError
from storecast.settings import explain_settings, load_settings


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STORECAST_HOME", "STORECAST_CORES"):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_set_all_is_kept_in_the_current_folder(tmp_path: Path) -> None:
    assert load_settings().root == str(tmp_path / ".storecast")


def test_a_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("storecast.yaml").write_text("cores: 3\nhome: elsewhere\n")
    monkeypatch.setenv("STORECAST_CORES", "5")
    settings = load_settings()
    assert settings.cores == 5
    assert settings.home == Path("elsewhere")
    sources = {name: source for name, _, source in explain_settings()}
    assert sources["cores"] == "STORECAST_CORES"
    assert sources["home"] == "storecast.yaml"
    assert sources["tracking_uri"] == "default"


def test_an_unknown_variable_names_the_nearest_valid_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORECAST_CORE", "2")
    with pytest.raises(ConfigError, match="did you mean STORECAST_CORES"):
        load_settings()


def test_an_unknown_key_in_the_file_names_the_nearest_valid_one() -> None:
    Path("storecast.yaml").write_text("trackinguri: x\n")
    with pytest.raises(ConfigError, match="did you mean 'tracking_uri'"):
        load_settings()


def test_a_wrong_value_names_the_key_and_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORECAST_CORES", "many")
    with pytest.raises(ConfigError, match=r"cores.*many"):
        load_settings()


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORECAST_TRACKING_TOKEN", "hunter2")
    assert "hunter2" not in repr(load_settings())
    assert "hunter2" not in str(explain_settings())
