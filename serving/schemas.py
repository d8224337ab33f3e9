"""The forms of bodies in the OpenAPI document, for the release at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.actuals import MOST_ROWS, TABLE
from serving.asking import MOST_LETTERS
from serving.questions import EVENT_KINDS, MOST_EVENTS
from serving.table import LARGEST, ReleaseTable
from storecast.settings import Settings

Json = dict[str, Any]
_STRING: Json = {"type": "string"}
_NUMBERS: Json = {"type": "array", "items": {"type": "number", "minimum": 0}}


def key_value(example: str = "") -> Json:
    """The value of a key column."""
    said: Json = {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS}
    return said | ({"examples": [example]} if example else {})


def date(example: str) -> Json:
    """A date."""
    return {
        "type": "string",
        "format": "date",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        "examples": [example],
    }


def levels(table: ReleaseTable) -> Json:
    """Quantile levels of the release."""
    return {
        "type": "array",
        "items": {"type": "number", "enum": table.levels},
        "uniqueItems": True,
        "examples": [table.levels[1:-1] or table.levels],
    }


def _values(table: ReleaseTable, name: str) -> Json:
    """A covariate's values: a number for every date, or numbers by date."""
    number = {"type": "number", "minimum": table.least(name), "maximum": LARGEST}
    dates = {"enum": table.dates}
    by_date = {"type": "object", "additionalProperties": number, "propertyNames": dates}
    return {"oneOf": [number, by_date]}


def _object(properties: Json, required: Sequence[str] | None = None, *, closed: bool = True) -> Json:
    made: Json = {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }
    return made | ({"additionalProperties": False} if closed else {})


def schemas(table: ReleaseTable, settings: Settings) -> Json:
    """All of them, by name."""
    names = table.names[0][1:]
    key = _object({name: key_value(value) for name, value in zip(table.keys, names, strict=True)})
    columns = dict.fromkeys(table.columns, _NUMBERS)
    titles = dict.fromkeys(("unique_id", *table.keys), _STRING)
    dates = {"type": "array", "items": {"type": "string", "format": "date"}}
    unknown = {"type": "array", "items": _object(dict.fromkeys(table.keys, _STRING))}
    return {
        **_asking(table, settings, key),
        "Forecasts": _object(
            {
                "release": _STRING,
                "dataset": _STRING,
                "keys": {"type": "array", "items": _STRING},
                "horizon": _object({"from": _STRING, "to": _STRING}),
                "series": {
                    "type": "array",
                    "items": _object({**titles, "ds": dates, **columns}, [*titles, "ds", "yhat"]),
                },
                "unknown": unknown,
            }
        ),
        "WhatIf": _object(
            {
                "release": _STRING,
                "series": {
                    "type": "array",
                    "items": _object(
                        {
                            **titles,
                            "ds": dates,
                            "baseline": _object(columns),
                            "what_if": _object(columns),
                            "difference": {"type": "array", "items": {"type": "number"}},
                        }
                    ),
                },
                "unknown": unknown,
            }
        ),
        **_others(titles),
    }


def _asking(table: ReleaseTable, settings: Settings, key: Json) -> Json:
    """The bodies of requests."""
    most = settings.serving_max_keys
    known = {name: _values(table, name) for name in table.about["known"]}
    example = dict(zip(table.keys, table.names[0][1:], strict=True))
    event = {
        "ds": {"type": "string", "enum": table.dates},
        "event": {"type": "string", "minLength": 1, "maxLength": 100},
        "kind": {"type": "string", "enum": list(EVENT_KINDS)},
    }
    asked = {
        "keys": {"type": "array", "items": key, "minItems": 1, "maxItems": most},
        "from": date(table.dates[0]),
        "to": date(table.dates[-1]),
        "quantiles": levels(table),
    }
    series = {"key": key, "known": _object(known, [])}
    changed = dict.fromkeys(known, 10)
    value = {"type": ["string", "number", "boolean", "null"]}
    row = {"type": "object", "minProperties": 1, "additionalProperties": value}
    actuals = {
        "rows": {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_ROWS},
        "table": {"type": "string", "pattern": f"^{TABLE.pattern}$"},
    }
    return {
        "ActualsOf": _object(actuals, ["rows"]),
        "ForecastsOf": _object(asked, ["keys"]) | {"examples": [{"keys": [example]}]},
        "WhatIfOf": _object(
            {
                "series": {
                    "type": "array",
                    "items": _object(series, ["key"]),
                    "minItems": 1,
                    "maxItems": most,
                },
                "events": {
                    "type": "array",
                    "items": _object(event, ["ds", "event"]),
                    "maxItems": MOST_EVENTS,
                },
            },
            ["series"],
        )
        | {"examples": [{"series": [{"key": example, "known": changed}]}]},
    }


def _others(titles: Json) -> Json:
    count = {"type": "integer", "minimum": 0}
    text_or_none = {"type": ["string", "null"]}
    store = _object({"state": {"type": "string", "enum": ["ok", "unreachable", "undecided"]}})
    release = {
        "id": _STRING,
        "cutoff": _STRING,
        "current": {"type": "boolean"},
        "serving": {"type": "boolean"},
        "activated": text_or_none,
        "refused": text_or_none,
    }
    age = {
        "activated": text_or_none,
        "seconds": {"type": ["integer", "null"]},
        "days_since_cutoff": {"type": "integer"},
    }
    anything: Json = {"type": "object"}
    return {
        "Series": _object(
            {
                "release": _STRING,
                "total": count,
                "offset": count,
                "series": {"type": "array", "items": _object(titles)},
            }
        ),
        "Releases": _object({"releases": {"type": "array", "items": _object(release)}, "store": store}),
        "Current": _object(
            {
                "id": _STRING,
                "dataset": _STRING,
                "age": _object(age),
                "metrics": anything,
                "about": anything,
                "lineage": anything,
                "refused": anything,
                "store": store,
            }
        ),
        "Pointed": _object({"current": _STRING, "serving": _STRING}),
        "Kept": _object({"file": _STRING, "rows": count}),
        "Problem": _object(
            {
                "type": _STRING,
                "title": _STRING,
                "status": count,
                "detail": _STRING,
                "field": _STRING,
                "expected": _STRING,
                "cure": _STRING,
            },
            ["type", "title", "status", "detail"],
        ),
    }
