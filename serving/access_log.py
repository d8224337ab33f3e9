"""The access log: one JSON object a line on stdout, written in batches."""

from __future__ import annotations

import os
import threading
import time

FLUSH_SECONDS = 0.5
FLUSH_LINES = 2_000


class AccessLog:
    """Collects lines and writes them when enough have come or `flush` is called.

    Attributes:
        lost: how many lines could not be written.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self.lost = 0
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._lock = threading.Lock()

    def add(self, key: str, method: str, route: str, status: int, seconds: float, release: str) -> None:
        """Note an answer. All strings come from fixed sets or checked ids, so none needs quoting."""
        self._lines.append(
            f'{{"time":{time.time():.3f},"key":"{key}","method":"{method}","route":"{route}","status":{status},'
            f'"ms":{seconds * 1e3:.2f},"release":"{release}"}}\n'
        )
        if len(self._lines) >= FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what has come; where the disk is full, say, answers go on and the lines are lost."""
        with self._lock:
            lines, self._lines = self._lines, []
            data = memoryview("".join(lines).encode())
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.lost += bytes(data).count(b"\n")
