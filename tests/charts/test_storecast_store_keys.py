"""The platform's chart: the keys of the store, which Parquet files are encrypted with."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.charts.helm import containers, render
from tests.charts.storecast_chart import environment, own

GIVEN = "storeKeys.existingSecret=our-keys"


def test_they_reach_what_reads_or_writes_the_store_and_nothing_else() -> None:
    pods = {name: pod for name, pod in own(render("storecast", GIVEN)).pods() if "our-keys" in repr(pod)}
    assert sorted(pods) == ["Deployment/storecast-dashboard", "Deployment/storecast-serving"]
    for pod in pods.values():
        container = containers(pod)[-1]
        path = Path(environment(container)["STORECAST_STORE_KEY_FILE"])
        mount = next(m for m in container["volumeMounts"] if m["mountPath"] == str(path.parent))
        volume = next(v for v in pod["volumes"] if v["name"] == mount["name"])
        assert mount["readOnly"]
        assert volume["secret"] == {
            "secretName": "our-keys",
            "items": [{"key": path.name, "path": path.name}],
        }


def test_run_pods_get_them_by_the_work_pools() -> None:
    platform = own(render("storecast", GIVEN)).one("ConfigMap", "storecast-platform")
    pools = yaml.safe_load(platform["data"]["platform.yaml"])["pools"]
    assert {pool["storeKeys"] for pool in pools.values()} == {"our-keys"}


def test_without_them_nothing_is_mounted() -> None:
    assert "store-keys" not in repr(own(render("storecast")).objects)
