"""What is lost comes back from the charts' own backups: both databases, and MLflow's artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from cluster import RELEASE, CommandError, Platform, until

MLFLOW, PREFECT = f"{RELEASE}-mlflow", f"{RELEASE}-prefect"
EXPERIMENT = VARIABLE = "kept"
ARTIFACT = b"an artifact that must come back"
RESTORES = "app.kubernetes.io/component in (restore, prefect-restore)"
EMPTY = ("SET client_min_messages = warning", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def test_what_is_lost_comes_back_from_a_backup(platform: Platform) -> None:
    with mlflow(platform) as client:
        path = fill(client)
        platform.api("POST", "/variables/", {"name": VARIABLE, "value": "yes"})
        with platform.timeline.step("backups of both databases and the artifacts"):
            names = {job: backup(platform, f"{job}-backup") for job in (MLFLOW, PREFECT)}
        with platform.timeline.step("both databases emptied, the artifacts deleted"):
            empty(platform, f"{MLFLOW}-postgresql-0", "mlflow")
            empty(platform, f"{RELEASE}-postgresql-0", "prefect")
            delete_artifacts(platform)
        assert experiment(client) != 200
        assert artifact(client, path) != ARTIFACT
        with platform.timeline.step("restored, and everything is ready again"):
            restore(platform, names[MLFLOW], names[PREFECT])
            restore(platform, "", "")
            until("the experiment is back", lambda: experiment(client) == 200, 240, every=3)
            until("every pod ready", platform.ready, 240, every=3)
        assert artifact(client, path) == ARTIFACT
    assert platform.api("GET", f"/variables/name/{VARIABLE}")["value"] == "yes"
    assert platform.api("GET", "/deployments/name/train/train")["work_pool_name"] == "cpu"


@contextmanager
def mlflow(platform: Platform) -> Iterator[httpx.Client]:
    """A client of MLflow."""
    user, password = (platform.secret(f"{MLFLOW}-auth", key) for key in ("username", "password"))
    with (
        platform.forwarded(MLFLOW, 5000) as address,
        httpx.Client(base_url=address, auth=(user, password), timeout=60) as client,
    ):
        until("MLflow at hand", lambda: status(client, "/health") == 200, 60)
        yield client


def status(client: httpx.Client, path: str) -> int:
    """Status of an answer; 0 while there is none."""
    try:
        return client.get(path).status_code
    except httpx.HTTPError:
        return 0


def fill(client: httpx.Client) -> str:
    """Make an experiment with a run and an artifact; the artifact's path."""

    def make(what: str, **about: object) -> dict[str, object]:
        answer = client.post(f"/api/2.0/mlflow/{what}/create", json=about).raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    made = make("experiments", name=EXPERIMENT)["experiment_id"]
    run = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": made}).raise_for_status().json()
    root = str(run["run"]["info"]["artifact_uri"]).removeprefix("mlflow-artifacts:").strip("/")
    path = f"/api/2.0/mlflow-artifacts/artifacts/{root}/kept.txt"
    client.put(path, content=ARTIFACT).raise_for_status()
    return path


def experiment(client: httpx.Client) -> int:
    """Status of the experiment: 200 where it is there."""
    return status(client, f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={EXPERIMENT}")


def artifact(client: httpx.Client, path: str) -> bytes:
    """The artifact, or what is said in place of it."""
    try:
        return client.get(path).content
    except httpx.HTTPError as error:
        return str(error).encode()


def backup(platform: Platform, cronjob: str) -> str:
    """Run a backup now; its name."""
    job = f"{cronjob}-now"
    platform.kubectl("create", "job", job, f"--from=cronjob/{cronjob}")
    platform.kubectl("wait", "--for=condition=complete", "--timeout=180s", f"job/{job}", seconds=200)
    made = re.search(r"^made (\S+Z): ", platform.kubectl("logs", f"job/{job}"), re.MULTILINE)
    assert made, f"no backup is named in the log of {job}"
    return made[1]


def empty(platform: Platform, pod: str, database: str) -> None:
    """Take everything out of a database while its server is at work, which may hold a table for a moment."""
    commands = [part for command in EMPTY for part in ("-c", command)]

    def done() -> bool:
        try:
            platform.kubectl(
                "exec", pod, "-c", "postgresql", "--", "psql", "-q", "-v", "ON_ERROR_STOP=1",
                "-U", database, "-d", database, *commands,
            )  # fmt: skip
        except CommandError:
            return False
        return True

    until(f"database {database} emptied", done, 60)


def delete_artifacts(platform: Platform) -> None:
    """Delete what is on the artifacts' volume."""
    where = ("deployment/" + MLFLOW, "-c", "server", "--")
    platform.kubectl(
        "exec", *where, "find", "/artifacts", "-mindepth", "1", "!", "-name", "lost+found", "-delete"
    )


def restore(platform: Platform, mlflow: str, prefect: str) -> None:
    """Restore these backups and wait for it; two empty names: start the servers again."""
    settings = (f"mlflow.restore.from={mlflow}", f"postgresql.restore.from={prefect}")
    chosen = [part for setting in settings for part in ("--set", setting)]
    platform.helm("upgrade", RELEASE, "charts/storecast", "--reuse-values", *chosen)
    if mlflow or prefect:
        until("both backups restored", lambda: restored(platform), 300, every=2)


def restored(platform: Platform) -> bool:
    """Whether the Jobs that restore have completed."""
    jobs = platform.get("jobs", f"app.kubernetes.io/instance={RELEASE},{RESTORES}")
    return len(jobs) == 2 and all(job["status"].get("succeeded") for job in jobs)
