"""What planned covariates let expect: a promotion's course ahead times what promotions have done lately."""

from __future__ import annotations

import torch
from torch import Tensor

from storecast.features import recent_slopes
from storecast.models.lstm.arrays import pad, take, to_device
from storecast.panel import Panel


class Effects:
    """Recent effects of the known-future covariates at each date, own and pooled over a series' peers.

    They tell of a promotion what it has lately done in other stores, before it comes to one that never
    had it. They depend on all series of the panel.
    """

    def __init__(self, panel: Panel, left: int, device: torch.device) -> None:
        x, mean, slope = recent_slopes(panel)
        self._planned = to_device(device, pad(x, left))
        self._usual = to_device(device, pad(mean, left))
        self._slopes = to_device(device, pad(slope, left))

    def of(self, rows: Tensor, last: Tensor, ahead: Tensor, show: Tensor) -> Tensor:
        """(B, H, E) change of log(1 + y) to expect; E: each covariate, window and pool.

        Args:
            rows: (B,) series; last: (B,) padded position of the last date seen.
            ahead: (B, H) padded positions of the dates to forecast.
            show: (B, 1) 0 where the series' own history is hidden.
        """
        usual, slopes = take(self._usual, rows, last), take(self._slopes, rows, last)
        own = slopes[..., :1] * show[..., None, None]
        slopes = torch.cat([own, slopes[..., 1:]], dim=-1)
        change = take(self._planned, rows, ahead)[..., None] - usual[:, None]
        return (change[..., None] * slopes[:, None]).flatten(2)
