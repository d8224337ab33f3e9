"""Charts' READMEs, which a script makes from the comments of their values."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.charts.helm import CHARTS

SCRIPT = CHARTS.parent / "scripts" / "chart_readme.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/chart_readme.py as a module."""
    spec = importlib.util.spec_from_file_location("chart_readme", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["chart_readme"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("chart", sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml")))
def test_a_charts_readme_says_what_its_values_say(script: ModuleType, chart: str) -> None:
    folder = CHARTS / chart
    assert (folder / "README.md").read_text() == script.readme(folder), "run python scripts/chart_readme.py"


def test_a_comment_may_run_over_lines_and_belongs_to_the_key_below(script: ModuleType) -> None:
    text = "a:\n  # -- First line,\n  # second.\n  b: 1\n  # Not a description.\n  # -- C\n  c: {d: 2}\n"
    found = [(value.name, value.default, value.text) for value in script.values(text, "here")]
    assert found == [("a.b", 1, "First line, second."), ("a.c", {"d": 2}, "C")]


def test_a_value_without_a_comment_is_refused_by_name(script: ModuleType) -> None:
    with pytest.raises(script.UndocumentedValueError, match=r"charts/x: a\.b has no comment"):
        script.values("a:\n  b: 1\n", "charts/x")


def test_a_readme_that_is_not_current_fails_the_check(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Chart.yaml").write_text("{name: x, version: 1.0.0, appVersion: 2.0.0, description: An x.}")
    (tmp_path / "values.yaml").write_text("# -- An a\na: 1\n")
    monkeypatch.setattr("sys.argv", ["chart_readme.py", "--check", str(tmp_path)])
    assert script.main() == 1
    assert "Not current" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["chart_readme.py", str(tmp_path)])
    assert script.main() == 0
    assert "| `a` | `1` | An a |" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr("sys.argv", ["chart_readme.py", "--check", str(tmp_path)])
    assert script.main() == 0
