"""A load generator of little appetite: some connections, one request under way on each, raw sockets."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Load:
    """What came back.

    Attributes:
        rate: answers per second.
        seconds: time of each answer, ascending.
        statuses: how many answers had which status.
    """

    rate: float
    seconds: list[float]
    statuses: dict[int, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the answers came."""
        return self.seconds[min(int(len(self.seconds) * share), len(self.seconds) - 1)] * 1e3


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """An HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: benchmark", *(f"{k}: {v}" for k, v in headers.items())]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def drive(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    look: Callable[[int, bytes], None] | None = None,
) -> Load:
    """Send the requests in turn over so many connections, each waiting for its answer.

    Args:
        port: where to, on this machine.
        requests: what to send; again from the first after the last.
        connections: how many requests are under way.
        seconds: how long; at least one answer is awaited.
        look: called with the number of the request and its answer, whole.
    """
    poll, sockets, begun, got, asked = select.epoll(), {}, {}, {}, {}
    clock = time.perf_counter
    for _ in range(connections):
        made = _connected(port)
        sockets[made.fileno()], got[made.fileno()] = made, bytearray()
        poll.register(made, select.EPOLLIN)
    done: list[float] = []
    statuses: dict[int, int] = {}
    began, sent = clock(), 0
    for number, made in sockets.items():
        begun[number], asked[number] = clock(), sent % len(requests)
        made.sendall(requests[sent % len(requests)])
        sent += 1
    while not done or clock() - began < seconds:
        for number, _ in poll.poll(1):
            data = got[number]
            data += sockets[number].recv(1 << 20)
            if not _whole(data):
                continue
            now = clock()
            done.append(now - begun[number])
            status = int(data[9:12])
            statuses[status] = statuses.get(status, 0) + 1
            if look is not None:
                look(asked[number], bytes(data))
            data.clear()
            if now - began < seconds:  # nothing is left to be answered beside what is measured next
                begun[number], asked[number] = now, sent % len(requests)
                sockets[number].sendall(requests[sent % len(requests)])
                sent += 1
    took = clock() - began
    for made in sockets.values():
        made.close()
    poll.close()
    return Load(len(done) / took, sorted(done), statuses)


def _connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _whole(data: bytearray) -> bool:
    """Whether an answer with a content-length has come to its end."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = data.find(b"content-length: ", 0, end) + 16
    return len(data) >= end + 4 + int(data[at : data.find(b"\r", at)])
