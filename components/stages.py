"""The stages by name, in the order of the pipeline: what `python -m components NAME` and the flows run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

STAGES: Mapping[str, str] = MappingProxyType(
    {
        name: f"components.{name}"
        for name in (
            "synthetic",
            "ingest",
            "features",
            "train",
            "evaluate",
            "gate",
            "report",
            "forecast",
            "release",
            "register",
            "activate",
            "monitor",
            "shadow",
            "refresh",
            "tune",
            "tune_report",
            "partition",
            "partitions_report",
            "join",
            "archive",
        )
    }
)
"""Module of each stage by its name."""
