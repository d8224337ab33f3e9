"""The LSTM: one global sequence model over all series (PyTorch, imported only when it is used)."""

from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.forecaster import Lstm

__all__ = ["Lstm", "LstmConfig"]
