"""Streamlit's server with the dashboard's door for uploads before it: who may leave files there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from serving_shop import ROOT, eventually, free_port
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from dashboard import start, users
from dashboard.users import Role
from storecast.settings import Settings

FILE = {"file": ("train.csv", b"date,sales\n", "text/csv")}


@contextmanager
def dashboard(home: Path) -> Iterator[str]:
    """The dashboard over a home, as its own command starts it; its address."""
    port = free_port()
    command = [sys.executable, *start.command(Settings(home=home), start.HOST, port)]
    environment = {**os.environ, "STORECAST_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with (home / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: healthy(url), 60, f"the dashboard: {home / 'dashboard.log'}")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def healthy(url: str) -> bool:
    try:
        return httpx.get(url + start.HEALTH, timeout=5).is_success
    except httpx.TransportError:
        return False


def upload(url: str) -> int:
    """Open the page as a browser does and leave a file there; the answer's status."""
    with connect(url.replace("http", "ws") + "/_stcore/stream", subprotocols=["streamlit"]) as page:
        ask = BackMsg()
        ask.rerun_script.query_string = ""
        page.send(ask.SerializeToString())
        session = ""
        while True:
            said = ForwardMsg.FromString(bytes(page.recv(timeout=30)))
            session = session or said.new_session.initialize.session_id
            if said.WhichOneof("type") == "script_finished":
                break
        with httpx.Client(base_url=url, timeout=20) as browser:
            token = browser.get(start.HEALTH).cookies["_streamlit_xsrf"]
            path, headers = f"/_stcore/upload_file/{session}/1", {"X-Xsrftoken": token}
            return browser.put(path, files=FILE, headers=headers).status_code


def test_a_visitor_who_has_not_logged_in_leaves_no_files(tmp_path: Path) -> None:
    users.add(users.users_path(Settings(home=tmp_path)), "otto", "battery staple", Role.OPERATOR)
    with dashboard(tmp_path) as url:
        assert upload(url) == 403


def test_who_may_act_uploads_files(tmp_path: Path) -> None:
    with dashboard(tmp_path) as url:
        assert upload(url) == 204
