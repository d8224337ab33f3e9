"""Every benchmark, one after the other, and one table of all figures beside their bars and peers.

    python -m benchmarks.all --data DIR                      all of them; hours on 2 cores
    python -m benchmarks.all --data DIR --only arima,lstm    some of them
    python -m benchmarks.all --tables DIR                    the table of figures that were kept before
    python -m benchmarks.all --tables DIR --data DIR --go-on what an earlier call did not come to

Each runs in a process of its own and keeps its figures in `--tables` (a folder), of which the table is made.
Exits with 1 where a figure falls short of its bar or a benchmark fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bars import Line, read, text

TAKE_DATA = ("arima", "prophet", "features", "lstm", "cold_start")
OTHERS = ("generality", "scale", "partitions", "serving")
WHOLE = {"run": "full", "best": "best"}
"""`python -m benchmarks`: the whole job on the real panel, which needs --data, and the profiles it runs."""


def main() -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.all",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", default="", help="folder of the Store Sales files; default: synthetic panels"
    )
    parser.add_argument("--only", default="", help="names, by commas")
    parser.add_argument("--profile", default=WHOLE["run"], help="training config of the whole job, `run`")
    parser.add_argument(
        "--tables", default="", help="folder to keep figures in; alone: only print what it holds"
    )
    parser.add_argument("--go-on", action="store_true", help="leave out those whose figures --tables has")
    options = parser.parse_args()
    if options.tables and not options.data and not options.only and not options.go_on:
        return _print(Path(options.tables), [])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.tables or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        names = options.only.split(",") if options.only else _names(options.data)
        if options.go_on:
            names = [name for name in names if not _figures(folder, name).exists()]
        failed = [name for name in names if not _run(name, options.data, options.profile, folder)]
        return _print(folder, failed)


def _names(data: str) -> list[str]:
    return [*(WHOLE if data else ()), *TAKE_DATA, *OTHERS]


def _figures(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _run(name: str, data: str, profile: str, folder: Path) -> bool:
    """Run one; whether it gave figures, good or bad."""
    to = _figures(folder, name)
    to.unlink(missing_ok=True)
    module = "benchmarks" if name in WHOLE else f"benchmarks.{name}"
    extra = ["--data", data] if data and name in (*TAKE_DATA, *WHOLE) else []
    extra += ["--profile", profile if name == "run" else WHOLE[name]] if name in WHOLE else []
    print(f"\n== {module} {' '.join(extra)}".rstrip(), flush=True)
    subprocess.run([sys.executable, "-m", module, *extra, "--json", str(to)], check=False)
    return to.exists()


def _print(folder: Path, failed: Sequence[str]) -> int:
    """The table of what the folder holds; the exit code."""
    tables = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    print(f"\n{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the end")
    for name, lines in tables.items():
        print(f"\n{name}")
        for line in lines:
            print(text(line))
    short = [(name, line) for name, lines in tables.items() for line in lines if line.reached is False]
    _verdict(short, failed, sum(line.reached is not None for lines in tables.values() for line in lines))
    return 1 if short or failed else 0


def _verdict(short: Sequence[tuple[str, Line]], failed: Sequence[str], judged: int) -> None:
    print(f"\n{judged - len(short)} of {judged} bars reached")
    for name, line in short:
        print(f"  not reached: {name}: {line.name}")
    for name in failed:
        print(f"  gave no figures: {name}")


if __name__ == "__main__":
    raise SystemExit(main())
