"""The dashboard answers."""

from __future__ import annotations

import os

from api import call, until


def missing() -> str:
    """What is wrong with the dashboard; empty when nothing is."""
    status, said = call(f"{os.environ['DASHBOARD_URL']}/_stcore/health")
    return "" if status == 200 else f"GET /_stcore/health gave status {status}, expected 200: {said}"


if __name__ == "__main__":
    until(missing, seconds=120)
    print("The dashboard answers")
