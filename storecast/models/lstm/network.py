"""The network: an LSTM over weeks of history, and a decoder that all dates of the horizon share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from storecast.models.base import QUANTILES
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.windows import Batch

MEDIAN = QUANTILES.index(0.5)


@dataclass(frozen=True)
class Sizes:
    """Sizes that follow from the data: channels of the inputs and numbers of codes (0 is the unknown one)."""

    encoder: int
    summary: int
    steps: int
    effects: int
    series: int
    static: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch, series: int, static: tuple[int, ...]) -> Sizes:
        """Sizes of a network that reads such batches."""
        steps, effects = batch.steps.shape[-1], batch.effects.shape[-1]
        return cls(batch.encoder.shape[-1], batch.summary.shape[-1], steps, effects, series, static)


class Network(nn.Module):
    """Corrects a window's same-weekday mean, and puts quantiles around the corrected mean.

    To the mean it adds each recent effect of the planned covariates with a weight that it chooses, so that
    a lift larger than any it has seen is forecast too.
    The part of the decoder's first layer that reads the history is computed once per window and added to
    the part that reads the date.
    """

    def __init__(self, sizes: Sizes, config: LstmConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(sizes.encoder, config.hidden, batch_first=True)
        self.series = nn.Embedding(sizes.series, config.series_dim)
        self.static = nn.ModuleList([nn.Embedding(n, config.static_dim) for n in sizes.static])
        codes = config.series_dim + config.static_dim * len(sizes.static)
        self.window = nn.Linear(config.hidden + sizes.summary + codes, config.width)
        self.date = nn.Linear(sizes.steps, config.width, bias=False)
        self.layers = nn.ModuleList([nn.Linear(config.width, config.width) for _ in range(config.layers)])
        self.head = nn.Linear(config.width, 1 + len(QUANTILES) + sizes.effects)
        self.dropout = nn.Dropout(config.dropout)
        for table in [self.series, *self.static]:
            nn.init.normal_(table.weight, std=0.1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def matrices(self) -> list[nn.Parameter]:
        """The weights between hidden layers: what is neither a table of codes nor a bias nor the head."""
        layers = [self.window, self.date, *self.layers]
        return [self.lstm.weight_ih_l0, self.lstm.weight_hh_l0, *(layer.weight for layer in layers)]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, H) mean and (B, H, Q) quantiles of log(1 + y); the quantiles never cross."""
        states, _ = self.lstm(batch.encoder)
        codes = [self.series(batch.series)]
        codes += [table(batch.static[:, k]) for k, table in enumerate(self.static)]
        window = self.dropout(self.window(torch.cat([states[:, -1], batch.summary, *codes], dim=1)))
        x = functional.silu(window[:, None] + self.date(batch.steps))
        for layer in self.layers:
            x = x + functional.silu(layer(x))
        out = self.head(x).float()
        correction, raw, weights = (
            out[..., 0],
            out[..., 1 : 1 + len(QUANTILES)],
            out[..., 1 + len(QUANTILES) :],
        )
        mean = batch.base + batch.spread * correction + (batch.effects * weights).sum(-1)
        return mean, quantiles_around(mean.detach(), batch.spread, raw)


def quantiles_around(mean: Tensor, spread: Tensor, raw: Tensor) -> Tensor:
    """(B, H, Q) the median beside the mean, and positive steps outwards from it."""
    median = mean + spread * raw[..., MEDIAN]
    step = spread[..., None] * functional.softplus(raw - 0.5)
    below = median[..., None] - step[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
    above = median[..., None] + step[..., MEDIAN + 1 :].cumsum(-1)
    return torch.cat([below, median[..., None], above], dim=-1)
