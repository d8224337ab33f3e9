"""What Prometheus sees, besides BentoML's own: requests, their time, the release, refusals.

prometheus_client shares these over workers through files (PROMETHEUS_MULTIPROC_DIR), which BentoML sets up;
so it must not be imported before the worker runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """The service's own metrics; make one per process."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        prefix = "storecast_serving"
        self._seconds = Histogram(
            f"{prefix}_request_seconds", "Time of a request", ["route"], buckets=BUCKETS
        )
        self._requests = Counter(f"{prefix}_requests", "Answers", ["route", "status"])
        self.shed = Counter(f"{prefix}_shed", "Requests turned away to keep the others fast")
        self._events = {
            "swaps": Counter(f"{prefix}_swaps", "Releases taken into use, per worker"),
            "refusals": Counter(f"{prefix}_refusals", "Releases refused, per worker"),
            "failures": Counter(f"{prefix}_store_failures", "Failed looks at the store"),
            "uncounted": Counter(
                f"{prefix}_rate_store_failures", "Times the rate limits' store did not answer"
            ),
            "unlogged": Counter(f"{prefix}_unlogged", "Lines of the access log that could not be written"),
        }
        self._told = dict.fromkeys(self._events, 0)
        self._ready = Gauge(f"{prefix}_ready", "Workers that have a release", multiprocess_mode="livesum")
        self._series: dict[tuple[str, int], tuple[Histogram, Counter]] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        found = self._series.get((route, status))
        if found is None:
            found = (self._seconds.labels(route), self._requests.labels(route, str(status)))
            self._series[route, status] = found
        found[0].observe(seconds)
        found[1].inc()

    def follow(self, *, ready: bool, **totals: int) -> None:
        """Take over what others count: `swaps`, `refusals`, `failures`, `uncounted`, `unlogged`, each since
        the start."""
        self._ready.set(ready)
        for name, total in totals.items():
            self._events[name].inc(total - self._told[name])
            self._told[name] = total
