"""The endpoints, each a function of the state and a request, and the table that leads to them.

| path | scope |
|---|---|
| GET, POST /v1/forecasts | read |
| POST /v1/what-if | what-if |
| GET /v1/series, /v1/releases, /v1/releases/current, /openapi.json | read |
| POST /v1/releases/{id}/activate, /v1/releases/rollback, /v1/actuals | admin |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from serving import actuals, answers, asking, openapi, pointing, questions
from serving.answers import ARROW, NO_STORE, Answer
from serving.problems import NOT_FOUND, Problem, invalid, wrong_method
from serving.state import Request, State
from serving.table import ReleaseTable


def forecasts_of_query(table: ReleaseTable, query: bytes) -> Answer:
    """GET /v1/forecasts: one series."""
    found = asking.query(query, [*table.keys, *asking.PARAMETERS])
    key = asking.key_of(found, table.keys)
    quantiles = found.get("quantiles")
    levels = None if quantiles is None else [level for level in quantiles.split(",") if level]
    chosen = asking.selection(table, found.get("from"), found.get("to"), levels)
    row = table.rows.get(key)
    texts = [] if row is None else [_text(table, row, chosen)]
    body = answers.forecasts(table, texts, [key] if row is None else [])
    return Answer(200, body, headers=answers.of_release(table))


async def forecasts(state: State, request: Request) -> Answer:
    """POST /v1/forecasts: many series, as JSON or as an Arrow stream."""
    table = state.table()
    content = asking.json_object(request.body, ("keys", *asking.PARAMETERS), ("keys",))
    asked = asking.items(content["keys"], "body.keys", state.settings.serving_max_keys)
    quantiles = content.get("quantiles")
    if quantiles is not None and not isinstance(quantiles, list):
        raise invalid("body.quantiles", "a list of levels")
    chosen = asking.selection(table, content.get("from"), content.get("to"), quantiles)
    rows, unknown = [], []
    for i, item in enumerate(asked):
        key = questions.key(item, table.keys, f"body.keys[{i}]")
        row = table.rows.get(key)
        rows.append(row) if row is not None else unknown.append(key)
    if ARROW in request.accept:
        body = answers.arrow(table, rows, chosen.days, chosen.columns, unknown)
        return Answer(200, body, ARROW, [(b"storecast-release", table.id.encode()), NO_STORE])
    texts = [_text(table, row, chosen) for row in rows]
    headers = [(b"storecast-release", table.id.encode()), NO_STORE]
    return Answer(200, answers.forecasts(table, texts, unknown), headers=headers)


async def what_if(state: State, request: Request) -> Answer:
    """POST /v1/what-if: the release's model, asked anew."""
    table = state.table()
    question = questions.read(request.body, table, state.settings.serving_max_keys)
    if state.champion is None:
        raise Problem(501, "no-what-if", "this service runs without the model", cure="set serving_what_if")
    if not question["series"]:
        return answers.json({"release": table.id, "series": [], "unknown": question["unknown"]})
    return await state.champion.ask(question)


async def series(state: State, request: Request) -> Answer:
    """GET /v1/series: which series there are, a page at a time."""
    table = state.table()
    found = asking.query(request.query, [*table.keys, "limit", "offset"])
    limit = asking.count(found.pop("limit", None), "limit", 1_000, 1, 10_000)
    offset = asking.count(found.pop("offset", None), "offset", 0, 0, 999_999_999)
    wanted = [(1 + table.keys.index(name), asking.text(value, name)) for name, value in found.items()]
    names = [name for name in table.names if all(name[i] == value for i, value in wanted)]
    titles = ["unique_id", *table.keys]
    page = [dict(zip(titles, name, strict=True)) for name in names[offset : offset + limit]]
    content = {"release": table.id, "total": len(names), "offset": offset, "series": page}
    return answers.json(content, answers.of_release(table))


async def releases(state: State, request: Request) -> Answer:
    """GET /v1/releases: all there are, as the store was last seen."""
    asking.query(request.query, [])
    seen, serving = state.watcher.seen, state.watcher.release
    listed = [
        {
            **entry,
            "current": entry["id"] == seen.current,
            "serving": entry["id"] == serving,
            "activated": seen.activated.get(entry["id"]),
            "refused": state.watcher.refused.get(entry["id"]),
        }
        for entry in seen.releases
    ]
    return answers.json({"releases": listed, "store": _store(state)})


async def current(state: State, request: Request) -> Answer:
    """GET /v1/releases/current: the release that is served, its age, scores and lineage."""
    asking.query(request.query, [])
    table, seen = state.table(), state.watcher.seen
    activated = seen.activated.get(table.id)
    now = datetime.now(UTC)
    cutoff = datetime.fromisoformat(str(table.about["about"]["cutoff"])).replace(tzinfo=UTC)
    content = {
        "id": table.id,
        "dataset": table.about["dataset"],
        "age": {
            "activated": activated,
            "seconds": int((now - datetime.fromisoformat(activated)).total_seconds()) if activated else None,
            "days_since_cutoff": (now - cutoff).days,
        },
        "metrics": {"rmsle_last_fold": table.about["about"].get("rmsle_last_fold", {})},
        "about": table.about["about"],
        "lineage": table.about["lineage"],
        "refused": state.watcher.refused,
        "store": _store(state),
    }
    return answers.json(content)


async def add_actuals(state: State, request: Request) -> Answer:
    """POST /v1/actuals: rows of raw files, for the next ingest."""
    dataset = str(state.table().about["dataset"])
    return await actuals.keep(state.settings, dataset, request.body)


async def document(state: State, request: Request) -> Answer:
    """GET /openapi.json: written for the release at hand: its keys, dates, levels and covariates."""
    del request
    table = state.table()
    return answers.json(openapi.document(table, state.settings), answers.of_release(table))


def _text(table: ReleaseTable, row: int, chosen: asking.Selection) -> bytes:
    return table.text(row) if chosen.whole else table.part(row, chosen.days, chosen.columns)


def _store(state: State) -> dict[str, str]:
    seen = state.watcher.seen
    return {"state": "undecided" if seen.undecided else "unreachable" if seen.trouble else "ok"}


Endpoint = Callable[[State, Request], Awaitable[Answer]]

ROUTES: dict[str, dict[str, tuple[str, Endpoint]]] = {
    "/v1/forecasts": {"POST": ("read", forecasts)},
    "/v1/what-if": {"POST": ("what-if", what_if)},
    "/v1/series": {"GET": ("read", series)},
    "/v1/releases": {"GET": ("read", releases)},
    "/v1/releases/current": {"GET": ("read", current)},
    "/v1/releases/rollback": {"POST": ("admin", pointing.rollback)},
    "/v1/releases/{id}/activate": {"POST": ("admin", pointing.activate)},
    "/v1/actuals": {"POST": ("admin", add_actuals)},
    "/openapi.json": {"GET": ("read", document)},
}


def find(path: str, method: str) -> tuple[str, str, Endpoint]:
    """The route, the scope it needs, and the endpoint.

    Raises:
        Problem: there is no such path or method.
    """
    route = path
    if path not in ROUTES:
        parts = path.split("/")
        if len(parts) != 5 or parts[:3] != ["", "v1", "releases"] or parts[4] != "activate":
            raise NOT_FOUND
        route = "/v1/releases/{id}/activate"
    methods = ROUTES[route]
    if method not in methods:
        allowed = [*methods, "GET"] if route == "/v1/forecasts" else [*methods]
        raise wrong_method(", ".join(sorted(allowed)))
    scope, endpoint = methods[method]
    return route, scope, endpoint
