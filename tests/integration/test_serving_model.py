"""The model behind what-if: each question is answered by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from serving_shop import ROOT, Shop, eventually, make_shop

from serving.champion import ModelHost


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def host(shop: Shop) -> Iterator[ModelHost]:
    made = ModelHost(shop.settings)
    eventually(lambda: "series" in made.answer(question(shop)), 60, "the model")
    yield made
    made.stop()


def question(shop: Shop, row: int = 0, seconds: float = 30.0) -> dict[str, Any]:
    series = [{"row": row, "known": {}}]
    until = time.time() + seconds
    return {"release": shop.first.id, "series": series, "events": [], "unknown": [], "until": until}


def test_a_question_that_the_model_breaks_at_fails_alone(host: ModelHost, shop: Shop) -> None:
    asked = [question(shop), question(shop, row=999), question(shop, row=1)]
    good, broken, other = [host.answer(each) for each in asked]
    assert broken == {"failed": "the model could not answer"}
    assert [len(answer["series"]) for answer in (good, other)] == [1, 1]


ASK = """
import asyncio, json, sys
from serving.problems import Problem
from serving.service import ChampionClient

async def ask(client, question):
    try:
        return (await client.ask(question)).status
    except Problem as problem:
        return problem.status

async def every(url, questions):
    client = ChampionClient(url)
    return [await ask(client, question) for question in questions]

print(asyncio.run(every(sys.argv[1], json.loads(sys.argv[2]))))
"""


def test_a_worker_answers_a_question_that_failed_with_a_problem(host: ModelHost, shop: Shop) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["questions"]
            answers = [json.dumps(host.answer(json.loads(text)), separators=(",", ":")) for text in texts]
            data = json.dumps(answers).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    asked = json.dumps([question(shop), question(shop, row=999), question(shop, row=1)])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        try:  # in a process of its own, since BentoML warns as it is imported
            command = [sys.executable, "-c", ASK, f"http://127.0.0.1:{httpd.server_port}", asked]
            environment = {**os.environ, "STORECAST_HOME": str(shop.home)}
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            httpd.shutdown()
            thread.join()
    assert done.stdout.splitlines()[-1:] == ["[200, 500, 200]"], done.stderr


def test_a_question_whose_asker_has_given_up_is_not_worked_on(host: ModelHost, shop: Shop) -> None:
    assert set(host.answer(question(shop, seconds=-1.0))) == {"failed"}


def test_a_release_that_is_not_loaded_is_refused(host: ModelHost, shop: Shop) -> None:
    assert set(host.answer({**question(shop), "release": shop.second.id})) == {"refused"}
