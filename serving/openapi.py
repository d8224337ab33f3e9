"""The OpenAPI document of the release at hand: its own keys, dates, levels and covariates, with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.asking import MOST_LETTERS
from serving.questions import EVENT_KINDS, LARGEST, MOST_EVENTS
from serving.table import ReleaseTable
from storecast import __version__
from storecast.settings import Settings

Json = dict[str, Any]
_STRING: Json = {"type": "string"}
_NUMBERS: Json = {"type": "array", "items": {"type": "number", "minimum": 0}}
_PROBLEMS = {
    "400": "the body is not JSON",
    "401": "no valid API key",
    "403": "the key lacks the scope",
    "404": "there is no forecast for these dates, or no such release",
    "409": "the release is damaged, there is none to go back to, or a series is asked twice",
    "413": "too much at once",
    "415": "the body is of a type that is not read",
    "422": "a value is not valid",
    "429": "a rate limit is used up; Retry-After says for how long",
    "503": "busy, or nothing is loaded yet; Retry-After says when to come back",
}


def document(table: ReleaseTable, settings: Settings) -> Json:
    """The document, as JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Storecast",
            "version": __version__,
            "description": f"Forecasts of {table.about['dataset']}; values are in units of sales.",
        },
        "security": [{"key": []}],
        "paths": _paths(table, settings),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(table, settings),
        },
    }


def _paths(table: ReleaseTable, settings: Settings) -> Json:
    return {
        "/v1/forecasts": {
            "get": _operation("One series", "Forecasts", ["404"], parameters=_query(table)),
            "post": _operation(
                "Many series", "Forecasts", ["400", "404", "413", "415"], body="ForecastsOf", arrow=True
            ),
        },
        "/v1/what-if": {
            "post": _operation(
                "The model's forecast if promotions, prices or the calendar were others",
                "WhatIf",
                ["400", "409", "413", "415", *([] if settings.serving_what_if else ["501"])],
                body="WhatIfOf",
            )
        },
        "/v1/series": {
            "get": _operation("The series there are", "Series", [], parameters=_filters(table)),
        },
        "/v1/releases": {"get": _operation("All releases", "Releases", [])},
        "/v1/releases/current": {"get": _operation("The release that is served", "Current", [])},
        "/v1/releases/rollback": {
            "post": _operation(
                "Go back to the release before", "Pointed", ["409", "413", "415"], status="202"
            )
        },
        "/v1/releases/{id}/activate": {
            "post": _operation(
                "Make a release the current one",
                "Pointed",
                ["404", "409", "413", "415"],
                status="202",
                parameters=[
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]+$"},
                    }
                ],
            )
        },
    }


def _operation(
    summary: str,
    schema: str,
    problems: Sequence[str],
    *,
    parameters: Sequence[Json] = (),
    body: str = "",
    status: str = "200",
    arrow: bool = False,
) -> Json:
    content: Json = {"application/json": {"schema": _ref(schema)}}
    if arrow:
        content["application/vnd.apache.arrow.stream"] = {"schema": {"type": "string", "format": "binary"}}
    made: Json = {
        "summary": summary,
        "responses": {
            status: {"description": "the answer", "content": content},
            **{code: _problem(code) for code in sorted({*problems, "401", "403", "422", "429", "503"})},
        },
    }
    if parameters:
        made["parameters"] = list(parameters)
    if body:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return made


def _problem(code: str) -> Json:
    text = _PROBLEMS.get(code, "the service runs without the model")
    return {"description": text, "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _key_value(example: str = "") -> Json:
    said: Json = {"type": "string", "minLength": 1, "maxLength": MOST_LETTERS}
    return said | ({"examples": [example]} if example else {})


def _date(example: str) -> Json:
    return {
        "type": "string",
        "format": "date",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        "examples": [example],
    }


def _levels(table: ReleaseTable) -> Json:
    return {
        "type": "array",
        "items": {"type": "number", "enum": table.levels},
        "uniqueItems": True,
        "examples": [table.levels[1:-1] or table.levels],
    }


def _query(table: ReleaseTable) -> list[Json]:
    keys = [
        {"name": name, "in": "query", "required": True, "schema": _key_value(), "example": value}
        for name, value in zip(table.keys, table.names[0][1:], strict=True)
    ]
    return [
        *keys,
        {"name": "from", "in": "query", "schema": _date(table.dates[0]), "example": table.dates[0]},
        {"name": "to", "in": "query", "schema": _date(table.dates[-1]), "example": table.dates[-1]},
        {"name": "quantiles", "in": "query", "style": "form", "explode": False, "schema": _levels(table)},
    ]


def _filters(table: ReleaseTable) -> list[Json]:
    def whole(name: str, least: int, most: int) -> Json:
        return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": least, "maximum": most}}

    keys = [{"name": name, "in": "query", "schema": _key_value()} for name in table.keys]
    return [*keys, whole("limit", 1, 10_000), whole("offset", 0, 999_999_999)]


def _object(properties: Json, required: Sequence[str] | None = None, *, closed: bool = True) -> Json:
    made: Json = {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }
    return made | ({"additionalProperties": False} if closed else {})


def _schemas(table: ReleaseTable, settings: Settings) -> Json:
    names = table.names[0][1:]
    key = _object({name: _key_value(value) for name, value in zip(table.keys, names, strict=True)})
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
    number = {"type": "number", "minimum": 0, "maximum": LARGEST}
    by_date = {"type": "object", "additionalProperties": number, "propertyNames": {"enum": table.dates}}
    known = {name: {"oneOf": [number, by_date]} for name in table.about["known"]}
    example = dict(zip(table.keys, table.names[0][1:], strict=True))
    event = {
        "ds": {"type": "string", "enum": table.dates},
        "event": {"type": "string", "minLength": 1, "maxLength": 100},
        "kind": {"type": "string", "enum": list(EVENT_KINDS)},
    }
    asked = {
        "keys": {"type": "array", "items": key, "minItems": 1, "maxItems": most},
        "from": _date(table.dates[0]),
        "to": _date(table.dates[-1]),
        "quantiles": _levels(table),
    }
    series = {"key": key, "known": _object(known, [])}
    changed = dict.fromkeys(known, 10)
    return {
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
    store = _object({"state": {"type": "string", "enum": ["ok", "unreachable"]}})
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
