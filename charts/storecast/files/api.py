"""APIs of Prefect and MLflow, called with the standard library alone: imports must be instant."""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any


def prefect(path: str, body: object = None, *, auth: bool = True) -> tuple[int, Any]:
    """Status and answer of a Prefect API path; status 0 where nothing answers."""
    credentials = os.environ["PREFECT_API_AUTH_STRING"] if auth else ""
    return call(os.environ["PREFECT_API_URL"] + path, body, credentials)


def call(url: str, body: object = None, credentials: str = "", token: str = "") -> tuple[int, Any]:
    """Status and answer of a GET, or of a POST where there is a body; status 0 where nothing answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if credentials:
        headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    # The address comes from the chart, not from a user.
    request = urllib.request.Request(url, data, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10, context=_TLS) as response:  # noqa: S310
            return response.status, _parse(response.read())
    except urllib.error.HTTPError as error:
        return error.code, _parse(error.read())
    except (OSError, TimeoutError) as error:
        return 0, str(error)


# Inside the cluster a service is asked by a name that its certificate need not have.
_TLS = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


def until(check: Callable[[], str], seconds: float) -> None:
    """Repeats a check, which says what is missing, until nothing is; in the end exits with its last word."""
    deadline = time.monotonic() + seconds
    said = ""
    while missing := check():
        if time.monotonic() > deadline:
            sys.exit(missing)
        if missing != said:
            print(missing, flush=True)
            said = missing
        time.sleep(2)
