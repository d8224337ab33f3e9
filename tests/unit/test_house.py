"""The house keeps its order: imports point one way, and every package is pinned."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--config", str(ROOT / ".importlinter")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def copy_sources(to: Path) -> None:
    for package in ("storecast", "components", "serving", "orchestrator", "dashboard", "pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            target = to / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


def test_imports_point_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        ("storecast/stray.py", "", "storecast.stray"),
        ("storecast/panel.py", "import components.stage\n", "storecast.panel -> components.stage"),
        ("storecast/metrics.py", "import prefect\n", "storecast.metrics -> prefect"),
        ("components/train.py", "import mlflow\n", "components.train -> mlflow"),
        ("serving/door.py", "import bentoml\n", "serving.door -> bentoml"),
        ("dashboard/look.py", "import prefect\n", "dashboard.look -> prefect"),
        ("dashboard/main.py", "import pipelines.steps\n", "dashboard.main -> pipelines.steps"),
    ],
)
def test_a_module_without_a_place_or_an_import_uphill_is_refused(
    module: str, text: str, complaint: str, tmp_path: Path
) -> None:
    copy_sources(tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(text)
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert complaint in done.stdout


def test_every_package_of_the_tree_is_known_to_the_import_contracts() -> None:
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    contracts = (ROOT / ".importlinter").read_text().split("include_external_packages")[0]
    assert packages <= set(contracts.split())


def test_constraints_are_exact_sorted_and_name_no_place() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line) for line in LINES), LINES
    names = [line.split("==")[0] for line in LINES]
    assert names == sorted(set(names))


def test_every_package_that_the_project_or_a_tool_needs_is_pinned() -> None:
    pinned = {line.split("==")[0] for line in LINES}
    wanted = PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"]
    todo = [Requirement(text) for text in [*wanted, *PYPROJECT["build-system"]["requires"]]]
    seen: set[tuple[str, str]] = set()
    missing: set[str] = set()
    while todo:
        requirement = todo.pop()
        name = normal(requirement.name)
        missing |= {name} - pinned
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen or name in missing:
                continue
            seen.add((name, extra))
            needs = [Requirement(text) for text in metadata.requires(name) or []]
            todo += [r for r in needs if r.marker is None or r.marker.evaluate({"extra": extra})]
    assert not missing


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="the project's own environment is not in use")
def test_what_make_installed_is_what_is_pinned() -> None:
    installed = {normal(d.name): d.version.partition("+")[0] for d in metadata.distributions()}
    installed.pop("storecast")
    pins = dict(line.split("==") for line in LINES)
    assert {name: pins.get(name) for name in installed} == installed


def test_parquet_is_read_and_written_in_one_place() -> None:
    places = {ROOT / "storecast" / "store" / name for name in ("parquet.py", "encryption.py")}
    around = re.compile(r"pyarrow[. ]+(import )?parquet|\.(to|read)_parquet\(|\bpq\.|_parquet_encryption")
    packages = ("storecast", "components", "serving", "orchestrator", "dashboard", "pipelines", "benchmarks")
    paths = [path for package in packages for path in (ROOT / package).rglob("*.py") if path not in places]
    found = [str(path.relative_to(ROOT)) for path in paths if around.search(path.read_text())]
    assert not found, "use storecast.store.parquet: it knows whether files are encrypted"
    assert all(around.search(path.read_text()) for path in places)
