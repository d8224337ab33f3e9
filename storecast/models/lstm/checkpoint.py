"""Checkpoints of a fit: one safetensors file, replaced atomically, so that a killed fit goes on from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass
class Training:
    """All that changes while a fit runs. Random numbers need no state: each step seeds its own."""

    network: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    step: int = 0
    loss: Tensor = field(default_factory=lambda: torch.zeros(()))


def write_checkpoint(path: Path, key: str, training: Training) -> None:
    """Replace the checkpoint at `path`; `key` names the fit it belongs to."""
    names = [name for name, _ in training.network.named_parameters()]
    state = training.optimizer.state_dict()["state"]
    tensors = {"loss": training.loss} | {f"weight/{k}": v for k, v in training.network.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in training.average.items()}
    for index, name in enumerate(names):
        tensors |= {f"{part}/{name}": state[index][part] for part in ("exp_avg", "exp_avg_sq")}
    meta = {
        "key": key,
        "step": str(training.step),
        "adam_step": str(float(state[0]["step"])),  # fewer than `step` where float16 overflowed
        "scaler": json.dumps(training.scaler.state_dict()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=meta)
    temporary.replace(path)


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
    first, second = _part(tensors, "exp_avg"), _part(tensors, "exp_avg_sq")
    state = training.optimizer.state_dict()
    state["state"] = {
        index: {"step": torch.tensor(float(meta["adam_step"])), "exp_avg": first[n], "exp_avg_sq": second[n]}
        for index, (n, _) in enumerate(training.network.named_parameters())
    }
    training.optimizer.load_state_dict(state)
    return True


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}/"): v for k, v in tensors.items() if k.startswith(f"{prefix}/")}
