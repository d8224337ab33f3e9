"""The networks of one model: `members` of them, alike but for their seed, whose forecasts are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from storecast.models.base import QUANTILES
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.encoding import Encoding
from storecast.models.lstm.network import Network, Sizes
from storecast.models.lstm.windows import Windows


def build(windows: Windows, encoding: Encoding, config: LstmConfig, seed: int) -> list[Network]:
    """Fresh networks of the sizes that the windows and the encoding ask for, on the windows' device."""
    rows = torch.zeros(1, dtype=torch.int64, device=windows.series.device)
    sample = windows.batch(rows, rows + windows.n_history)
    sizes = Sizes.of(sample, 1 + len(encoding.ids), tuple(1 + len(v) for v in encoding.static.values()))
    networks = []
    with torch.random.fork_rng(devices=[]):
        for member in range(config.members):
            torch.manual_seed(member_seed(seed, member))
            networks.append(Network(sizes, config).to(rows.device))
    return networks


def member_seed(seed: int, member: int) -> int:
    """The seed of one member of a model."""
    return seed * 1009 + member


def inherit(
    networks: Sequence[Network], encoding: Encoding, others: Sequence[Network], theirs: Encoding
) -> bool:
    """Copy other networks' weights, embeddings by name; False, and nothing copied, where the sizes differ."""
    same = list(theirs.static) == list(encoding.static) and list(theirs.known) == list(encoding.known)
    if not same or theirs.freq != encoding.freq or len(others) != len(networks):
        return False
    names = {"series.weight": (theirs.ids, encoding.ids)}
    for k, column in enumerate(encoding.static):
        names[f"static.{k}.weight"] = (theirs.static[column], encoding.static[column])
    for mine, other in zip(networks, others, strict=True):
        weights = _translated(other.state_dict(), names)
        if any(
            weights.get(name, value[:0]).shape != value.shape for name, value in mine.state_dict().items()
        ):
            return False
        mine.load_state_dict(weights)
    return True


def to_tensors(networks: Sequence[Network]) -> dict[str, Tensor]:
    """All weights by name, on the CPU; each name starts with the number of its network."""
    return {
        f"{member}.{name}": value.detach().cpu().contiguous()
        for member, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }


def from_tensors(
    tensors: dict[str, Tensor], encoding: Encoding, config: LstmConfig, device: torch.device
) -> list[Network]:
    """The networks whose weights `to_tensors` gave."""
    codes = config.series_dim + config.static_dim * len(encoding.static)
    sizes = Sizes(
        encoder=tensors["0.lstm.weight_ih_l0"].shape[1],
        summary=tensors["0.window.weight"].shape[1] - config.hidden - codes,
        steps=tensors["0.date.weight"].shape[1],
        effects=tensors["0.head.weight"].shape[0] - 1 - len(QUANTILES),
        series=1 + len(encoding.ids),
        static=tuple(1 + len(v) for v in encoding.static.values()),
    )
    networks = []
    for member in range(config.members):
        network = Network(sizes, config)
        start = f"{member}."
        network.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
        networks.append(network.to(device).eval())
    return networks


def _translated(
    weights: dict[str, Tensor], names: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
) -> dict[str, Tensor]:
    """Weights with the embedding tables reordered from the first names to the second; the unknown stays."""
    out = dict(weights)
    for table, (before, after) in names.items():
        code = {value: c for c, value in enumerate(before, start=1)}
        rows = torch.tensor([0, *(code.get(value, 0) for value in after)], device=weights[table].device)
        out[table] = weights[table][rows]
    return out
