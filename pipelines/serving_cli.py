"""`storecast serve` and `storecast keys ...`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serving import keys as ring
from serving import start
from storecast.settings import load_settings

keys = typer.Typer(no_args_is_help=True, help="The API keys of the service.")
console = Console()


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = start.HOST,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = start.PORT,
) -> None:
    """Answer requests for forecasts of the current release (docs/serving.md)."""
    start.run(load_settings(), host, port)


@keys.command("create")
def create(
    key_id: Annotated[str, typer.Option("--id", help="Who uses it; a new key replaces the one of this id.")],
    scope: Annotated[list[str], typer.Option(help="read, what-if or admin; once per scope.")] = ["read"],  # noqa: B006
    days: Annotated[int, typer.Option(help="Days until it expires; 0: never.", min=0)] = 365,
) -> None:
    """Make a key and print it: it is kept nowhere and cannot be shown again."""
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    print(ring.create(ring.keys_path(load_settings()), key_id, scope, expires))


@keys.command("list")
def list_keys() -> None:
    """All keys: whose, for what, until when."""
    table = Table("id", "scopes", "created", "expires")
    now = datetime.now(UTC)
    for key in ring.read(ring.keys_path(load_settings())):
        until = f"{key.expires or 'never'}{' (expired)' if key.expired(now) else ''}"
        table.add_row(key.id, ", ".join(key.scopes), key.created, until)
    console.print(table)


@keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="Id of the key.")]) -> None:
    """Remove a key; the service refuses it within a second."""
    ring.revoke(ring.keys_path(load_settings()), key_id)
    console.print(f"{key_id} is revoked")
