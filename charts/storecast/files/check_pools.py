"""The work pools exist, and each has a worker that is online: check_pools.py POOL..."""

from __future__ import annotations

import sys

from api import prefect, until


def missing(pool: str) -> str:
    """What a pool lacks; empty when nothing."""
    status, answer = prefect(f"/work_pools/{pool}/workers/filter", {})
    if status == 404:
        return f"Prefect has no work pool {pool}: see the log of the registration Job"
    if status != 200:
        return f"Listing the workers of pool {pool} gave status {status}, expected 200"
    online = [worker["name"] for worker in answer if worker["status"] == "ONLINE"]
    return "" if online else f"No worker of pool {pool} is online: see the log of its worker"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        until(lambda name=name: missing(name), seconds=120)  # type: ignore[misc]
        print(f"Pool {name} has a worker online")
