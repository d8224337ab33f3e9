"""`storecast dashboard ...`: the dashboard by itself, and who may use it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dashboard import start, users
from storecast.settings import load_settings

dashboard = typer.Typer(no_args_is_help=True, help="The dashboard, and who may use it.")
console = Console()


@dashboard.command("serve")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = start.HOST,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = start.PORT,
) -> None:
    """Show the dashboard (docs/dashboard.md)."""
    start.run(load_settings(), host, port)


@dashboard.command("add-user")
def add_user(
    name: Annotated[str, typer.Argument(help="Who; a name that exists gets a new password and role.")],
    role: Annotated[users.Role, typer.Option(help="viewer looks; operator acts.")] = users.Role.VIEWER,
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for.")
    ] = "",
) -> None:
    """Let somebody in. From the first user on, everybody must log in."""
    users.add(users.users_path(load_settings()), name, password, role)
    console.print(f"{name} is {role.value}", highlight=False)


@dashboard.command("users")
def list_users() -> None:
    """Who may use the dashboard, and how."""
    table = Table("name", "role", "since")
    for user in users.read(users.users_path(load_settings())):
        table.add_row(user.name, user.role.value, user.since)
    console.print(table)


@dashboard.command("remove-user")
def remove_user(name: Annotated[str, typer.Argument(help="Who.")]) -> None:
    """Let somebody in no more; one who is logged in is out at the next click."""
    users.remove(users.users_path(load_settings()), name)
    console.print(f"{name} is removed", highlight=False)
