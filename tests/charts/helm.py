"""Charts as their users get them: rendered by the real helm into Kubernetes objects."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[2] / "charts"
WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob", "Pod")


class HelmError(Exception):
    """helm refused: its message."""


@dataclass(frozen=True)
class Rendered:
    """The objects of a rendered chart."""

    objects: tuple[Mapping[str, Any], ...]

    def of(self, *kinds: str) -> list[Mapping[str, Any]]:
        """Objects of these kinds, in the order of the files."""
        return [item for item in self.objects if item["kind"] in kinds]

    def one(self, kind: str, name: str) -> Mapping[str, Any]:
        """The object of a kind whose name is or ends with `name`."""
        found = [item for item in self.of(kind) if item["metadata"]["name"].endswith(name)]
        assert len(found) == 1, (
            f"{len(found)} of {kind} *{name}: {[o['metadata']['name'] for o in self.of(kind)]}"
        )
        return found[0]

    def pods(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(kind/name, pod spec) of every workload."""
        for item in self.of(*WORKLOADS):
            yield f"{item['kind']}/{item['metadata']['name']}", pod_spec(item)


def pod_template(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Metadata and spec of a workload's pods."""
    if workload["kind"] == "Pod":
        return workload
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Mapping[str, Any] = spec["template"]
    return found


def pod_spec(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod spec inside a workload."""
    found: Mapping[str, Any] = pod_template(workload)["spec"]
    return found


def containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All containers of a pod spec, the initial ones first."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def helm(*arguments: str) -> str:
    """What helm prints; its complaint as a HelmError."""
    done = subprocess.run(["helm", *arguments], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise HelmError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def render(chart: str, *settings: str, release: str = "storecast", values: Iterable[Path] = ()) -> Rendered:
    """`helm template` of a chart with `--set` settings, in namespace "shop"."""
    return _render(chart, settings, release, tuple(values))


@cache
def _render(chart: str, settings: tuple[str, ...], release: str, values: tuple[Path, ...]) -> Rendered:
    chosen = [part for setting in settings for part in ("--set", setting)]
    files = [part for path in values for part in ("--values", str(path))]
    text = helm("template", release, str(CHARTS / chart), "--namespace", "shop", *chosen, *files)
    return Rendered(tuple(item for item in yaml.safe_load_all(text) if item))
