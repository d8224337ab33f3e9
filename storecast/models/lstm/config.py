"""Parameters of the LSTM."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from storecast.models.base import ModelConfig


class LstmConfig(ModelConfig):
    """Parameters of the LSTM. Lengths are in weeks, so one configuration fits daily and weekly panels."""

    context_weeks: int = Field(default=13, ge=1, description="Weeks of history that the encoder reads.")
    train_weeks: int = Field(default=80, ge=1, description="Windows start in the last so many weeks.")
    half_life_weeks: float = Field(default=40.0, gt=0, description="Age at which a window counts half.")
    hidden: int = Field(default=64, ge=1, description="Units of the LSTM.")
    width: int = Field(default=96, ge=1, description="Units of each decoder layer.")
    layers: int = Field(default=2, ge=0, description="Residual layers of the decoder.")
    series_dim: int = Field(default=8, ge=1, description="Size of a series' embedding.")
    static_dim: int = Field(default=6, ge=1, description="Size of each static covariate's embedding.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout of the encoded history.")
    unknown_rate: float = Field(
        default=0.02, ge=0, lt=1, description="Share of windows whose series, codes or history are hidden."
    )
    use_past: bool = Field(default=False, description="Read the past-only covariates too.")
    members: int = Field(default=1, ge=1, description="Networks whose forecasts are averaged.")
    steps: int = Field(default=1600, ge=1, description="Optimiser steps of each network in a first fit.")
    warm_steps: int = Field(
        default=400, ge=0, description="Optimiser steps of a fit that starts warm; 0: each fit starts anew."
    )
    passes: int = Field(
        default=80, ge=1, description="Most times that a fit goes over its windows, which bounds its steps."
    )
    batch: int = Field(default=1024, ge=1, description="Windows per step.")
    rate: float = Field(default=3e-3, gt=0, description="Peak learning rate of a first fit.")
    warm_rate: float = Field(default=1e-3, gt=0, description="Peak learning rate of a warm fit.")
    weight_decay: float = Field(default=0.01, ge=0, description="Weight decay of the optimiser.")
    averaging: float = Field(default=0.99, ge=0, lt=1, description="Decay of the weights' moving average.")
    pinball_weight: float = Field(default=0.3, ge=0, description="Weight of the quantile loss.")
    checkpoint_steps: int = Field(default=200, ge=1, description="Steps between checkpoints.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where to compute.")
