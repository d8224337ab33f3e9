"""Prophet's Stan program, run on arrays: what the library's `fit` runs, without what it does around it.

Around each optimisation the library builds and checks data frames and writes JSON number by number, which for
two years of a series takes longer than the optimisation. Here the same data goes to the same program with the
same options, so the same parameters come back.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from storecast.panel import Floats

RANGE = 0.8
"""Share of the history in which the trend may bend: the library's default."""

ARRAYS = orjson.OPT_SERIALIZE_NUMPY

DATA, INIT, OUTPUT = "data.json", "init.json", "output.csv"
"""What the program reads and writes."""

FEW = 100
"""With fewer dates the library takes Newton's method."""


@dataclass(frozen=True)
class Problem:
    """One series as Prophet models it.

    Attributes:
        days: (T,) days since any date, of the dates that are known.
        y: (T,) the values.
        x: (T, K) seasonal terms and regressors.
        scales: (K,) prior deviations of their effects.
        bends: how often the trend may bend at most.
        bend_scale: prior deviation of a bend.
    """

    days: Floats
    y: Floats
    x: Floats
    scales: Floats
    bends: int
    bend_scale: float

    @property
    def span(self) -> float:
        """Days from the first date to the last."""
        return float(self.days[-1] - self.days[0])

    @property
    def t(self) -> Floats:
        """(T,) time, from 0 to 1."""
        return np.asarray((self.days - self.days[0]) / self.span)

    @property
    def y_scale(self) -> float:
        """What values are divided by."""
        return float(np.abs(self.y).max()) or 1.0

    @property
    def bend_times(self) -> Floats:
        """(S,) times at which the trend may bend, evenly over the first dates."""
        last = int(np.floor(len(self.y) * RANGE)) - 1
        count = min(self.bends, last)
        return np.asarray(self.t[np.linspace(0, last, count + 1).round().astype(int)][1:])


@dataclass(frozen=True)
class Optimum:
    """The most likely parameters, on scaled time and values; `delta` at the problem's `bend_times`."""

    k: float
    m: float
    sigma: float
    delta: Floats
    beta: Floats


class Program:
    """The compiled program and a folder for its files."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder, self._path = folder, path

    def solve(self, problem: Problem, seed: int, iterations: int) -> Optimum:
        """The parameters that maximise the posterior, as `Prophet.fit` finds them.

        Raises:
            RuntimeError: the optimisation failed; Stan's own words.
        """
        times = problem.bend_times
        data, start = _data(problem, times), _start(problem, max(len(times), 1))
        for name in (DATA, INIT, OUTPUT):  # ext4 has whoever cuts a file and writes it anew wait for the disk
            (self._folder / name).unlink(missing_ok=True)
        for name, content in ((DATA, data), (INIT, start)):
            (self._folder / name).write_bytes(orjson.dumps(content, option=ARRAYS))
        if len(problem.y) < FEW:
            self._run("newton", seed, iterations)
        else:
            try:
                self._run("lbfgs", seed, iterations)
            except RuntimeError:
                self._run("newton", seed, iterations)
        return _read(self._folder / OUTPUT, len(times), problem.x.shape[1])

    def _run(self, algorithm: str, seed: int, iterations: int) -> None:
        data, init, output = (self._folder / name for name in (DATA, INIT, OUTPUT))
        command = [
            self._path, "random", f"seed={seed}", "data", f"file={data}",
            f"init={init}", "output", f"file={output}", "refresh=0",
            "method=optimize", f"algorithm={algorithm}", f"iter={iterations}",
        ]  # fmt: skip
        done = subprocess.run(  # noqa: S603 (the library's own program)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ,
            check=False,
        )
        if done.returncode:
            said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")


@contextmanager
def program(library: Any) -> Iterator[Program]:
    """The program that the library was built with; its files are removed afterwards."""
    path = str(library.Prophet().stan_backend.model.exe_file)
    with tempfile.TemporaryDirectory(prefix="storecast-stan-") as folder:
        yield Program(Path(folder), path)


def _data(problem: Problem, times: Floats) -> dict[str, Any]:
    """What the program's data block asks for."""
    n, k = problem.x.shape
    return {
        "T": n,
        "S": max(len(times), 1),
        "K": k,
        "tau": problem.bend_scale,
        "trend_indicator": 0,
        "y": problem.y / problem.y_scale,
        "t": problem.t,
        "cap": np.zeros(n),
        "t_change": times if len(times) else np.zeros(1),
        "s_a": np.ones(k),
        "s_m": np.zeros(k),
        "X": np.ascontiguousarray(problem.x),
        "sigmas": problem.scales,
    }


def _start(problem: Problem, bends: int) -> dict[str, Any]:
    """The trend through the first and the last value, and nothing else."""
    first, last = problem.y[0] / problem.y_scale, problem.y[-1] / problem.y_scale
    return {
        "k": float(last - first),
        "m": float(first),
        "delta": np.zeros(bends),
        "beta": np.zeros(problem.x.shape[1]),
        "sigma_obs": 1.0,
    }


def _read(path: Path, bends: int, terms: int) -> Optimum:
    """The last line of the program's output. Without bends the program has one at 0, which belongs to k."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    names, values = lines[0].split(","), lines[-1].split(",")
    at = {name: float(value) for name, value in zip(names, values, strict=True)}
    delta = np.array([at[f"delta.{s + 1}"] for s in range(max(bends, 1))])
    return Optimum(
        k=at["k"] + (0.0 if bends else float(delta[0])),
        m=at["m"],
        sigma=at["sigma_obs"],
        delta=delta if bends else np.zeros(1),
        beta=np.array([at[f"beta.{j + 1}"] for j in range(terms)]),
    )
