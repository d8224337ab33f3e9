"""Draw the README's picture of forecasts from the release of `make demo`: `python scripts/pictures.py`.

It is SVG with text as text: small, and different in the repository only where the figures are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from components.report import material
from components.stage import open_store
from storecast.report import forecasts
from storecast.report.style import RC
from storecast.store.releases import ReleaseStore
from storecast.training_config import load_training_config

TARGET = Path(__file__).parent.parent / "docs" / "pictures"


def main() -> None:
    """Write docs/pictures/forecasts.svg."""
    store = open_store()
    releases = ReleaseStore(store, "synthetic")
    release = releases.current()
    if release is None:
        raise SystemExit("no release of the synthetic panel yet: run `make demo` first")
    lineage = json.loads((releases.path(release) / "lineage.json").read_text())
    found = {name: store.find(entry["stage"], entry["key"]) for name, entry in lineage.items()}
    panel, scores, decision = found["panel"], found["evaluation"], found["decision"]
    if panel is None or scores is None or decision is None:
        raise SystemExit("the demo's data sets are gone: run `make demo` again")
    content = material(store, panel, scores, decision, [], load_training_config("demo"))
    draw("forecasts", lambda: forecasts.forecasts(content))


def draw(name: str, make: Callable[[], Figure]) -> None:
    """Write docs/pictures/NAME.svg, in the style of reports."""
    TARGET.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    with mpl.rc_context({**RC, "svg.fonttype": "none", "svg.hashsalt": "storecast"}):
        figure = make()
        figure.savefig(TARGET / f"{name}.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
