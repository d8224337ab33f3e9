"""Who may upload: Streamlit itself takes a file of anybody who has its page open, logged in or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx

ROUTE = "/_stcore/upload_file/"
_SESSIONS: set[str] = set()
"""Those whose visitor may act."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def allow(may: bool) -> None:
    """Say whether who is here may upload, from now on."""
    context = get_script_run_ctx()
    if context is not None:
        (_SESSIONS.add if may else _SESSIONS.discard)(context.session_id)


class Uploads:
    """An ASGI application around Streamlit's that refuses files of those who may not act, unread.

    Args:
        app: Streamlit's.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["method"] == "PUT" and not _allowed(scope["path"]):
            start = {"type": "http.response.start", "status": 403, "headers": [(b"connection", b"close")]}
            await send(start)
            await send({"type": "http.response.body", "body": b"Log in as an operator to upload files."})
            return
        await self._app(scope, receive, send)


def _allowed(path: str) -> bool:
    """Whether a PUT is an upload of a session that may; Streamlit has no other."""
    _, route, rest = path.partition(ROUTE)
    return bool(route) and rest.split("/")[0] in _SESSIONS
