"""What every stage shares: its workspace, its command line and its progress."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Protocol

import typer

from storecast.errors import StorecastError, store_errors
from storecast.panel import Panel
from storecast.panel_io import read_panel
from storecast.settings import load_settings
from storecast.store import uri as uris
from storecast.store.datasets import Dataset, DatasetStore
from storecast.store.releases import ReleaseStore

Reporter = Callable[[str, int, int], None]
"""Called with (label, done, total) while a stage works."""

PanelUri = Annotated[str, typer.Option(help="URI of the panel.")]
EvaluationUri = Annotated[str, typer.Option(help="URI of the evaluation.")]
DecisionUri = Annotated[str, typer.Option(help="URI of the gate's decision.")]
Training = Annotated[str, typer.Option(help="Training config: name or YAML file.")]
Workspace = Annotated[str, typer.Option(help="URI under which data sets lie; default: the settings'.")]


def _ignore(*what: object) -> None:
    """Nobody is watching."""


class Progress:
    """Where stages report to; whoever drives them replaces the callables."""

    def __init__(self) -> None:
        self.reporter: Reporter = _ignore
        self.finished: Callable[[str], None] = _ignore
        self.failed: Callable[[str], None] = _ignore
        self.raise_lost: Callable[[], None] = _ignore
        """Called on an error; raises the interrupt from the keyboard that has become this error, if any."""

    def __call__(self, label: str) -> Callable[[int, int], None]:
        """A (done, total) callback that reports under a label."""
        return lambda done, total: self.reporter(label, done, total)

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Report that a stage begins, and how it ends."""
        self.reporter(label, 0, 0)
        try:
            yield
        except BaseException:
            self.failed(label)
            raise
        self.finished(label)


progress = Progress()


def open_store(workspace: str = "") -> DatasetStore:
    """The data set store at a URI, or where the settings say; they say how it is encrypted, too."""
    settings = load_settings()
    return DatasetStore(workspace or settings.root)


def releases_of(store: DatasetStore, panel: Dataset) -> ReleaseStore:
    """The releases of a panel's data set."""
    return ReleaseStore(store, str(panel.manifest["config"]["name"]))


def open_panel(store: DatasetStore, uri: str) -> Panel:
    """The panel of a data set; the last one read is kept in memory."""
    return _read(str(store.path(uri)))


@lru_cache(maxsize=1)
def _read(folder: str) -> Panel:
    return read_panel(Path(folder))


class Output(Protocol):
    """What a stage returns: something that lies at a URI."""

    @property
    def uri(self) -> str:
        """Where it is."""
        ...


def main(run: Callable[..., Output]) -> None:
    """The command line of a stage: its parameters as options, the output's URI as JSON on stdout.

    For workflow engines, which read a step's results from files, --result FILE writes the URI and
    --count NAME=FILE one of the output's counts, as JSON.

    Exit codes: 0 done, 2 a StorecastError (its message on stderr).
    """

    def command(result: str, count: list[str], **values: object) -> None:
        try:
            with store_errors():
                output = run(**values)
        except StorecastError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            raise typer.Exit(2) from error
        if result:
            uris.write_text(result, output.uri)
        for name, _, file in (item.partition("=") for item in count):
            uris.write_text(file, json.dumps(getattr(output, "counts", {})[name]))
        print(json.dumps({"uri": output.uri}))

    result_option = Annotated[str, typer.Option(help="File to write the output's URI to.")]
    count_option = Annotated[list[str], typer.Option(help="NAME=FILE: file to write one of its counts to.")]
    extra = [
        inspect.Parameter("result", inspect.Parameter.KEYWORD_ONLY, default="", annotation=result_option),
        inspect.Parameter("count", inspect.Parameter.KEYWORD_ONLY, default=[], annotation=count_option),
    ]
    signature = inspect.signature(run, eval_str=True)
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    command.__signature__ = inspect.Signature([*parameters, *extra])  # type: ignore[attr-defined]
    command.__doc__ = (run.__doc__ or "").split("\n\nArgs:")[0]
    name = Path(sys.argv[0]).stem
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, name=name)
    app.command()(command)
    app()
