"""Write constraints.txt: the exact version of every package that the project and its tools need.

Usage: `make constraints` (or `python scripts/constraints.py`), after a change of pyproject.toml or to take
newer versions. pip resolves without installing; local labels (torch 2.13.0+cpu) are left out, so that the
same pin fits the CPU wheel and the package index's. Give pip the CPU wheel (`PIP_FIND_LINKS=folder`) when
running this: what only a GPU build needs is not to be listed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = "# Every package of the project and its tools at its exact version. Written by `make constraints`.\n"

EARLIER = {"async-timeout": "5.0.1"}
"""What only Pythons before 3.11.3 need (Debian 12 has 3.11.2); pip, run by a later one, does not list it."""


def resolve() -> dict[str, str]:
    """Normalised name → version of everything pip would install for the project, its extras and its tools."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
        "--no-build-isolation", "--report", "-", "--group", "dev",
        "--editable", ".[s3,kubernetes,kfp,serving,dashboard,postgres,mlflow-server]",
    ]  # fmt: skip
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603
    found = (item["metadata"] for item in report["install"])
    return EARLIER | {
        re.sub(r"[-_.]+", "-", m["name"]).lower(): m["version"].partition("+")[0] for m in found
    }


def main() -> None:
    """Resolve and write."""
    pins = [f"{name}=={version}\n" for name, version in sorted(resolve().items()) if name != "storecast"]
    temporary = ROOT / "constraints.txt.new"
    temporary.write_text(HEADER + "".join(pins))
    temporary.replace(ROOT / "constraints.txt")
    print(f"constraints.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
