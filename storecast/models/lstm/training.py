"""The fit: Muon on a one-cycle schedule, checkpoints on the way, the weights averaged at the end."""

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
from storecast.models.lstm.checkpoint import Training, read_checkpoint, write_checkpoint
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.muon import Muon
from storecast.models.lstm.network import Network
from storecast.models.lstm.steps import Step, half
from storecast.models.lstm.windows import Windows

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How one fit runs.

    Attributes:
        steps: optimiser steps; rate: the peak learning rate; seed: of the random numbers.
        checkpoint: the file that keeps checkpoints, or none; key: names the fit that they belong to.
        progress: told (steps done, steps in all) now and then.
        recorded: whether a GPU that can replays a recording of the step (`storecast.models.lstm.steps`).
    """

    steps: int
    rate: float
    seed: int
    checkpoint: Path | None
    key: str
    progress: Callable[[int, int], None]
    recorded: bool = True


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
    recorded = plan.recorded and half(device) == torch.bfloat16
    training = Training(
        network=network,
        average={k: v.detach().clone() for k, v in network.state_dict().items()},
        optimizer=_optimizer(network, plan.rate, config.weight_decay, device),
        scaler=torch.amp.GradScaler(device.type, enabled=half(device) == torch.float16),
    )
    if plan.checkpoint is not None and read_checkpoint(plan.checkpoint, plan.key, training):
        LOGGER.info("goes on from a checkpoint at step %d of %d", training.step, plan.steps)
    network.train()
    step = Step(training, windows, config, plan.seed, recorded=recorded)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while training.step < plan.steps:
            training.loss = step(plan.rate * one_cycle(training.step / plan.steps))
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


def _optimizer(network: Network, rate: float, decay: float, device: torch.device) -> Muon:
    """Muon; on a GPU its rate lies on the device, where a recorded step reads it anew each time.

    In float16 AdamW is not fused: a step whose gradients overflow is then left out whole, matrices and all.
    """
    matrices = network.matrices()
    chosen = set(matrices)
    others = [parameter for parameter in network.parameters() if parameter not in chosen]
    if device.type != "cuda":
        return Muon(matrices, others, rate, decay)
    fused = half(device) != torch.float16
    return Muon(matrices, others, torch.tensor(rate, device=device), decay, fused=fused, capturable=True)


def one_cycle(done: float) -> float:
    """Share of the peak rate after that share of the steps: up over the first 10 %, then a cosine to 1 %."""
    if done < 0.1:
        return 0.1 + 9 * done
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))
