"""How the dashboard is started: Streamlit's own command, its port, its colours."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path

from dashboard import users
from storecast.errors import ConfigError
from storecast.settings import Settings

HOST, PORT = "127.0.0.1", 8501
HEALTH = "/_stcore/health"
SECRETS = Path(".streamlit") / "secrets.toml"
"""Where Streamlit looks, in the current folder and in the user's, for the OIDC provider."""
OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "500",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "theme.light.primaryColor": "#1f5fa8",
    "theme.light.textColor": "#0d141a",
    "theme.light.linkColor": "#1f5fa8",
    "theme.light.secondaryBackgroundColor": "#f3f6f9",
    "theme.light.codeTextColor": "#0b5034",
    "theme.dark.codeTextColor": "#9be3c0",
    "theme.dark.primaryColor": "#7fb2ea",
    "theme.dark.linkColor": "#8dbcf0",
    "theme.dark.backgroundColor": "#11161c",
    "theme.dark.secondaryBackgroundColor": "#1b232c",
    "theme.dark.textColor": "#e8edf2",
    "theme.baseRadius": "small",
    "theme.metricValueFontSize": "1.75rem",
    "theme.headingFontSizes": '["2.1rem", "1.35rem", "1.2rem"]',
}


def command(settings: Settings, host: str, port: int) -> list[str]:
    """`streamlit run ...`, as arguments of the Python interpreter.

    Raises:
        ConfigError: it would be open to a network without asking who somebody is.
    """
    if not is_loopback(host) and not asks_who(settings):
        raise ConfigError(
            "the dashboard would let everybody on the network act",
            where=f"--host {host}",
            expected="users, or an OIDC provider",
            cure="storecast dashboard add-user NAME --role operator, or name a provider in "
            f"{SECRETS} (docs/dashboard.md)",
        )
    made = ["-m", "streamlit", "run", str(Path(__file__).with_name("app.py"))]
    made += ["--server.address", host, "--server.port", str(port)]
    return made + [part for name, value in OPTIONS.items() for part in (f"--{name}", value)]


def run(settings: Settings, host: str, port: int) -> None:
    """Become the dashboard: this process is replaced, so that signals reach it."""
    os.execv(sys.executable, [sys.executable, *command(settings, host, port)])  # noqa: S606


def asks_who(settings: Settings) -> bool:
    """Whether there are users, or an OIDC provider."""
    return users.users_path(settings).exists() or has_provider()


def has_provider() -> bool:
    """Whether Streamlit's secrets name an OIDC provider."""
    files = [folder / SECRETS for folder in (Path.cwd(), Path.home())]
    return any(file.is_file() and "[auth" in file.read_text() for file in files)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
