"""Draw the README's picture of Store Sales from what a benchmark run has written.

python -m benchmarks --data DIR --json FILE
python scripts/benchmark_picture.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from pictures import draw

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import bars
from storecast.report import style

NAMES = {
    "gbm": "gradient boosting",
    "blend": "blend",
    "lstm": "LSTM",
    "arima": "ARIMA",
    "prophet": "Prophet",
    "naive": "seasonal naive",
    "mlforecast LightGBM": "one LightGBM\n(mlforecast)",
}
PEERS = ("naive", "mlforecast LightGBM")
ERROR = " RMSLE, last fold"


def main() -> None:
    """Write docs/pictures/store-sales.svg."""
    lines = bars.read(Path(sys.argv[1]))
    errors = {line.name.removesuffix(ERROR): line.value for line in lines if line.name.endswith(ERROR)}
    draw("store-sales", lambda: compared(errors))


def compared(errors: dict[str, float]) -> Figure:
    """Models by their error, the best on top."""
    names = sorted(errors, key=errors.__getitem__, reverse=True)
    colours = [style.NAIVE if name in PEERS else style.PALE for name in names[:-1]]
    figure, (axis,) = style.new_figure(8.6, 0.42 * len(names) + 1.9)
    axis.barh(
        [NAMES[n] for n in names], [errors[n] for n in names], color=[*colours, style.ACCENT], height=0.66
    )
    for row, name in enumerate(names):
        ink = "white" if row == len(names) - 1 else style.INK
        axis.text(errors[name] - 0.008, row, f"{errors[name]:.3f}", va="center", ha="right", color=ink)
    axis.set_xlabel("RMSLE (lower is better)")
    axis.grid(visible=False, axis="y")
    note = "31 July to 15 August 2017, 1,782 series, pooled; nothing after the cutoff was seen"
    style.headline(figure, "Store Sales, the last 16 days", note)
    return figure


if __name__ == "__main__":
    main()
