"""The work pools as an installation describes them, and the jobs that Prefect's worker makes of them.

The chart renders `platform.yaml`, `PlatformConfig` says what it may hold, and `job_template` turns a pool
into Prefect's base job template: the form's variables, and the Kubernetes Job that uses each of them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

WORK, TEMPORARY = "/work", "/tmp"  # noqa: S108 - mount points in a pod
STORE_KEYS, STORE_KEY_FILE = "/etc/storecast/store", "store.keys"
CONTAINER = "prefect-job"
"""The name that the worker demands."""
USER = 10001


class _Part(BaseModel):
    """A part of platform.yaml: keys in camel case, unknown ones refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Quantities(_Part):
    """Kubernetes quantities; empty: none."""

    cpu: str = ""
    memory: str = ""


class Resources(_Part):
    """What a pod asks for, and what it may take."""

    requests: Quantities = Quantities()
    limits: Quantities = Quantities()


class Gpu(_Part):
    """The extended resource a node advertises its GPUs by, and how many a pod takes; 0: none."""

    resource: str = "nvidia.com/gpu"
    count: int = Field(default=0, ge=0)


class EnvironmentFrom(_Part):
    """ConfigMaps and Secrets whose keys become a pod's variables."""

    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class PoolConfig(_Part):
    """A work pool: where its pods run and what they may take."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    concurrency: int | None = Field(default=None, ge=1)
    service_account: str = "default"
    env_from: EnvironmentFrom = EnvironmentFrom()
    resources: Resources = Resources()
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    gpu: Gpu = Gpu()
    shared_memory: str = "1Gi"
    scratch: str = "10Gi"
    priority_class: str = ""
    store_keys: str = ""
    """Secret with the keys of the store (`storecast.store.keyring`); empty: files are not encrypted."""
    ttl_seconds_after_finished: int = Field(default=3600, ge=0)
    active_deadline_seconds: int = Field(default=14400, ge=60)
    pod_labels: dict[str, str] = Field(default_factory=dict)


class TrainingDefaults(_Part):
    """How runs use the pools unless they say otherwise."""

    pending_deadline_seconds: int = Field(default=300, ge=10)
    gpu_fallback: bool = False


class LoopDefaults(_Part):
    """The data set that the loop watches on a schedule."""

    dataset: str
    data: str
    policy: str = "default"
    cron: str = "0 5 * * *"
    timezone: str = "UTC"


class PlatformConfig(_Part):
    """What platform.yaml says."""

    namespace: str
    workspace: str
    heartbeat_seconds: int = Field(default=180, ge=30)
    driver_deadline_seconds: int = Field(default=604800, ge=60)
    pools: dict[str, PoolConfig]
    training: TrainingDefaults = TrainingDefaults()
    loop: LoopDefaults | None = None

    @property
    def driver_variables(self) -> dict[str, Any]:
        """Where the job of a run's driver, which waits for all its stages, differs from a stage's."""
        return {"active_deadline_seconds": self.driver_deadline_seconds}


def job_template(pool: PoolConfig, namespace: str) -> dict[str, Any]:
    """Prefect's base job template of a pool."""
    return {
        "variables": {"type": "object", "properties": _variables(pool, namespace)},
        "job_configuration": {
            "command": "{{ command }}",
            "env": "{{ env }}",
            "labels": "{{ labels }}",
            "annotations": "{{ annotations }}",
            "name": "{{ name }}",
            "namespace": "{{ namespace }}",
            "job_manifest": _job(pool),
        },
    }


def _variables(pool: PoolConfig, namespace: str) -> dict[str, Any]:
    """The form: each variable with its type, title and default."""

    def text(title: str, default: str, description: str = "") -> dict[str, Any]:
        return {"type": "string", "title": title, "default": default, "description": description}

    def number(title: str, default: int, description: str) -> dict[str, Any]:
        return {"type": "integer", "title": title, "default": default, "description": description}

    def mapping(title: str, default: dict[str, Any], description: str = "") -> dict[str, Any]:
        return {"type": "object", "title": title, "default": default, "description": description}

    wanted, most = pool.resources.requests, pool.resources.limits
    found: dict[str, Any] = {
        "name": {"type": "string", "title": "Name", "description": "Of the job; default: the run's name."},
        "namespace": text("Namespace", namespace),
        "command": {"type": "string", "title": "Command", "description": "Default: execute the flow run."},
        "env": mapping("Variables", {}, "More variables for the pod."),
        "labels": mapping("Labels", {}, "More labels of the job and its pod."),
        "annotations": mapping("Annotations", {}, "More annotations of the job."),
        "image": text("Image", pool.image),
        "image_pull_policy": {
            **text("Image pull policy", pool.image_pull_policy),
            "enum": ["IfNotPresent", "Always", "Never"],
        },
        "cpu_request": text("CPU request", wanted.cpu or "500m", "Cores, such as 2 or 500m."),
        "memory_request": text("Memory request", wanted.memory or "1Gi", "Such as 2Gi."),
        "memory_limit": text("Memory limit", most.memory or "6Gi", "A pod that takes more is killed."),
        "node_selector": mapping("Node selector", dict(pool.node_selector)),
        "tolerations": {"type": "array", "title": "Tolerations", "default": list(pool.tolerations)},
        "service_account_name": text("Service account", pool.service_account),
        "finished_job_ttl": number(
            "Keep finished jobs", pool.ttl_seconds_after_finished, "Seconds until a finished job goes."
        ),
        "active_deadline_seconds": number(
            "Deadline", pool.active_deadline_seconds, "Seconds after which a job is stopped."
        ),
    }
    if pool.gpu.count:
        found["gpu_count"] = number("GPUs", pool.gpu.count, "How many GPUs a pod takes.")
    return found


def _job(pool: PoolConfig) -> dict[str, Any]:
    """The Kubernetes Job, with the form's variables as placeholders."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": "{{ name }}-",
            "namespace": "{{ namespace }}",
            "labels": dict(pool.pod_labels),  # the worker adds those of the form
            "annotations": "{{ annotations }}",
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": "{{ finished_job_ttl }}",
            "activeDeadlineSeconds": "{{ active_deadline_seconds }}",
            "template": {"metadata": {"labels": dict(pool.pod_labels)}, "spec": _pod(pool)},
        },
    }


def _pod(pool: PoolConfig) -> dict[str, Any]:
    volumes: dict[str, tuple[str, dict[str, str]]] = {
        WORK: ("work", {"sizeLimit": pool.scratch}),
        TEMPORARY: ("tmp", {}),
    }
    if pool.shared_memory:
        volumes["/dev/shm"] = ("shm", {"medium": "Memory", "sizeLimit": pool.shared_memory})  # noqa: S108
    mounts: list[dict[str, Any]] = [{"name": name, "mountPath": path} for path, (name, _) in volumes.items()]
    sources: list[dict[str, Any]] = [{"name": name, "emptyDir": about} for name, about in volumes.values()]
    if pool.store_keys:
        mounts.append({"name": "store-keys", "mountPath": STORE_KEYS, "readOnly": True})
        items = [{"key": STORE_KEY_FILE, "path": STORE_KEY_FILE}]
        sources.append({"name": "store-keys", "secret": {"secretName": pool.store_keys, "items": items}})
    spec: dict[str, Any] = {
        "parallelism": 1,  # here by mistake of the worker, which refuses a template without these two
        "completions": 1,
        "restartPolicy": "Never",
        "serviceAccountName": "{{ service_account_name }}",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": name} for name in pool.image_pull_secrets],
        "nodeSelector": "{{ node_selector }}",
        "tolerations": "{{ tolerations }}",
        "containers": [_container(pool, mounts)],
        "volumes": sources,
    }
    if pool.priority_class:
        spec["priorityClassName"] = pool.priority_class
    return spec


def _container(pool: PoolConfig, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    gpus = {pool.gpu.resource: "{{ gpu_count }}"} if pool.gpu.count else {}
    sources = [{"configMapRef": {"name": name}} for name in pool.env_from.config_maps]
    sources += [{"secretRef": {"name": name}} for name in pool.env_from.secrets]
    limits: dict[str, Any] = {"memory": "{{ memory_limit }}", **gpus}
    if pool.resources.limits.cpu:
        limits["cpu"] = pool.resources.limits.cpu
    return {
        "name": CONTAINER,
        "image": "{{ image }}",
        "imagePullPolicy": "{{ image_pull_policy }}",
        "command": ["env"],  # in place of the image's entrypoint, which runs one stage
        "args": "{{ command }}",
        "env": _environment(pool),
        "envFrom": sources,
        "resources": {
            "requests": {"cpu": "{{ cpu_request }}", "memory": "{{ memory_request }}"},
            "limits": limits,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _environment(pool: PoolConfig) -> str | list[dict[str, str]]:
    """The form's variables, which the worker puts before those of a list."""
    if not pool.store_keys:
        return "{{ env }}"
    return [{"name": "STORECAST_STORE_KEY_FILE", "value": f"{STORE_KEYS}/{STORE_KEY_FILE}"}]
