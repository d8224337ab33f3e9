"""One stage by its name, or the list of them: what a container does.

    python -m components
    python -m components train --help

Exit codes: the stage's own; 2 if there is no such stage.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from components.stages import STAGES

USAGE = "usage: python -m components STAGE [OPTIONS]     (its options: python -m components STAGE --help)"


def run(arguments: Sequence[str]) -> int:
    """Run the stage that the first argument names with the others, or list the stages."""
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_listing())
        return 0
    stage, *options = arguments
    if stage not in STAGES:
        near = difflib.get_close_matches(stage, STAGES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(STAGES)}"
        print(f"there is no stage {stage!r}: {hint}\n{USAGE}", file=sys.stderr)
        return 2
    from components.stage import main

    module = importlib.import_module(STAGES[stage])
    sys.argv = [str(module.__file__), *options]  # as if it were called by its own name
    main(module.run)
    return 0


def _listing() -> str:
    width = max(map(len, STAGES)) + 2
    lines = [f"  {name:<{width}}{_phrase(module)}" for name, module in STAGES.items()]
    return "\n".join([USAGE, "", "stages, in the pipeline's order:", *lines])


def _phrase(module: str) -> str:
    """The first line of a stage's docstring, read from its source: importing one takes seconds."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
    return text.partition("\n")[0].removeprefix("Stage: ").rstrip(".")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
