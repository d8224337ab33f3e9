"""The fit: windows sampled by recency, AdamW on a one-cycle schedule, the weights averaged at the end."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from storecast.errors import ModelError
from storecast.models.base import QUANTILES
from storecast.models.lstm.checkpoint import Training, read_checkpoint, write_checkpoint
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.network import Network
from storecast.models.lstm.windows import Batch, Windows

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How one fit runs: its length, peak rate and seed, and in which file (or none) it keeps checkpoints."""

    steps: int
    rate: float
    seed: int
    checkpoint: Path | None
    key: str
    progress: Callable[[int, int], None]


def pick_device(wanted: str) -> torch.device:
    """The device named, or for "auto" a GPU where there is one.

    Raises:
        ModelError: a GPU is asked for and there is none.
    """
    found = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "auto":
        return torch.device(found)
    if wanted == "cuda" and found != "cuda":
        raise ModelError("the LSTM is to run on a GPU", found="no GPU", cure="set device to auto or cpu")
    return torch.device(wanted)


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Compute on so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(network: Network, windows: Windows, config: LstmConfig, plan: Plan) -> float:
    """Train in place; the network ends with the averaged weights. Returns the last step's loss.

    Each step seeds its own random numbers from (seed, step), so a resumed fit draws what an uninterrupted
    one draws, and gives the same weights.
    """
    device = next(network.parameters()).device
    training = Training(
        network=network,
        average={k: v.detach().clone() for k, v in network.state_dict().items()},
        optimizer=torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=config.weight_decay),
        scaler=torch.amp.GradScaler(device.type, enabled=_half(device) == torch.float16),
    )
    if plan.checkpoint is not None and read_checkpoint(plan.checkpoint, plan.key, training):
        LOGGER.info("goes on from a checkpoint at step %d of %d", training.step, plan.steps)
    network.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while training.step < plan.steps:
            training.loss = _step(training, windows, config, plan)
            training.step += 1
            if training.step % 20 == 0 or training.step == plan.steps:
                plan.progress(training.step, plan.steps)
            due = training.step % config.checkpoint_steps == 0 or training.step == plan.steps
            if plan.checkpoint is not None and due:
                write_checkpoint(plan.checkpoint, plan.key, training)
    network.load_state_dict(training.average)
    network.eval()
    return float(training.loss)


def predict(networks: Sequence[Network], windows: Windows, batch: int = 2048) -> tuple[Tensor, Tensor]:
    """(n, H) mean and (n, H, Q) quantiles of log(1 + y) after each series' history, averaged, on the CPU."""
    rows = torch.arange(len(windows.series), device=windows.series.device)
    means, quantiles = [], []
    with torch.inference_mode():
        for part in torch.split(rows, batch):
            origins = torch.full_like(part, windows.n_history)
            inputs = windows.batch(part, origins)
            outputs = [network(inputs) for network in networks]
            means.append(torch.stack([mean for mean, _ in outputs]).mean(0).cpu())
            quantiles.append(torch.stack([quantile for _, quantile in outputs]).mean(0).cpu())
    return torch.cat(means), torch.cat(quantiles)


def _step(training: Training, windows: Windows, config: LstmConfig, plan: Plan) -> Tensor:
    torch.manual_seed(plan.seed * 1_000_003 + training.step)
    for group in training.optimizer.param_groups:
        group["lr"] = plan.rate * one_cycle(training.step / plan.steps)
    rows, origins, hidden = _sample(windows, config)
    batch = _forget(windows.batch(rows, origins, hidden), hidden, config.unknown_rate)
    target, seen = windows.targets(rows, origins)
    half = _half(rows.device)
    training.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(rows.device.type, dtype=half, enabled=half is not None):
        mean, quantiles = training.network(batch)
    loss = _loss(mean, quantiles, target, seen, config.pinball_weight)
    torch.autograd.backward(training.scaler.scale(loss))
    training.scaler.unscale_(training.optimizer)
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), 1.0)
    training.scaler.step(training.optimizer)
    training.scaler.update()
    decay = min(config.averaging, (1 + training.step) / (10 + training.step))
    with torch.no_grad():
        for name, value in training.network.state_dict().items():
            training.average[name].lerp_(value, 1 - decay)
    return loss.detach()


def one_cycle(done: float) -> float:
    """Share of the peak rate after that share of the steps: up over the first 10 %, then a cosine to 1 %."""
    if done < 0.1:
        return 0.1 + 9 * done
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))


def _sample(windows: Windows, config: LstmConfig) -> tuple[Tensor, Tensor, Tensor]:
    """(B,) series, (B,) origins by an exponential recency weight, (B,) whether the history is hidden."""
    device = windows.series.device
    first, last = windows.origins()
    span = min(last - first + 1, config.train_weeks * windows.week)
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


def _loss(mean: Tensor, quantiles: Tensor, target: Tensor, seen: Tensor, pinball_weight: float) -> Tensor:
    """Squared error of the log (Huber beyond 2) plus the pinball loss (Koenker and Bassett, 1978)."""
    square = torch.nn.functional.huber_loss(mean, target, reduction="none", delta=2.0)
    levels = torch.tensor(QUANTILES, device=mean.device)
    error = target[..., None] - quantiles
    pinball = torch.maximum(levels * error, (levels - 1) * error).mean(-1)
    return ((square + pinball_weight * pinball) * seen).sum() / seen.sum().clamp(min=1)


def _half(device: torch.device) -> torch.dtype | None:
    """The type to compute in on a GPU beside float32; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
