"""The house keeps its order: imports point one way, and every package is asked for and pinned."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = ("storecast", "components", "serving", "orchestrator", "dashboard", "pipelines")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--config", str(ROOT / ".importlinter")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def copy_sources(to: Path) -> None:
    for package in PACKAGES:
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


def imported(node: ast.AST, *, when_used: bool) -> Iterator[str]:
    """What a module imports when it is imported; or anywhere, in functions and for types alone, too."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                yield from (alias.name for alias in child.names)
            case ast.ImportFrom(module=str(module)):
                yield from (f"{module}.{alias.name}" for alias in child.names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from imported(child, when_used=True) if when_used else ()
            case ast.expr():
                continue
            case _:
                yield from imported(child, when_used=when_used)


@cache
def imports_of(path: Path, *, when_used: bool = False) -> frozenset[str]:
    return frozenset(imported(ast.parse(path.read_text()), when_used=when_used))


def file_of(name: str) -> Path | None:
    """The file of a module of ours; of `a.b.C` that of `a.b`; None for what is not ours."""
    base = ROOT.joinpath(*name.split("."))
    places = (base.with_suffix(".py"), base / "__init__.py", base.parent.with_suffix(".py"))
    return next((path for path in places if path.is_file()), None)


def unasked(names: Iterable[str], asked: set[str]) -> set[str]:
    """Packages of others that are imported by these names and are in none of the distributions asked for."""
    roots = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - set(PACKAGES)
    return {root for root in roots if asked.isdisjoint(map(normal, DISTRIBUTIONS.get(root, [])))}


def listed(lines: Iterable[str]) -> set[str]:
    return {normal(Requirement(line).name) for line in lines}


DISTRIBUTIONS = metadata.packages_distributions()
DEPENDENCIES = listed(PYPROJECT["project"]["dependencies"])
EXTRAS = {name: listed(lines) for name, lines in PYPROJECT["project"]["optional-dependencies"].items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_can_be_imported_with_the_dependencies_and_the_extra_of_its_name(package: str) -> None:
    todo, seen, names = list((ROOT / package).rglob("*.py")), set[Path](), set[str]()
    while todo:
        if (path := todo.pop()) not in seen:
            seen.add(path)
            names |= imports_of(path)
            todo += filter(None, map(file_of, imports_of(path)))
    assert not unasked(names, DEPENDENCIES | EXTRAS.get(package, set()))


def test_what_is_imported_only_when_it_is_used_is_asked_for_at_least_by_an_extra() -> None:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = {name for path in paths for name in imports_of(path, when_used=True)}
    assert not unasked(names, DEPENDENCIES.union(*EXTRAS.values()))


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="the project's own environment is not in use")
def test_what_make_installed_is_what_is_pinned() -> None:
    installed = {normal(d.name): d.version.partition("+")[0] for d in metadata.distributions()}
    installed.pop("storecast")
    pins = dict(line.split("==") for line in LINES)
    assert {name: pins.get(name) for name in installed} == installed


def test_parquet_is_read_and_written_in_one_place() -> None:
    places = {ROOT / "storecast" / "store" / name for name in ("parquet.py", "encryption.py")}
    around = re.compile(r"pyarrow[. ]+(import )?parquet|\.(to|read)_parquet\(|\bpq\.|_parquet_encryption")
    packages = (*PACKAGES, "benchmarks")
    paths = [path for package in packages for path in (ROOT / package).rglob("*.py") if path not in places]
    found = [str(path.relative_to(ROOT)) for path in paths if around.search(path.read_text())]
    assert not found, "use storecast.store.parquet: it knows whether files are encrypted"
    assert all(around.search(path.read_text()) for path in places)
