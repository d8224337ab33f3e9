"""One optimiser step on windows sampled by recency; a GPU records it once and replays it from then on.

A step is some hundreds of small kernels. Launched one by one from Python they leave a GPU idle most of the
time; as a CUDA graph they follow each other without Python in between.
"""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from storecast.models.base import QUANTILES
from storecast.models.lstm.checkpoint import Training
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.windows import Batch, Windows

LOGGER = logging.getLogger(__name__)
WARM_UP = 3
"""Steps computed one kernel at a time before one is recorded: libraries set themselves up in them."""


class Step:
    """Computes the next step of a training: random numbers, rate and averaging follow from its number.

    Args:
        training: the state, changed in place.
        windows: the windows to sample from, on the network's device.
        config: batch, recency, averaging and loss.
        seed: of the fit; each step seeds its own random numbers from (seed, step).
        recorded: record the step as a CUDA graph after the warm-up. Where that fails the log says so, and the
            steps go on unrecorded.
    """

    def __init__(
        self, training: Training, windows: Windows, config: LstmConfig, seed: int, *, recorded: bool
    ) -> None:
        self._training, self._windows, self._config, self._seed = training, windows, config, seed
        device = windows.series.device
        self._levels = torch.tensor(QUANTILES, device=device)
        self._share: float | Tensor = torch.zeros((), device=device) if device.type == "cuda" else 0.0
        self._record = recorded
        self._done = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._loss = torch.zeros((), device=device)

    def __call__(self, rate: float) -> Tensor:
        """The loss of the step, a scalar on the device, which the next step may overwrite."""
        if self._record and self._graph is None and self._done >= WARM_UP:
            self._recording()
        self._prepare(rate)
        if self._graph is not None:
            self._graph.replay()
        elif self._record:
            self._beside()
        else:
            self._loss = self._compute()
        self._done += 1
        return self._loss

    def _prepare(self, rate: float) -> None:
        """Set what changes from step to step, outside of what is recorded."""
        step = self._training.step
        torch.manual_seed(self._seed * 1_000_003 + step)
        for group in self._training.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        share = 1 - min(self._config.averaging, (1 + step) / (10 + step))
        if isinstance(self._share, Tensor):
            self._share.fill_(share)
        else:
            self._share = share

    def _compute(self) -> Tensor:
        training, windows, config = self._training, self._windows, self._config
        rows, origins, hidden = _sample(windows, config)
        batch = _forget(windows.batch(rows, origins, hidden), hidden, config.unknown_rate)
        target, seen = windows.targets(rows, origins)
        kind = half(rows.device)
        training.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(rows.device.type, dtype=kind, enabled=kind is not None, cache_enabled=False):
            mean, quantiles = training.network(batch)
        loss = _loss(mean, quantiles, self._levels, target, seen, config.pinball_weight)
        torch.autograd.backward(training.scaler.scale(loss))
        training.scaler.unscale_(training.optimizer)
        torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
        training.scaler.step(training.optimizer)
        training.scaler.update()
        with torch.no_grad():
            for name, value in training.network.state_dict().items():
                training.average[name].lerp_(value, self._share)
        return loss.detach()

    def _beside(self) -> None:
        """Compute on a stream of its own, as a recording asks of the steps before it."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._loss = self._compute()
        torch.cuda.current_stream().wait_stream(stream)

    def _recording(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            self._training.optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                self._loss = self._compute()
        except RuntimeError as error:
            LOGGER.warning("the GPU cannot record a step, so each is launched anew: %s", error)
            self._record = False
            return
        self._graph = graph


def origins_drawn(windows: Windows, config: LstmConfig) -> int:
    """How many origins, the last ones, windows are drawn from."""
    first, last = windows.origins()
    return min(last - first + 1, config.train_weeks * windows.week)


def _sample(windows: Windows, config: LstmConfig) -> tuple[Tensor, Tensor, Tensor]:
    """(B,) series, (B,) origins by an exponential recency weight, (B,) whether the history is hidden."""
    device = windows.series.device
    last, span = windows.origins()[1], origins_drawn(windows, config)
    rows = torch.randint(len(windows.series), (config.batch,), device=device)
    decay = math.log(2) / (config.half_life_weeks * windows.week)
    share = torch.rand(config.batch, device=device, dtype=torch.float64)
    age = -torch.log1p(-share * -math.expm1(-decay * span)) / decay
    origins = last - age.floor().long().clamp(max=span - 1)
    hidden = torch.rand(config.batch, device=device) < config.unknown_rate / 2
    return rows, origins, hidden


def _forget(batch: Batch, hidden: Tensor, rate: float) -> Batch:
    """Replace some codes by the unknown one, so that new series and new static values are forecast too."""
    keep = torch.rand(batch.series.shape, device=hidden.device) >= rate
    keep_static = torch.rand(batch.static.shape, device=hidden.device) >= rate
    return Batch(
        batch.encoder,
        batch.summary,
        batch.steps,
        batch.base,
        batch.spread,
        batch.effects,
        batch.series * (keep & ~hidden),
        batch.static * keep_static,
    )


def _loss(
    mean: Tensor, quantiles: Tensor, levels: Tensor, target: Tensor, seen: Tensor, pinball_weight: float
) -> Tensor:
    """Squared error of the log (Huber beyond 2) plus the pinball loss (Koenker and Bassett, 1978)."""
    square = torch.nn.functional.huber_loss(mean, target, reduction="none", delta=2.0)
    error = target[..., None] - quantiles
    pinball = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    return ((square + pinball_weight * pinball) * seen).sum() / seen.sum().clamp(min=1)


def half(device: torch.device) -> torch.dtype | None:
    """The type to compute in on a GPU beside float32; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
