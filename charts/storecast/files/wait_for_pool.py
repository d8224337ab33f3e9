"""Waits until Prefect has a work pool, which the registration Job makes: wait_for_pool.py POOL."""

from __future__ import annotations

import sys

from api import prefect, until


def missing(pool: str) -> str:
    """What keeps a worker from starting; empty when nothing does."""
    status, _ = prefect(f"/work_pools/{pool}")
    if status == 200:
        return ""
    if status == 401:
        sys.exit("Prefect refuses our basic auth: do worker and server use the same secret?")
    if status == 404:
        return f"Prefect has no work pool {pool} yet: waiting for the registration Job"
    return f"Prefect does not answer yet (status {status})"


if __name__ == "__main__":
    until(lambda: missing(sys.argv[1]), seconds=1800)
    print(f"Prefect has the work pool {sys.argv[1]}")
