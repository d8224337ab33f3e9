"""Checkpoints of a fit: one safetensors file, replaced atomically, so that a killed fit goes on from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from storecast.store.draft import draft_of


@dataclass
class Training:
    """All that changes while a fit runs. Random numbers need no state: each step seeds its own."""

    network: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))


def write_checkpoint(path: Path, key: str, training: Training) -> None:
    """Replace the checkpoint at `path`; `key` names the fit it belongs to."""
    state = training.optimizer.state_dict()["state"]
    tensors = {"loss": training.loss} | {f"weight/{k}": v for k, v in training.network.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in training.average.items()}
    for index, name in enumerate(_names(training)):
        tensors |= {f"state/{name}/{part}": value for part, value in state[index].items()}
    meta = {
        "key": key,
        "step": str(training.step),
        "scaler": json.dumps(training.scaler.state_dict()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, draft, metadata=meta)


def read_checkpoint(path: Path, key: str, training: Training) -> bool:
    """Bring `training` to the checkpoint's state; False where there is none for this fit."""
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError:
        return False
    if meta.get("key") != key:
        return False
    training.step = int(meta["step"])
    training.loss = tensors["loss"]
    training.network.load_state_dict(_part(tensors, "weight"))
    for name, value in _part(tensors, "average").items():
        training.average[name].copy_(value)
    training.scaler.load_state_dict(json.loads(meta["scaler"]))
    state = training.optimizer.state_dict()
    state["state"] = {index: _part(tensors, f"state/{name}") for index, name in enumerate(_names(training))}
    training.optimizer.load_state_dict(state)
    return True


def _names(training: Training) -> list[str]:
    """The parameters' names in the optimiser's order."""
    names = {parameter: name for name, parameter in training.network.named_parameters()}
    return [names[parameter] for group in training.optimizer.param_groups for parameter in group["params"]]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}/"): v for k, v in tensors.items() if k.startswith(f"{prefix}/")}
