"""Which code a result came from: a hash over a module and everything of ours that it imports.

A change in a model's file re-runs that model's fits and what follows from them, not the others.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

OURS = ("storecast", "components")
_MAY_IMPORT = (ast.stmt, ast.excepthandler, ast.match_case)


@cache
def code_version(*modules: str) -> str:
    """Hash of the sources of `modules`, of all modules of ours they import, and of library versions.

    Args:
        modules: dotted names, such as "components.train" and "storecast.models.arima".
    """
    digest = hashlib.sha256()
    sources, libraries = _closure(modules)
    for name in sorted(sources):
        digest.update(f"{name}\n{sources[name]}\n".encode())
    for name in sorted(libraries):
        try:
            digest.update(f"{name}=={metadata.version(name)}\n".encode())
        except metadata.PackageNotFoundError:
            continue  # the standard library, or a module whose distribution has another name
    return digest.hexdigest()[:16]


def _closure(modules: tuple[str, ...]) -> tuple[dict[str, str], set[str]]:
    sources: dict[str, str] = {}
    libraries: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name.split(".")[0] not in OURS and name not in modules:
            libraries.add(name.split(".")[0])
            continue
        path = _source(name)
        if path is None or name in sources:
            continue
        about = path.stat()
        sources[name], imported = _read(path, about.st_mtime_ns, about.st_size)
        todo += imported
    return sources, libraries


@cache
def _read(path: Path, changed: int, size: int) -> tuple[str, list[str]]:
    """A module's text and what it imports; kept, since what models have in common is theirs each time."""
    del changed, size
    text = path.read_text()
    return text, list(_imports(ast.parse(text)))


def _source(name: str) -> Path | None:
    """The file of a module, found without importing it; None for a name that is no module."""
    package, *rest = name.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    base = Path(spec.origin)
    if rest:
        base = base.parent.joinpath(*rest)
    candidates = (base / "__init__.py", base.with_suffix(".py")) if rest else (base,)
    return next((path for path in candidates if path.is_file()), None)


def _imports(tree: ast.Module) -> Iterator[str]:
    """What a module imports, anywhere in it; expressions, most of a tree, hold none and are passed by."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, _MAY_IMPORT)]
