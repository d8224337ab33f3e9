"""`helm test`: is the server there, does it ask who is there, and does it keep what it is given?"""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.request
import uuid
from typing import Any

SERVER = os.environ["MLFLOW_TRACKING_URI"]
USER = os.environ.get("MLFLOW_TRACKING_USERNAME")
CONTENT = b"written by helm test"


def call(path: str, body: Any = None, *, method: str = "", known: bool = True) -> tuple[int, bytes]:
    """Status and content of a request."""
    headers = {}
    if USER and known:
        pair = f"{USER}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if data is not None and not isinstance(body, bytes):
        headers["Content-Type"] = "application/json"
    verb = method or ("GET" if data is None else "POST")
    request = urllib.request.Request(SERVER + path, data=data, headers=headers, method=verb)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def expect(what: str, answer: tuple[int, bytes], status: int = 200) -> Any:
    """The JSON or bytes of an answer that must have a status."""
    code, content = answer
    if code != status:
        raise SystemExit(f"FAILED: {what}: {code}, not {status}: {content[:300]!r}")
    print(f"ok: {what}", flush=True)
    try:
        return json.loads(content)
    except ValueError:
        return content


def main() -> None:
    """Go through it; the experiment goes away again."""
    expect("the server is healthy", call("/health", known=False))
    search = "/api/2.0/mlflow/experiments/search"
    if USER:
        expect("who does not say who they are is refused", call(search, {"max_results": 1}, known=False), 401)
    expect("the experiments are listed", call(search, {"max_results": 1}))
    made = expect(
        "an experiment is made",
        call("/api/2.0/mlflow/experiments/create", {"name": f"helm-test-{uuid.uuid4()}"}),
    )
    experiment = made["experiment_id"]
    try:
        run = expect("a run starts", call("/api/2.0/mlflow/runs/create", {"experiment_id": experiment}))
        root = run["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:").lstrip("/")
        artifact = f"/api/2.0/mlflow-artifacts/artifacts/{root}/helm-test.txt"
        expect("an artifact is written", call(artifact, CONTENT, method="PUT"))
        read = expect("the artifact is read", call(artifact))
        if read != CONTENT:
            raise SystemExit(f"FAILED: the artifact reads {read[:100]!r}, not {CONTENT!r}")
        expect("the artifact is deleted", call(artifact, method="DELETE"))
        listing = f"/api/2.0/mlflow/artifacts/list?run_id={run['run']['info']['run_id']}"
        if expect("the artifacts are listed", call(listing)).get("files"):
            raise SystemExit("FAILED: the deleted artifact is still there")
    finally:
        expect(
            "the experiment is deleted",
            call("/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}),
        )


if __name__ == "__main__":
    main()
