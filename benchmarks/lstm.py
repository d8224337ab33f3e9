"""Training of the LSTM beside a DataLoader formulation of it: windows per second.

    python -m benchmarks.lstm --data DIR      all of Store Sales; without --data a synthetic panel

Network, loss, optimiser and batch are those of `configs/model_configs/lstm.yaml` in both. Ours gathers a
batch of windows from arrays on the device at once. The peer is a `Dataset` that is asked for one window at a
time and a `DataLoader` that puts them together, in this process or in as many workers as there are cores,
whichever is quicker. On a GPU, where there is one, both compute in mixed precision and ours replays a
recorded step, at the configuration's batch and at larger ones; its share of time busy is what `nvidia-smi`
samples, and its weights are held against those of unrecorded steps. Without a GPU those figures are told to
be missing.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.bars import Bars
from benchmarks.sample import command, ended, whole_panel
from storecast.models.catalogue import load_spec
from storecast.models.lstm.config import LstmConfig
from storecast.models.lstm.encoding import Encoding
from storecast.models.lstm.ensemble import build
from storecast.models.lstm.training import Plan, limited, train
from storecast.models.lstm.windows import Batch, Windows, reach
from storecast.panel import Panel

TIMES, BUSY, ON_GPU = 3, 90, 100_000
WARM, STEPS, GPU_STEPS, GPU_SECONDS = 3, 40, 100, 6.0
GPU_BATCHES = (512, 4_096, 16_384)
NO_GPU = "no GPU here; run it where torch.cuda.is_available()"
Item = tuple[Tensor, ...]


@dataclass(frozen=True)
class Given:
    """A panel as the model reads it."""

    panel: Panel
    encoding: Encoding
    config: LstmConfig

    def windows(self, device: str) -> Windows:
        """The windows of a fit at the panel's cutoff."""
        config, encoding = self.config, self.encoding
        dates = (
            config.train_weeks * encoding.week + self.panel.horizon + reach(encoding, config.context_weeks)
        )
        return Windows(self.panel.last(dates), encoding, config.context_weeks, torch.device(device))


class OneByOne(Dataset[Item]):
    """The same windows, one at a time: what a DataLoader asks a Dataset for."""

    def __init__(self, windows: Windows, count: int) -> None:
        self._windows, self._count = windows, count
        self._first, self._last = windows.origins()

    def __len__(self) -> int:
        """How many are drawn."""
        return self._count

    def __getitem__(self, index: int) -> Item:
        """The inputs of a window drawn at random, then its target and which dates were observed."""
        random = torch.Generator().manual_seed(index)
        row = torch.randint(len(self._windows.series), (1,), generator=random)
        origin = torch.randint(self._first, self._last + 1, (1,), generator=random)
        parts = (*_tensors(self._windows.batch(row, origin)), *self._windows.targets(row, origin))
        return tuple(part[0] for part in parts)


class Loaded(Windows):
    """Windows as the training asks for them, taken from a DataLoader."""

    def __init__(self, whole: Windows, loader: DataLoader[Item]) -> None:
        self.__dict__.update(whole.__dict__)
        self._batches: Iterator[Item] = iter(loader)
        self._next: Item = ()

    def batch(self, rows: Tensor, origins: Tensor, hidden: Tensor | None = None) -> Batch:
        """The loader's next batch."""
        del rows, origins, hidden
        device = self.series.device
        self._next = tuple(part.to(device, non_blocking=True) for part in next(self._batches))
        return Batch(*self._next[:-2])

    def targets(self, rows: Tensor, origins: Tensor) -> tuple[Tensor, Tensor]:
        """The targets of that batch."""
        del rows, origins
        return self._next[-2], self._next[-1]


def _tensors(batch: Batch) -> Item:
    """The tensors of a batch in their order, not copied."""
    return tuple(getattr(batch, name) for name in batch.__dataclass_fields__)


def main() -> int:
    """Measure and print; the exit code."""
    parser = command("lstm", __doc__, 0)
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"steps to measure, the peer's a third ({STEPS})"
    )
    options = parser.parse_args()
    config = load_spec("lstm").config("full")
    if not isinstance(config, LstmConfig):
        raise TypeError("configs/model_configs/lstm.yaml is of another class")
    with tempfile.TemporaryDirectory() as temporary:
        panel = whole_panel(options.data, Path(temporary) / "panel", stores=50)
    if options.series:
        panel = panel.select(slice(0, options.series))
    given, bars = Given(panel, Encoding.of(panel, config.use_past), config), Bars()
    _on_cpu(bars, given, options.steps)
    _on_gpu(bars, given)
    return ended(bars, options.json)


def _on_cpu(bars: Bars, given: Given, steps: int) -> None:
    windows, cores = given.windows("cpu"), len(os.sched_getaffinity(0))
    size = given.config.batch
    with limited(cores):
        ours = _rate(given, windows, steps)
        label, peer = _peer(given, windows, windows, -(-steps // 3))
    bars.more(f"LSTM on {cores} cores, batch {size}", ours, "windows/s", label, peer, TIMES)
    bars.told("  gathering the windows alone", _gathering(windows, size), "windows/s")


def _peer(given: Given, drawn_from: Windows, windows: Windows, steps: int) -> tuple[str, float]:
    """The quicker of a DataLoader's two ways, by name, and its windows per second."""
    size, cores, rates = given.config.batch, len(os.sched_getaffinity(0)), {}
    for workers in (0, cores):
        drawn = OneByOne(drawn_from, size * (WARM + steps + 1))
        loader = DataLoader(drawn, size, num_workers=workers, pin_memory=windows.series.is_cuda)
        rates[workers] = _rate(given, Loaded(windows, loader), steps, recorded=False)
    workers, peer = max(rates.items(), key=lambda item: item[1])
    return f"DataLoader, {workers} workers", peer


def _rate(given: Given, windows: Windows, steps: int, size: int = 0, *, recorded: bool = True) -> float:
    """Windows per second of training steps, after some to warm up."""
    config = given.config.model_copy(update={"batch": size or given.config.batch})
    network = build(windows, given.encoding, config, seed=0)[0]
    times: list[float] = []

    def step(done: int, total: int) -> None:
        del done, total
        if windows.series.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    def run(count: int) -> None:
        train(network, windows, config, Plan(count, config.rate, 0, None, "", step, recorded))

    run(WARM)
    began = time.perf_counter()
    run(steps)
    return steps * config.batch / (times[-1] - began)


def _gathering(windows: Windows, size: int) -> float:
    """Windows per second of what comes before the network."""
    first, last = windows.origins()
    began, count = time.perf_counter(), 20
    for _ in range(count):
        rows = torch.randint(len(windows.series), (size,))
        origins = torch.randint(first, last + 1, (size,))
        windows.batch(rows, origins)
        windows.targets(rows, origins)
    return count * size / (time.perf_counter() - began)


def _on_gpu(bars: Bars, given: Given) -> None:
    if not torch.cuda.is_available():
        bars.missing("LSTM on a GPU: windows/s and share of time busy", NO_GPU)
        return
    name, windows = torch.cuda.get_device_name(), given.windows("cuda")
    bars.most("LSTM, recorded steps: weights' distance to unrecorded", _distance(given, windows), 1e-3)
    found = []
    for size in GPU_BATCHES:
        shortly = _rate(given, windows, GPU_STEPS, size)
        steps = int(GPU_SECONDS * shortly / size) // 20 * 20
        with _watched() as busy:
            rate = _rate(given, windows, steps, size)
        bars.told(f"LSTM on {name}, batch {size}, {busy.share:.0f} % busy", rate, "windows/s")
        found.append((rate, busy.share))
    one, ours = _rate(given, windows, GPU_STEPS * 4, recorded=False), found[0][0]
    bars.more("  recorded steps", ours, "windows/s", "the same unrecorded", one)
    label, peer = _peer(given, given.windows("cpu"), windows, STEPS)
    bars.more(f"  batch {given.config.batch}", ours, "windows/s", label, peer, TIMES)
    rate, share = max(found)
    bars.told("  peer, as published: NVIDIA's TFT on an A100", 17_608, "windows/s")
    if "H200" in name:
        bars.least(f"LSTM on {name}", rate, ON_GPU, "windows/s")
    bars.least("  share of time busy", share, BUSY, "%")


def _distance(given: Given, windows: Windows, steps: int = 60) -> float:
    """How far the weights after recorded steps lie from those after unrecorded ones, relative to these."""

    def quietly(done: int, total: int) -> None:
        del done, total

    weights = []
    for recorded in (True, False):
        network = build(windows, given.encoding, given.config, seed=0)[0]
        plan = Plan(steps, given.config.rate, 0, None, "", quietly, recorded)
        train(network, windows, given.config, plan)
        weights.append(torch.cat([value.flatten() for value in network.state_dict().values()]))
    return float((weights[0] - weights[1]).norm() / weights[1].norm())


class _watched:  # noqa: N801 (a context manager, like those of contextlib)
    """Samples nvidia-smi's utilisation of the GPU while the block runs."""

    share = 0.0

    def __enter__(self) -> _watched:
        command = [
            "nvidia-smi",
            "--query-gpu=utilization.gpu",
            "--format=csv,noheader,nounits",
            "-lms",
            "200",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        told = self._process.communicate(timeout=10)[0]
        samples = [float(line) for line in told.split() if line.isdigit()][2:]
        self.share = sum(samples) / len(samples) if samples else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
