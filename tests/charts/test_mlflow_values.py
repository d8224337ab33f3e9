"""charts/mlflow's values: all used, described, checked; as part of another chart."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helm import HelmError, Rendered, helm, render
from tests.charts.mlflow_chart import (
    CHART,
)

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Dotted paths of all values."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in {"requests", "limits"}:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key


def test_every_value_is_used_by_a_template() -> None:
    templates = "\n".join(p.read_text(encoding="utf-8") for p in (CHART / "templates").rglob("*.*"))
    whole = set(re.findall(r"\.Values\.([A-Za-z0-9.]+)", templates))
    parts = set(re.findall(r"[ )]\.([A-Za-z0-9]+)", templates))
    for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))):
        used = path.removesuffix(".requests").removesuffix(".limits")
        parent, _, leaf = used.rpartition(".")
        assert used in whole or (parent in whole and leaf in parts), path


def test_every_value_is_described_and_in_the_schema() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    for path in leaves(yaml.safe_load("\n".join(text))):
        node = schema
        for key in path.split("."):
            node = node["properties"][key]
        leaf = path.split(".")[-1]
        if leaf in {"requests", "limits"}:
            continue
        places = [i for i, line in enumerate(text) if re.match(rf"\s*{leaf}:", line)]
        assert all(
            text[i - 1].lstrip().startswith("# ") for i in places if not text[i].rstrip().endswith(":")
        ), path


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("nonsense=1", "nonsense"),
        ("server.replica=2", "replica"),
        ("auth.password=short", "password"),
        ("backup.keep=0", "keep"),
        ("gc.olderThan=a month", "olderThan"),
        ("server.replicas=2", "artifacts.storage=s3"),
        ("postgresql.enabled=false", "externalDatabase.host is empty"),
        ("externalDatabase.host=db", "postgresql.enabled=false"),
        ("artifacts.storage=s3", "artifacts.s3.bucket is empty"),
        ("metrics.serviceMonitor.enabled=true", "metrics.enabled=true"),
        ("gateway.enabled=true", "gateway.parentRefs is empty"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(setting: str, told: str) -> None:
    with pytest.raises(HelmError, match=re.escape(told)):
        render("mlflow", setting)


def test_a_chart_above_may_share_globals_and_read_the_password(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "templates").mkdir(parents=True)
    shutil.copytree(CHART, above / "charts" / "mlflow")
    (above / "Chart.yaml").write_text("apiVersion: v2\nname: above\nversion: 0.1.0\n", encoding="utf-8")
    (above / "templates" / "x.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: above}\ndata:\n"
        '  x: {{ include "mlflow.auth.password" .Subcharts.mlflow }}\n',
        encoding="utf-8",
    )
    text = helm("template", "storecast", str(above), "--set", "global.anything=1,mlflow.enabled=true")
    objects = Rendered(tuple(item for item in yaml.safe_load_all(text) if item))
    secret = objects.one("Secret", "storecast-mlflow-auth")
    assert objects.one("ConfigMap", "above")["data"]["x"] == secret["stringData"]["password"]
    assert objects.one("Service", "storecast-mlflow")
