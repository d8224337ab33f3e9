"""The OpenAPI document of the release at hand: its own keys, dates, levels and covariates, with examples."""

from __future__ import annotations

from collections.abc import Sequence

from serving.schemas import Json, date, key_value, levels, schemas
from serving.table import ReleaseTable
from storecast import __version__
from storecast.settings import Settings

_PROBLEMS = {
    "400": "the body is not JSON",
    "401": "no valid API key",
    "403": "the key lacks the scope",
    "404": "there is no forecast for these dates, or no such release",
    "409": "the release is damaged or not current, there is none to go back to, or a series is asked twice",
    "413": "too much at once",
    "415": "the body is of a type that is not read",
    "422": "a value is not valid",
    "429": "a rate limit is used up; Retry-After says for how long",
    "500": "the service may not write to the store",
    "503": "busy, or nothing is loaded yet; Retry-After says when to come back",
}

_ID: Json = {"type": "string", "pattern": "^[A-Za-z0-9-]+$"}


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
            "schemas": schemas(table, settings),
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
        "/v1/actuals": {
            "post": _operation(
                "Rows of raw files, for the next ingest",
                "Kept",
                ["400", "413", "415", "500"],
                body="ActualsOf",
                status="202",
            )
        },
        "/v1/releases": {"get": _operation("All releases", "Releases", [])},
        "/v1/releases/current": {"get": _operation("The release that is served", "Current", [])},
        "/v1/releases/rollback": {
            "post": _operation(
                "Go back to the release before",
                "Pointed",
                ["409", "413", "415", "500"],
                status="202",
                parameters=[{"name": "current", "in": "query", "schema": _ID}],
            )
        },
        "/v1/releases/{id}/activate": {
            "post": _operation(
                "Make a release the current one",
                "Pointed",
                ["404", "409", "413", "415", "500"],
                status="202",
                parameters=[
                    {
                        "name": "id",
                        "in": "path",
                        "required": True,
                        "schema": _ID,
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


def _query(table: ReleaseTable) -> list[Json]:
    keys = [
        {"name": name, "in": "query", "required": True, "schema": key_value(), "example": value}
        for name, value in zip(table.keys, table.names[0][1:], strict=True)
    ]
    return [
        *keys,
        {"name": "from", "in": "query", "schema": date(table.dates[0]), "example": table.dates[0]},
        {"name": "to", "in": "query", "schema": date(table.dates[-1]), "example": table.dates[-1]},
        {"name": "quantiles", "in": "query", "style": "form", "explode": False, "schema": levels(table)},
    ]


def _filters(table: ReleaseTable) -> list[Json]:
    def whole(name: str, least: int, most: int) -> Json:
        return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": least, "maximum": most}}

    keys = [{"name": name, "in": "query", "schema": key_value()} for name in table.keys]
    return [*keys, whole("limit", 1, 10_000), whole("offset", 0, 999_999_999)]
