"""A form from a JSON schema, such as a pydantic model's: a field of the right kind for each property.

It asks and gives back what was entered; whether that is right, the model itself says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

Schema = Mapping[str, Any]
ABREAST = 2
"""Fields side by side."""
INTEGER, NUMBER, BOOLEAN, ARRAY, OBJECT = "integer", "number", "boolean", "array", "object"


def draw(
    schema: Schema, values: Mapping[str, Any], key: str, options: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """A field per property of a schema; what was entered.

    Args:
        schema: of an object, with its definitions.
        values: to begin with; a property that is not there begins with its default.
        key: makes the fields' keys unique.
        options: names to choose from, for properties that are lists of names.
    """
    definitions = schema.get("$defs") or schema.get("definitions") or {}
    return _object(schema, values, key, definitions, options or {})


def _object(
    schema: Schema,
    values: Mapping[str, Any],
    key: str,
    definitions: Schema,
    options: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    entered: dict[str, Any] = {}
    places: Iterator[DeltaGenerator] = iter(())
    for name, given in schema.get("properties", {}).items():
        of, optional = _resolved(given, definitions)
        value = values.get(name, given.get("default"))
        title, place = _title(name, given), f"{key} {name}"
        if of.get("type") == OBJECT:
            st.markdown(f"**{title}**")
            entered[name] = _object(of, value or {}, place, definitions, options)
            places = iter(())
            continue
        column = next(places, None)
        if column is None:
            column, *rest = st.columns(ABREAST, vertical_alignment="bottom")
            places = iter(rest)
        about = given.get("description") or of.get("description")
        with column:
            entered[name] = _field(of, title, value, place, about, optional, options.get(name))
    return entered


def _title(name: str, given: Schema) -> str:
    """The title that somebody chose, or the name in words; pydantic makes one of the name itself."""
    title = str(given.get("title") or "")
    made = ("", name, name.replace("_", " ").title())
    return name.replace("_", " ").capitalize() if title in made else title


def _resolved(schema: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """The schema that a reference or a choice with null leads to, and whether it may be left empty."""
    choices = schema.get("anyOf") or schema.get("allOf") or []
    optional = any(choice.get("type") == "null" for choice in choices)
    chosen = next((choice for choice in choices if choice.get("type") != "null"), schema)
    if reference := chosen.get("$ref"):
        return definitions[str(reference).rsplit("/", 1)[-1]], optional
    return chosen, optional


def _field(
    of: Schema,
    title: str,
    value: Any,
    key: str,
    about: str | None,
    optional: bool,
    options: Sequence[str] | None,
) -> Any:
    kind = of.get("type")
    if "enum" in of:
        return st.selectbox(title, of["enum"], index=of["enum"].index(value), key=key, help=about)
    if kind == BOOLEAN:
        return st.checkbox(title, bool(value), key=key, help=about)
    if kind == INTEGER:
        return _whole(of, title, value, key, about, optional)
    if kind == NUMBER:
        return _number(of, title, value, key, about, optional)
    if kind == ARRAY:
        known = list(dict.fromkeys([*(options or []), *(value or [])]))
        return st.multiselect(title, known, list(value or []), key=key, help=about, accept_new_options=True)
    return st.text_input(title, str(value or ""), key=key, help=about)


def _whole(of: Schema, title: str, value: Any, key: str, about: str | None, optional: bool) -> int | None:
    least, most = of.get("minimum"), of.get("maximum")
    return st.number_input(
        title,
        min_value=None if least is None else int(least),
        max_value=None if most is None else int(most),
        value=None if value is None and optional else int(value or 0),
        step=1,
        key=key,
        help=about,
    )


def _number(of: Schema, title: str, value: Any, key: str, about: str | None, optional: bool) -> float | None:
    least, most = of.get("minimum"), of.get("maximum")
    return st.number_input(
        title,
        min_value=None if least is None else float(least),
        max_value=None if most is None else float(most),
        value=None if value is None and optional else float(value or 0),
        step=0.01,
        key=key,
        help=about,
    )
