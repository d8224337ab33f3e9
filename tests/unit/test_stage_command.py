"""`python -m components`: the stages by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import components.__main__ as command
from components.stages import STAGES

ROOT = Path(__file__).parents[2]


def test_without_arguments_every_stage_is_listed_in_order_with_a_phrase(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run([]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    assert [row[0] for row in rows] == list(STAGES)
    assert all(len(row) == 2 for row in rows)


def test_the_list_needs_no_heavy_import() -> None:
    code = "import sys, components.__main__ as c; c.run([]); print({'pandas', 'typer'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_stage_that_does_not_exist_is_answered_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run(["trian", "--help"]) == 2
    assert "no stage 'trian': did you mean 'train'?" in capsys.readouterr().err


def test_a_stage_by_name_is_the_module_of_that_name() -> None:
    by_name, by_module = (
        subprocess.run(
            [sys.executable, "-m", *words, "--help"],
            capture_output=True, text=True, cwd=ROOT, timeout=120, check=True,
        ).stdout
        for words in (["components", "ingest"], ["components.ingest"])
    )  # fmt: skip
    assert by_name == by_module
    assert "--dataset" in by_name


def test_every_module_that_is_a_stage_is_in_the_list() -> None:
    modules = {
        f"components.{path.stem}"
        for path in (ROOT / "components").glob("*.py")
        if (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("Stage: ")
    }
    assert modules == set(STAGES.values())
