"""The service of forecasts is ready, refuses strangers, and answers the admin key."""

from __future__ import annotations

import os
import sys

from api import call, until

URL = os.environ["SERVING_URL"]


def missing() -> str:
    """What is wrong with the service; empty when nothing is."""
    status, said = call(f"{URL}/readyz")
    return "" if status == 200 else f"GET /readyz gave status {status}, expected 200: {said}"


def current(key: str) -> str:
    """Which release is served, as the admin key learns it; exits where it learns nothing."""
    status, said = call(f"{URL}/v1/releases/current", token=key)
    if status == 200:
        return str(said["id"])
    if status == 503 and str(said.get("type", "")).endswith(":no-release"):
        return "none yet: no run has released one"
    sys.exit(f"GET /v1/releases/current with the admin key gave status {status}, expected 200: {said}")


if __name__ == "__main__":
    until(missing, seconds=120)
    refused, _ = call(f"{URL}/v1/releases/current")
    if refused != 401:
        sys.exit(f"GET /v1/releases/current without a key gave status {refused}, expected 401")
    key = os.environ.get("SERVING_KEY", "")
    release = current(key) if key else "no key to ask with"
    print(f"The service is ready and refuses strangers; release: {release}")
