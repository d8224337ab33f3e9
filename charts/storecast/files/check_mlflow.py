"""MLflow answers, and takes the credentials that run pods have."""

from __future__ import annotations

import os

from api import call, until


def missing() -> str:
    """What is wrong with MLflow; empty when nothing is."""
    url = os.environ["STORECAST_TRACKING_URI"]
    status, _ = call(f"{url}/health")
    if status != 200:
        return f"GET /health gave status {status}, expected 200"
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    credentials = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}" if user else ""
    status, _ = call(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 1}, credentials)
    return "" if status == 200 else f"Searching experiments as a run does gave status {status}, expected 200"


if __name__ == "__main__":
    until(missing, seconds=60)
    print("MLflow answers, and takes the credentials of runs")
