"""A replay of the loop: the days of a past period one by one, into a table, a picture and figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from components import ingest
from components.replay import ReplayParts
from components.stage import Reporter, open_panel, open_store
from storecast.errors import ConfigError
from storecast.loop.policy import load_policy
from storecast.loop.replay import DAILY, LOOP, NAIVE, NEVER, Replay
from storecast.panel import Panel
from storecast.report import style
from storecast.store import parquet
from storecast.store import uri as uris
from storecast.training_config import load_training_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DAYS, SUMMARY, PICTURE, LOG = "days.parquet", "summary.json", "replay.png", "decisions.json"


@dataclass(frozen=True)
class Summary:
    """What a replay came to.

    Attributes:
        days, rows: of the period; forecasts that were scored.
        rmsle: pooled over all days and days ahead, by strategy.
        fits, seconds: after the first day, by strategy.
        gain: RMSLE below the model that was never trained again, by strategy.
        gain_share: the loop's gain over that of training daily; None where training daily gains nothing.
        cost_share: the loop's fits over those of training daily.
    """

    days: int
    rows: int
    rmsle: dict[str, float]
    fits: dict[str, int]
    seconds: dict[str, float]
    gain: dict[str, float]
    gain_share: float | None
    cost_share: float

    @classmethod
    def of(cls, table: pd.DataFrame) -> Summary:
        """Sum up `Replay.result()`."""
        rows = int(table["rows"].sum())
        names = (NEVER, DAILY, LOOP, NAIVE)
        rmsle = {name: float(np.sqrt(table[f"sse_{name}"].sum() / rows)) for name in names}
        last = table.iloc[-1]
        fits = {name: int(last[f"fits_{name}"]) for name in names[:3]}
        seconds = {name: float(last[f"seconds_{name}"]) for name in names[:3]}
        gain = {name: rmsle[NEVER] - rmsle[name] for name in (DAILY, LOOP)}
        share = gain[LOOP] / gain[DAILY] if gain[DAILY] > 0 else None
        return cls(len(table), rows, rmsle, fits, seconds, gain, share, fits[LOOP] / max(fits[DAILY], 1))


def replay(
    dataset: str,
    data: str,
    first: str,
    last: str,
    report: Reporter,
    *,
    policy: str = "default",
    training: str = "replay",
    workspace: str = "",
) -> tuple[str, Summary]:
    """Replay the loop over a period.

    Args:
        dataset: data set config, by name or file.
        data: folder or URI of the raw files.
        first, last: the period's first and last day (YYYY-MM-DD); the models begin as fitted on the first.
        report: called with (what the loop did, done, total) after each day.
        policy: policy, by name or file.
        training: training config with the naive and one other model.
        workspace: where data sets lie; "": as the settings say.

    Returns:
        The URI of the folder with days.parquet, decisions.json, summary.json and replay.png; and the summary.

    Raises:
        ConfigError: a day is no date, or the period does not lie in the panel's history.
    """
    first, last = _date("--from", first), _date("--to", last)
    store = open_store(workspace)
    source = ingest.run(dataset, data, workspace=workspace)
    rules, config = load_policy(policy), load_training_config(training)
    panel = open_panel(store, source.uri)
    days = period(panel, first, last)
    before = pd.date_range(end=days[0], periods=panel.horizon + 1, freq=panel.freq)
    parts = ReplayParts(store, source, config, list(before.union(days)))
    name = str(source.manifest["config"]["name"])
    run = Replay(parts, rules, config.gate, days, name)
    for done, day in enumerate(run.run(), start=1):
        report(_told(run, day), done, len(days))
    recipe = [source.hash, rules.model_dump(mode="json"), config.model_dump(mode="json"), first, last]
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    uri = uris.join(store.root, "replays", name, f"{first}-{last}-{key}")
    table = run.result()
    summary = Summary.of(table)
    with store.building(f"replay-{key}") as folder:
        parquet.write_frame(table, folder / DAYS)
        style.write_png(folder / PICTURE, lambda: picture(table, summary))
        (folder / LOG).write_text(json.dumps([d.to_dict() for d in run.log], indent=1) + "\n")
        (folder / SUMMARY).write_text(json.dumps(asdict(summary), indent=1, sort_keys=True) + "\n")
        uris.remove(uri)  # the same figures, but for the seconds of fits that had to be made again
        uris.publish(folder, uri, last=SUMMARY)
    return uri, summary


def period(panel: Panel, first: str, last: str) -> pd.DatetimeIndex:
    """The days of a period.

    Raises:
        ConfigError: it is empty, begins before there is history to learn from, or ends after the last actual.
    """
    start, end = pd.Timestamp(first), pd.Timestamp(last)
    earliest = panel.dates[min(8 * panel.frequency.week + panel.horizon, len(panel.dates) - 1)]
    if not earliest <= start < end < panel.cutoff:
        raise ConfigError(
            "the period cannot be replayed",
            where=f"--from {first} --to {last}",
            expected=f"--from at {earliest.date()} or later, --to after it and before {panel.cutoff.date()}",
            cure="choose days of the history: what came after each must be known",
        )
    return panel.dates[(panel.dates >= start) & (panel.dates <= end)]


def _date(option: str, text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ConfigError("not a date", where=option, expected="YYYY-MM-DD", found=text) from error


def _told(run: Replay, day: pd.Timestamp) -> str:
    """What the loop did on a day, where it did anything."""
    as_of = str(day.date())
    done = [d for d in run.log if d.as_of == as_of and d.action not in {"nothing", "wait"}]
    return "\n".join(f"{as_of}  {d.action:<8} {d.rule}: {d.because}" for d in done)


def lines(summary: Summary) -> Iterator[str]:
    """The summary in sentences."""
    costs = summary.fits, summary.seconds
    yield f"{summary.days} days, {summary.rows:,} forecasts of one series and day each"
    for name in (NAIVE, NEVER, LOOP, DAILY):
        cost = "" if name == NAIVE else f"   {costs[0][name]:>4} fits, {costs[1][name]:>7,.0f} s"
        yield f"  {name:<6} RMSLE {summary.rmsle[name]:.4f}{cost}"
    gained = f"{summary.gain[LOOP]:+.4f} by the loop, {summary.gain[DAILY]:+.4f} by training daily"
    yield f"gained on never training again: {gained}"
    if summary.gain_share is None:
        yield "training daily gains nothing on these days"
    else:
        yield f"the loop has {summary.gain_share:.0%} of the gain at {summary.cost_share:.0%} of the fits"


def picture(table: pd.DataFrame, summary: Summary) -> Figure:
    """RMSLE by day, and what has been gained so far, with the loop's trainings marked."""
    colours = {NEVER: style.NAIVE, DAILY: style.PALE, LOOP: style.ACCENT}
    figure, axes = style.new_figure(9.6, 6.2, 2, 1, sharex=True)
    days, trained = table["day"], table.loc[table["action"] == "train", "day"]
    for name, colour in colours.items():
        axes[0].plot(days, table[f"rmsle_{name}"], color=colour, linewidth=1.8, label=_label(name, summary))
    rows = table["rows"].cumsum()
    never = np.sqrt(table[f"sse_{NEVER}"].cumsum() / rows)
    for name in (DAILY, LOOP):
        so_far: Any = never - np.sqrt(table[f"sse_{name}"].cumsum() / rows)
        axes[1].plot(days, so_far, color=colours[name], linewidth=1.8, label=name)
    axes[1].axhline(0, color=style.MUTED, linewidth=0.8)
    for axis, title in zip(axes, ("RMSLE of each day's forecast", "RMSLE gained so far"), strict=True):
        for day in trained:
            axis.axvline(day, color=style.ACCENT, linewidth=0.8, linestyle=(0, (2, 3)))
        axis.set_title(title)
    axes[0].legend(loc="upper right")
    share = "" if summary.gain_share is None else f"{summary.gain_share:.0%} of daily training's gain, "
    note = f"The loop: {share}{summary.cost_share:.0%} of its fits; dotted: the loop trains"
    style.headline(figure, "Never training again, training daily, and the loop", note)
    return figure


def _label(name: str, summary: Summary) -> str:
    return f"{name}: {summary.rmsle[name]:.4f}, {summary.fits[name]} fits"
