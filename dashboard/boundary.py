"""Errors in words: of a part of a page, which leaves the rest as it is, or of the whole page."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from storecast.errors import StorecastError

_LOG = logging.getLogger("dashboard")


@contextmanager
def part(name: str) -> Iterator[None]:
    """A part of a page: what is in its way is said in its place.

    Args:
        name: of the part, or of the backend that it needs.
    """
    try:
        yield
    except StorecastError as error:
        st.warning(f"**{name}**  \n{text_of(error)}", icon=":material/cloud_off:")


def failed(error: Exception) -> bool:
    """What a page shows in place of a trace; Streamlit calls it for every error that nothing else caught."""
    if isinstance(error, StorecastError):
        st.error(text_of(error), icon=":material/error:")
        return True
    reference = secrets.token_hex(4)
    _LOG.error("error %s", reference, exc_info=error)
    st.error(
        f"Something went wrong here. The dashboard's log says more under **{reference}**; "
        "the other pages go on working.",
        icon=":material/error:",
    )
    return True


def text_of(error: StorecastError) -> str:
    """An error as Markdown: what, then where, expected, found and the cure, a line each."""
    said = (("where", error.where), ("expected", error.expected), ("found", error.found))
    lines = [_sentence(error.what)]
    lines += [f"{label}: `{_short(text)}`" for label, text in said if text]
    lines += [f"**To fix:** {error.cure}"] if error.cure else []
    return "  \n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _short(text: str) -> str:
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= 300 else f"{line[:299]}…"
