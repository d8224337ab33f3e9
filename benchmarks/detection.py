"""How soon monitoring sees what is wrong, and how often it cries for nothing: python -m benchmarks.detection

With --data DIR on the Store Sales panel, else on a synthetic one. What is served are forecasts of a robust
seasonal naive (benchmarks/detection_faults.py), a new release every 7 days, made from what arrived, faults
included. The defaults of monitoring were chosen on the first period; the figures are of the second. Beside
each fault stands what the loop does about it by the default policy, for a model that is a week old then.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.detection_faults import EVERY, INJECTIONS, Injection, chosen, serve
from storecast.configs import config_file
from storecast.dataset_config import load_dataset_config
from storecast.ingest import ingest
from storecast.loop.decisions import Decision
from storecast.loop.policy import Policy, decide, load_policy
from storecast.loop.state import state_of
from storecast.monitor.config import MonitorConfig, load_monitor_config
from storecast.monitor.feed_days import feed_table
from storecast.monitor.health import ALL, Check, Health
from storecast.monitor.inputs import Groups
from storecast.monitor.moved import ERROR, drift_table
from storecast.monitor.scores import daily
from storecast.monitor.watch import score_checks
from storecast.panel import Panel
from storecast.segments import segment_table
from storecast.synthetic import make_panel

BAR = 1.0
LOOK_DAYS = 14
OF_THE_FEED = ("volume", "scale")
"""Checks that are breached as long as one of the last days of the feed is."""
QUIET = {
    "tuned on": ("2015-11-01", "2016-04-10"),  # up to the earthquake of 16 April
    "reported": ("2016-07-01", "2017-07-31"),
}
STARTS = ("2016-09-14", "2016-12-12", "2017-02-24", "2017-05-20", "2017-07-04")


def main() -> None:
    """Print false alarms and days to detection."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection")
    parser.add_argument("--data", default="", help="folder of the Store Sales files; default: synthetic")
    parser.add_argument("--monitoring", default="default", help="monitoring config")
    parser.add_argument("--faults", action="store_true", help="faults alone, no quiet periods")
    options = parser.parse_args()
    config = load_monitor_config(options.monitoring)
    began = time.monotonic()
    if options.data:
        with tempfile.TemporaryDirectory() as folder:
            dataset = load_dataset_config(config_file("store_sales", "datasets"))
            panel = ingest(dataset, options.data, Path(folder)).panel
        periods, starts = QUIET, [pd.Timestamp(day) for day in STARTS]
    else:
        panel = make_panel(n_stores=12, n_families=6, n_days=1100)
        periods = {"reported": (str(panel.dates[560].date()), str(panel.cutoff.date()))}
        starts = [panel.dates[at] for at in (700, 830, 950)]
    bench = Bench(panel, config)
    for name, (first, last) in () if options.faults else periods.items():
        bench.quiet(name, pd.Timestamp(first), pd.Timestamp(last))
    bench.faults(starts)
    print(f"\n{time.monotonic() - began:.0f} s")


class Bench:
    """A panel with what was served for its last two and a half years."""

    def __init__(self, panel: Panel, config: MonitorConfig) -> None:
        self.panel, self.config, self.policy = panel, config, load_policy("default")
        self.families = pd.factorize(panel.static[panel.static.columns[1]])[0]
        first = max(7 * EVERY, panel.n_history - 890)
        self.cutoffs = panel.dates[first : panel.n_history - 1 : EVERY]
        self.served = serve(panel, self.cutoffs, self.families)
        self._without: dict[pd.Timestamp, set[tuple[pd.Timestamp, str]]] = {}

    def quiet(self, name: str, first: pd.Timestamp, last: pd.Timestamp) -> None:
        """Alarms over days on which nothing was injected."""
        panel = self.panel.at(last, EVERY)
        days = (last - first).days + 1
        alarms = breaches(panel, self.served, self.config, days)
        onsets = _onsets(alarms)
        closed = [ds for ds, what in onsets.items() if _only_closed(what, ds, panel)]
        false = len(onsets) - len(closed)
        rate = 100 * false / days
        verdict = "reached" if rate <= BAR else "NOT REACHED"
        print(f"\n{name}: {first.date()} to {last.date()}, {days} quiet days, {panel.n_series} series")
        print(f"days on which a false alarm begins {false}, per 100 days {rate:.2f}   ", end="")
        print(f"{verdict}: at most {BAR:g}")
        print(f"days on which a sender that really sold nothing is reported: {len(closed)} begin")
        for ds, what in onsets.items():
            print(f"  {ds.date()}  {what}")

    def faults(self, starts: Sequence[pd.Timestamp]) -> None:
        """Days until each fault raises an alarm that was not there without it, and what the loop does."""
        print(f"\ndays to detection (1: the day it begins; -: not within {LOOK_DAYS}), {len(starts)} starts")
        for injection in INJECTIONS:
            for share in injection.shares:
                found = [self.detect(injection, share, start, seed) for seed, start in enumerate(starts)]
                days = [days for days, _, _ in found]
                how = pd.Series([how for _, how, _ in found if how]).value_counts()
                seen = [d for d in days if d is not None]
                told = " ".join("-" if d is None else str(d) for d in days)
                median = f"{np.median(seen):g}" if seen else "-"
                what = f"{injection.name:<36} {share:>5.0%}  {len(seen)}/{len(days)}"
                print(f"{what}  median {median:>4}  [{told}]  {', '.join(how.index[:3])}")
                print(f"{'':<36}        the loop: {', '.join(done for _, _, done in found)}", flush=True)

    def detect(
        self, injection: Injection, share: float, start: pd.Timestamp, seed: int
    ) -> tuple[int | None, str, str]:
        """Days until the first new alarm, which check gave it, and what the loop did."""
        end = start + pd.Timedelta(days=LOOK_DAYS - 1)
        panel = self.panel.at(end, EVERY)
        sick = injection.fault(panel, panel.dates.get_loc(start), chosen(panel, injection, share, seed))
        usual = self.served[self.served["ds"] <= end]
        later = self.cutoffs[(self.cutoffs >= start - pd.Timedelta(days=4 * EVERY)) & (self.cutoffs < end)]
        anew = serve(sick, later, self.families)
        anew = anew[anew["cutoff"] >= start - pd.Timedelta(days=EVERY)]
        served = pd.concat([usual[usual["cutoff"] < anew["cutoff"].min()], anew], ignore_index=True)
        if start not in self._without:
            self._without[start] = set(_names(breaches(panel, usual, self.config, LOOK_DAYS)))
        found = breaches(sick, served, self.config, LOOK_DAYS)
        done = what_the_loop_does(self.policy, found, start, self.config.feed.days)
        for ds, name in _names(found):
            if (ds, name) not in self._without[start]:
                return (ds - start).days + 1, name, done
        return None, "", done


def what_the_loop_does(policy: Policy, found: pd.DataFrame, start: pd.Timestamp, feed_days: int) -> str:
    """The first training, or which rule forbids one that is due, with its day (1: that of the fault)."""
    log: list[Decision] = []
    held = ""
    judged = Check("error", ALL, 0.0, 1.0, False, 1, "")
    before = str((start - pd.Timedelta(days=EVERY)).date())
    lasts = pd.to_timedelta(np.where(found["name"].isin(OF_THE_FEED), feed_days, 1), unit="D")
    for number, day in enumerate(pd.date_range(start, periods=LOOK_DAYS), 1):
        now_breached = (found["ds"] <= day) & (found["ds"] > day - lasts)
        today = found.loc[now_breached, ["name", "segment"]].drop_duplicates().itertuples(index=False)
        checks = tuple(Check(str(name), str(segment), 1.0, 0.0, True, 1, "") for name, segment in today)
        health = Health("bench", "", str(day.date()), (judged, *checks))
        now = day.to_pydatetime().replace(tzinfo=UTC) + timedelta(days=1, hours=6)
        log.append(decide(policy, state_of(log, before), health, now))
        if log[-1].action == "train":
            return f"trains, {number}"
        if log[-1].action == "wait" and not held:
            held = f"does not learn ({log[-1].rule}), {number}"
    return held or "nothing"


def breaches(panel: Panel, served: pd.DataFrame, config: MonitorConfig, days: int) -> pd.DataFrame:
    """Every breach of the last days of a panel, `ds, name, segment`: what `watch` gives on each of them."""
    served = served[served["ds"] <= panel.cutoff]
    segments = segment_table(panel, panel.dates[panel.n_history - days])
    columns = config.columns({str(name): int(segments[name].nunique()) for name in segments})
    drift = drift_table(panel, served, segments, columns, config, days)
    drift = drift[drift["breached"]].assign(
        name=lambda t: np.where(t["figure"].str.startswith(ERROR), "error_drift", "input_drift"),
        segment=lambda t: t["figure"] + " " + t["segment"],
    )
    feed = feed_table(panel, served, config.feed.model_copy(update={"days": days}))
    feed = feed[feed["breached"]].assign(segment=lambda t: t["kind"] + " " + t["segment"])
    groups = Groups.of(segments.loc[list(panel.ids)], columns).decisive(config.scores.decisive_share)
    recent = served[served["ds"] > panel.cutoff - pd.Timedelta(days=days + max(config.scores.windows_days))]
    sums = daily(recent, segments, columns)
    scored = pd.DataFrame(
        [
            (day, c.name, c.segment)
            for day, c in _scores(sums, panel, config, days, set(groups.names))
            if c.breached
        ],
        columns=["ds", "name", "segment"],
    )
    found = pd.concat([part[["ds", "name", "segment"]] for part in (drift, feed, scored)], ignore_index=True)
    return found.sort_values(["ds", "name"], kind="stable")


def _scores(
    sums: pd.DataFrame, panel: Panel, config: MonitorConfig, days: int, decisive: set[tuple[str, str]]
) -> Iterator[tuple[pd.Timestamp, object]]:
    for day in panel.dates[panel.n_history - days : panel.n_history]:
        for check in score_checks(sums[sums["ds"] <= day], day, config.scores, decisive):
            yield day, check


def _names(found: pd.DataFrame) -> list[tuple[pd.Timestamp, str]]:
    """The breaches by day and what they are: `volume: zeros`, `error_drift: error`, `bias: all`."""
    rows = found.itertuples(index=False, name=None)
    return list(dict.fromkeys((ds, f"{name}: {segment.split(' ')[0]}") for ds, name, segment in rows))


def _only_closed(what: str, ds: pd.Timestamp, panel: Panel) -> bool:
    """Whether an alarm is that one sender sends zeros, and the data say that it sold nothing at all."""
    if ";" in what or not what.startswith("volume zeros ") or "=" not in what:
        return False
    column, _, sender = what.removeprefix("volume zeros ").partition("=")
    rows = (panel.static[column] == sender).to_numpy()
    return not np.nan_to_num(panel.y[rows, panel.dates.get_loc(ds)]).any()


def _onsets(found: pd.DataFrame) -> dict[pd.Timestamp, str]:
    """The days on which a check is breached that was not on the day before."""
    on: dict[pd.Timestamp, set[str]] = {}
    for ds, name, segment in found.itertuples(index=False, name=None):
        on.setdefault(ds, set()).add(f"{name} {segment}")
    out = {}
    for ds, names in on.items():
        kinds = {name.split(" ")[0] for name in on.get(ds - pd.Timedelta(days=1), set())}
        new = sorted(name for name in names if name.split(" ")[0] not in kinds)
        if new:
            out[ds] = "; ".join(new[:4]) + (f" and {len(new) - 4} more" if len(new) > 4 else "")
    return out


if __name__ == "__main__":
    main()
