"""A platform on a kind cluster, as an engineer has it at hand: kubectl, helm, Prefect's API, the store."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).parents[2]
RELEASE = "storecast"
RELEASES = "storecast/storecast/releases/synthetic"
Found = TypeVar("Found")


class CommandError(Exception):
    """A command failed: what it was and what it printed."""


def command(*words: str, seconds: float = 600, variables: Mapping[str, str] | None = None) -> str:
    """Run a command from the project's root; its stdout."""
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if done.returncode:
        raise CommandError(f"{' '.join(words)}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def until(what: str, find: Callable[[], Found | None], seconds: float, every: float = 1.0) -> Found:
    """What `find` gives as soon as it gives something true; fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = find()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)


@dataclass
class Timeline:
    """What happened when, printed at the end of the tests."""

    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Note how long something took."""
        start = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self.lines.append(f"{start - self.began:7.0f} s  {now - start:6.0f} s  {what}")


@dataclass
class Platform:
    """The platform in one namespace of a kind cluster."""

    cluster: str
    namespace: str
    timeline: Timeline
    address: str = ""
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))
    """One for all questions: making it takes as long as an answer."""

    @property
    def context(self) -> str:
        return f"kind-{self.cluster}"

    @property
    def names(self) -> dict[str, str]:
        """What scripts/kind.sh reads."""
        return {"CLUSTER": self.cluster, "NAMESPACE": self.namespace, "RELEASE": RELEASE}

    def make(self, target: str, *settings: str, seconds: float = 900) -> str:
        """`make kind-up`, `make deploy` and the like, for this cluster."""
        arguments = " ".join(f"--set {s}" for s in settings)
        return command("make", target, f"ARGS={arguments}", seconds=seconds, variables=self.names)

    def kubectl(self, *words: str, seconds: float = 120) -> str:
        return command(
            "kubectl", "--context", self.context, "--namespace", self.namespace, *words, seconds=seconds
        )

    def helm(self, *words: str, seconds: float = 900) -> str:
        return command(
            "helm", "--kube-context", self.context, "--namespace", self.namespace, *words, seconds=seconds
        )

    def get(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Objects of a kind, by label."""
        chosen = ("--selector", selector) if selector else ()
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *chosen, "-o", "json"))["items"]
        return found

    def secret(self, name: str, key: str) -> str:
        """A value of a secret; asked for once, since none changes during the tests."""
        if (name, key) not in self.secrets:
            data = json.loads(self.kubectl("get", "secret", name, "-o", "json"))["data"]
            self.secrets[name, key] = base64.b64decode(data[key]).decode()
        return self.secrets[name, key]

    def ready(self) -> bool:
        """Whether every pod of the release is ready and every Job of it has completed."""
        pods = self.get("pods", f"app.kubernetes.io/instance={RELEASE}")
        return len(pods) > 5 and all(_ready(pod) for pod in pods)

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[str]:
        """The address on this machine of a service in the cluster, kept up when its pod is another."""
        local = _free_port()
        words = ["kubectl", "--context", self.context, "--namespace", self.namespace, "port-forward"]
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                f"while true; do {' '.join(words)} service/{service} {local}:{port}; sleep 1; done",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{local}"
        finally:
            os.killpg(process.pid, 15)
            process.wait()

    def storecast(self, *words: str, seconds: float = 300) -> str:
        """The command line, told of this platform."""
        auth = self.secret(f"{RELEASE}-prefect", "auth-string")
        return command(
            ".venv/bin/storecast",
            *words,
            seconds=seconds,
            variables={
                "STORECAST_PREFECT_API_URL": f"{self.address}/api",
                "STORECAST_PREFECT_AUTH": auth,
                "STORECAST_HOME": str(ROOT / ".storecast" / "e2e"),
                "COLUMNS": "200",
            },
        )

    def answers(self) -> bool:
        """Whether Prefect's API does."""
        try:
            self.api("GET", "/health", seconds=0)
        except (httpx.HTTPError, AssertionError):
            return False
        return True

    def api(self, method: str, path: str, content: object = None, seconds: float = 30) -> Any:
        """Prefect's API, asked again where nothing answers: forwarding to another pod takes a moment."""
        user, _, password = self.secret(f"{RELEASE}-prefect", "auth-string").partition(":")

        def ask() -> httpx.Response | None:
            try:
                url = f"{self.address}/api{path}"
                return self.client.request(method, url, json=content, auth=(user, password))
            except httpx.TransportError:
                return None

        answer = until(f"an answer to {method} {path}", ask, seconds)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start(self, flow: str, **parameters: Any) -> str:
        """Start a run of a deployment; its id."""
        deployment = self.api("GET", f"/deployments/name/{flow}/{flow}")
        given = {"parameters": {**deployment["parameters"], **parameters}}
        run = self.api("POST", f"/deployments/{deployment['id']}/create_flow_run", given)
        return str(run["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """A flow run, or {} while the API is away."""
        try:
            found: dict[str, Any] = self.api("GET", f"/flow_runs/{run_id}", seconds=0)
        except (httpx.HTTPError, AssertionError):
            return {}
        return found

    def stages(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        """The stages' flow runs below a run, by label, each attempt in turn."""
        found: dict[str, list[dict[str, Any]]] = {}
        todo = [run_id]
        while todo:
            wanted = {"flow_runs": {"parent_flow_run_id": {"any_": todo}}, "sort": "EXPECTED_START_TIME_ASC"}
            try:
                runs = self.api("POST", "/flow_runs/filter", wanted, seconds=0)
            except (httpx.HTTPError, AssertionError):
                return found
            for each in runs:
                found.setdefault(str(each["name"]), []).append(each)
            todo = [str(each["id"]) for each in runs]
        return found

    def ended(self, run_id: str, seconds: float) -> dict[str, Any]:
        """The run once it has ended."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        return until(
            f"the end of run {run_id}",
            lambda: ((run := self.run(run_id)) and run["state_type"] in final and run) or None,
            seconds,
            every=2,
        )

    def completed(self, run_id: str, seconds: float) -> dict[str, Any]:
        """The run once it has ended well; fails with what it says otherwise."""
        run = self.ended(run_id, seconds)
        assert run["state_type"] == "COMPLETED", f"{run['state_name']}: {run['state']['message']}"
        return run

    def stage_begins(self, run_id: str, label: str, seconds: float = 600, state: str = "RUNNING") -> str:
        """The id of a stage's flow run, once it is in a state."""

        def find() -> str | None:
            attempts = [
                r for name, runs in self.stages(run_id).items() if name.startswith(label) for r in runs
            ]
            return next((str(r["id"]) for r in attempts if r["state_type"] == state), None)

        return until(f"stage {label} {state}", find, seconds)

    def log(self, flow_run: str) -> str:
        """What a flow run has logged."""
        wanted = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(entry["message"] for entry in self.api("POST", "/logs/filter", wanted))

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The bucket."""
        with self.forwarded(f"{RELEASE}-s3", 7070) as address:
            yield Store(self, address)

    @contextmanager
    def service(self) -> Iterator[httpx.Client]:
        """The service of forecasts, asked with the admin key."""
        key = self.secret(f"{RELEASE}-serving-admin", "admin-key")
        with (
            self.forwarded(f"{RELEASE}-serving", 3000) as address,
            httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=60) as client,
        ):

            def answers() -> bool:
                try:
                    return client.get("/livez").status_code == 200
                except httpx.TransportError:
                    return False

            until("the service at hand", answers, 30)
            yield client

    def activations(self) -> list[dict[str, str]]:
        """What became the synthetic sales' current release when, the last one last; none before a release."""
        with self.store() as files:
            if not files.find(f"{RELEASES}/current.json"):
                return []
            found: list[dict[str, str]] = json.loads(files.read(f"{RELEASES}/current.json"))["history"]
        return found

    def pod_of(self, stage_run: str) -> str:
        """The name of a stage's pod."""
        pods = self.get("pods", f"prefect.io/flow-run-id={stage_run}")
        return str(pods[-1]["metadata"]["name"])


class Store:
    """The bucket, by S3's own protocol."""

    def __init__(self, platform: Platform, address: str) -> None:
        import s3fs

        self.fs = s3fs.S3FileSystem(
            key=platform.secret(f"{RELEASE}-run", "AWS_ACCESS_KEY_ID"),
            secret=platform.secret(f"{RELEASE}-run", "AWS_SECRET_ACCESS_KEY"),
            endpoint_url=address,
            use_listings_cache=False,
        )

    def read(self, path: str) -> str:
        """A file's text."""
        return str(self.fs.cat_file(path).decode())

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        self.fs.pipe_file(path, text.encode())

    def find(self, path: str) -> list[str]:
        """The files below a folder; none where there is no such folder."""
        return [str(found) for found in self.fs.find(path)]


def _ready(pod: Mapping[str, Any]) -> bool:
    status = pod["status"]
    if status["phase"] == "Succeeded":
        return True
    conditions: Sequence[Mapping[str, str]] = status.get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
