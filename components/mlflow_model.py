"""How MLflow loads a registered bundle: `mlflow.pyfunc.load_model("models:/<name>@champion").predict(frame)`.

MLflow calls `_load_pyfunc` with the bundle's folder; nothing is unpickled. `predict` takes rows that name a
series (`unique_id`, or its key columns) and a date `ds`, and gives them back with the forecast columns added;
columns of known-future covariates, where given, ask "what if".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from storecast.bundle import Bundle
from storecast.settings import load_settings


class Predictor(Protocol):
    """What MLflow needs of a bundle."""

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame's rows in their order, with the forecast columns added."""
        ...


class BundleModel:
    """A bundle with the signature that MLflow's pyfunc calls."""

    def __init__(self, bundle: Predictor) -> None:
        self.bundle = bundle

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Forecast the rows of a frame; there are no parameters."""
        del params
        return self.bundle.predict(model_input)


def _load_pyfunc(path: str) -> BundleModel:
    load_settings()  # they name the keys of an encrypted bundle
    return BundleModel(Bundle.load(Path(path)))
