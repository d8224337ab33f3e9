"""Stops what the workers left running once they are gone: stop_runs.py WORKERS RUNS, two label selectors.

Runs are Jobs that workers made, so Helm does not know them. Called with the standard library alone.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
API = os.environ.get("KUBERNETES_API", "https://kubernetes.default.svc")
SECONDS = 90.0


def kubernetes(method: str, group: str, kind: str, selector: str, options: str = "") -> Any:
    """Answer of the Kubernetes API about the objects of this namespace that have these labels."""
    namespace, token = ((ACCOUNT / name).read_text() for name in ("namespace", "token"))
    url = f"{API}/{group}/namespaces/{namespace}/{kind}?labelSelector={quote(selector)}{options}"
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    authority = ACCOUNT / "ca.crt"
    context = ssl.create_default_context(cafile=authority) if authority.exists() else None
    with urllib.request.urlopen(request, timeout=10, context=context) as response:  # noqa: S310
        return json.load(response)


def wait_until_gone(selector: str) -> None:
    """Wait for the end of the pods with these labels."""
    deadline = time.monotonic() + SECONDS
    while pods := kubernetes("GET", "api/v1", "pods", selector)["items"]:
        if time.monotonic() > deadline:
            names = [pod["metadata"]["name"] for pod in pods]
            sys.exit(f"still there after {SECONDS:.0f} s: {', '.join(names)}. Delete them by hand")
        time.sleep(1)


if __name__ == "__main__":
    workers, runs = sys.argv[1:]
    wait_until_gone(workers)
    kubernetes("DELETE", "apis/batch/v1", "jobs", runs, "&propagationPolicy=Background")
    wait_until_gone(runs)
    print("No run is left")
