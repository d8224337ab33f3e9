"""Writes each chart's README.md from its Chart.yaml, its ABOUT.md and the `# --` comments of its values.yaml.

python scripts/chart_readme.py [--check] [CHART_FOLDER...]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[1] / "charts"
_KEY = re.compile(r"^( *)([A-Za-z][\w.-]*):")
_COMMENT = re.compile(r"^ *#(?: (.*))?$")


class UndocumentedValueError(Exception):
    """A value has no `# --` comment: where, and what to write."""


@dataclass(frozen=True)
class Value:
    """A documented value: its dotted name, its default, and what it means."""

    name: str
    default: Any
    text: str


def documented(text: str) -> dict[str, str]:
    """Dotted names with a `# --` comment right above them, and that comment, which may run over lines."""
    found: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if match := _COMMENT.match(line):
            part = match[1] or ""
            comment = [part[3:]] if part.startswith("-- ") else [*comment, part] if comment else []
            continue
        if match := _KEY.match(line):
            depth = len(match[1])
            stack = [*(entry for entry in stack if entry[0] < depth), (depth, match[2])]
            if comment:
                found[".".join(key for _, key in stack)] = " ".join(comment)
        comment = []
    return found


def values(text: str, where: str) -> list[Value]:
    """All values of a values.yaml. Raises UndocumentedValueError where one is not described."""
    texts = documented(text)
    return list(_walk(yaml.safe_load(text) or {}, "", texts, where))


def _walk(tree: dict[str, Any], above: str, texts: dict[str, str], where: str) -> Iterator[Value]:
    for key, value in tree.items():
        name = f"{above}{key}"
        if name in texts:
            yield Value(name, value, texts[name])
        elif isinstance(value, dict) and value:
            yield from _walk(value, f"{name}.", texts, where)
        else:
            raise UndocumentedValueError(f"{where}: {name} has no comment: put `# -- what it does` above it")


def readme(chart: Path) -> str:
    """Text of a chart's README.md."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    prose = chart / "ABOUT.md"
    parts = [
        f"# {about['name']}",
        f"{about['description'].strip()} Chart {about['version']}, application {about['appVersion']}.",
        *([prose.read_text().strip()] if prose.exists() else []),
        "## Values",
        "| value | default | what it does |\n| --- | --- | --- |\n"
        + "\n".join(_row(value) for value in values((chart / "values.yaml").read_text(), str(chart))),
        "This file is made by `python scripts/chart_readme.py` from Chart.yaml, ABOUT.md and values.yaml.",
    ]
    return "\n\n".join(parts) + "\n"


def _row(value: Value) -> str:
    default = json.dumps(value.default).replace("|", "\\|")
    return f"| `{value.name}` | `{default}` | {value.text.replace('|', chr(92) + '|')} |"


def main() -> int:
    """Writes, or with --check compares; 1 where something is to do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a README is not current")
    parser.add_argument("charts", nargs="*", type=Path, help="chart folders; without any, all of charts/")
    chosen = parser.parse_args()
    stale = []
    for chart in chosen.charts or sorted(file.parent for file in CHARTS.glob("*/Chart.yaml")):
        path = chart / "README.md"
        try:
            text = readme(chart)
        except UndocumentedValueError as error:
            print(error, file=sys.stderr)
            return 1
        if chosen.check and (not path.exists() or path.read_text() != text):
            stale.append(str(path))
        elif not chosen.check:
            path.write_text(text)
    if stale:
        print(f"Not current: {', '.join(stale)}. Run python scripts/chart_readme.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
