"""Prefect answers with its basic auth, and refuses without."""

from __future__ import annotations

import sys

from api import prefect, until


def missing() -> str:
    """What is wrong with the API; empty when nothing is."""
    status, _ = prefect("/admin/version")
    return "" if status == 200 else f"GET /admin/version with basic auth gave status {status}, expected 200"


if __name__ == "__main__":
    until(missing, seconds=60)
    refused, _ = prefect("/admin/version", auth=False)
    if refused != 401:
        sys.exit(f"GET /admin/version without basic auth gave status {refused}, expected 401")
    print("Prefect answers with basic auth and refuses without")
