"""The dashboard alone: `python -m dashboard --host 0.0.0.0`, what a container runs."""

from __future__ import annotations

from typing import Annotated

import typer

from dashboard import start
from storecast.settings import load_settings


def main(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = start.HOST,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = start.PORT,
) -> None:
    """Show the dashboard."""
    start.run(load_settings(), host, port)


if __name__ == "__main__":
    typer.run(main)
