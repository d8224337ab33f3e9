"""The model that docs/adding-a-model.md adds is fitted, blended and released as the page says."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from components import evaluate, forecast, gate, ingest, train
from components.stage import open_panel, open_store
from storecast.backtest import fold_cutoffs
from storecast.bundle import Bundle
from storecast.synthetic import write_raw

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-model.md"


def test_the_documented_model_takes_one_file_and_one_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    spec = re.search(r"```yaml\n(# The mean.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    assert spec
    (tmp_path / "weekday_mean.py").write_text(code[1])
    own = spec[1].replace("storecast.models.weekday_mean:", "weekday_mean:")
    (tmp_path / "weekday_mean.yaml").write_text(own)
    training = tmp_path / "seven.yaml"
    model = str(tmp_path / "weekday_mean.yaml")
    training.write_text(f"name: seven\nmodels: [naive, {model}]\nfolds: 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    write_raw(tmp_path / "raw", n_stores=3, n_families=3, n_days=200)

    home = str(tmp_path / "home")
    panel = ingest.run("synthetic", str(tmp_path / "raw"), workspace=home)
    whole = open_panel(open_store(home), panel.uri)
    *folds, last = [str(c.date()) for c in [*fold_cutoffs(whole, 2), whole.cutoff]]

    def fits(cutoff: str) -> list[str]:
        return [
            train.run(panel.uri, name, cutoff, str(training), workspace=home).uri for name in ("naive", model)
        ]

    scores = evaluate.run(panel.uri, [uri for fold in folds for uri in fits(fold)], str(training), home)
    decision = gate.run(panel.uri, scores.uri, "", str(training), home)
    assert decision.counts["promoted"]
    made = forecast.run(panel.uri, scores.uri, decision.uri, fits(last), "", home)

    folder = open_store(home).path(made)
    stored = pd.read_parquet(folder / "forecasts.parquet")
    again = Bundle.load(folder / "bundle").forecast()
    pd.testing.assert_frame_equal(stored[again.columns].reset_index(drop=True), again, check_dtype=False)
    assert set(stored) - set(again) == {"mean"}  # what adds up to the sums


def test_the_images_that_the_page_names_are_values_of_the_chart() -> None:
    page = re.search(r"```yaml\n(# values.yaml.*?)```", PAGE.read_text(), re.DOTALL)
    assert page
    named = yaml.safe_load(page[1])
    chart = yaml.safe_load((ROOT / "charts" / "storecast" / "values.yaml").read_text())
    assert named["global"].keys() <= chart["global"].keys()
    for image, values in named["images"].items():
        assert values.keys() <= chart["images"][image].keys()
        assert Path(values["repository"]).name == Path(chart["images"][image]["repository"]).name
