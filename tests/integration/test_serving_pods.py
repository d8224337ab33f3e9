"""The service as pods run it: TLS in the process, limits that replicas share, an end that fails nobody."""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from serving_shop import Service, Shop, answers, eventually, free_port, make_shop, serving

GROCERY = {"store_nbr": "1", "family": "GROCERY"}
LIMIT = 400
REDIS = shutil.which("redis-server")


@dataclass(frozen=True)
class Replicas:
    """Two services over the same releases, with the same settings."""

    shop: Shop
    services: tuple[Service, Service]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    shop = make_shop(tmp_path_factory.mktemp("pods"))
    certificate, key = certified(shop.home)
    trusts = ssl.create_default_context(cafile=str(certificate))
    said = {
        "STORECAST_SERVING_WHAT_IF": "false",
        "STORECAST_SERVING_WORKERS": "1",
        "STORECAST_SERVING_RATE_PER_KEY": f"{LIMIT}/day",
        "STORECAST_SERVING_CERTIFICATE": str(certificate),
        "STORECAST_SERVING_CERTIFICATE_KEY": str(key),
    }
    with ExitStack() as stack:
        if REDIS:
            said["STORECAST_SERVING_RATE_STORE"] = stack.enter_context(redis(REDIS, shop.home))
        said["STORECAST_SERVING_KEYS"] = str(shop.home / "serving" / "keys.json")
        folders = [{"STORECAST_SERVING_FOLDER": str(shop.home / name)} for name in ("one", "other")]
        starting = [stack.enter_context(serving(shop.home, said | folder, trusts)) for folder in folders]
        for service in starting:
            eventually(lambda s=service: answers(s, "/readyz"), 30, "ready")
        yield Replicas(shop, (starting[0], starting[1]))


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storecast")])
    now = dt.datetime.now(dt.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(minutes=5),
        not_valid_after=now + dt.timedelta(hours=1),
    )
    made = made.add_extension(here, critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return files


@contextmanager
def redis(program: str, folder: Path) -> Iterator[str]:
    """A Redis of this test, and its URI."""
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        eventually(lambda: listens(port), 10, "Redis")
        yield f"redis://127.0.0.1:{port}/0"
        process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_speaks_tls_to_those_who_trust_its_certificate_and_nothing_else(replicas: Replicas) -> None:
    service = replicas.services[0]
    with service.client(replicas.shop.key) as client:
        got = client.get("/v1/forecasts", params=GROCERY)
    assert got.status_code == 200
    assert got.headers["strict-transport-security"] == "max-age=31536000"
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{service.url}/livez")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{service.url.replace('https', 'http')}/livez")


def test_replicas_share_a_limit_through_redis_and_count_for_themselves_without(replicas: Replicas) -> None:
    key = replicas.shop.make_key("limited", "read")
    let_in = [0, 0]
    with replicas.services[0].client(key) as one, replicas.services[1].client(key) as other:

        def ask(i: int) -> int:
            status = (one, other)[i].get("/v1/releases").status_code
            let_in[i] += status == 200
            return status

        for i in (0, 1):
            eventually(lambda i=i: ask(i) != 401, 5, "the key")
        for _ in range(LIMIT):
            ask(0)
            ask(1)
        assert [ask(0), ask(1)] == [429, 429]
    if not REDIS:
        assert let_in == [LIMIT, LIMIT]
        pytest.skip("redis-server is not installed: each replica counted for itself, which was shown")
    assert sum(let_in) == LIMIT
    assert min(let_in) > LIMIT / 4, "both took part"


def test_told_to_drain_and_to_stop_it_fails_no_request(replicas: Replicas) -> None:
    service, shop = replicas.services[1], replicas.shop
    names = [shop.make_key(f"load-{i}", "read") for i in range(4)]
    failed: list[str] = []
    counts, routed, unready = dict.fromkeys(names, 0), threading.Event(), threading.Event()
    routed.set()

    def load(key: str) -> None:
        """Asks for as long as requests are sent here, over kept connections."""
        with service.client(key) as client:
            eventually(lambda: client.get("/livez").status_code == 200, 5, "the service")
            while routed.is_set() and counts[key] < LIMIT - 50:
                got = client.get("/v1/forecasts", params=GROCERY)
                counts[key] += 1
                if got.status_code != 200:
                    failed.append(f"{counts} {got.status_code} {got.text[:200]}")
                unready.wait(0.01)

    for name in names:  # the file of keys may have been read between two of them
        with service.client(name) as client:
            eventually(lambda c=client: c.get("/v1/series").status_code == 200, 5, "the key")
    threads = [threading.Thread(target=load, args=(key,)) for key in names]
    for thread in threads:
        thread.start()
    eventually(lambda: min(counts.values()) > 5, 10, "load")
    (shop.home / "other" / "draining").touch()
    eventually(lambda: not answers(service, "/readyz"), 5, "readiness to end first")
    drained = dict(counts)
    eventually(lambda: all(counts[key] > drained[key] + 3 for key in names), 10, "answers while it drains")
    routed.clear()
    unready.set()
    for thread in threads:
        thread.join()
    slow = [half_asked(service, key) for key in names]
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: not begins(service), 15, "an end to new requests")
    assert service.process.poll() is None, "it must wait for what is under way"
    got = [answered(connection) for connection in slow]
    assert service.process.wait(timeout=30) == 0
    assert failed == []
    assert got == [(200, shop.first.id)] * len(slow)


def begins(service: Service) -> bool:
    """Whether a new request is answered."""
    try:
        return httpx.get(f"{service.url}/livez", verify=service.trusts, timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def half_asked(service: Service, key: str) -> http.client.HTTPSConnection:
    """A request whose body has been sent by half."""
    assert isinstance(service.trusts, ssl.SSLContext)
    address = service.url.removeprefix("https://")
    connection = http.client.HTTPSConnection(address, context=service.trusts, timeout=30)
    connection.putrequest("POST", "/v1/forecasts")
    connection.putheader("authorization", f"Bearer {key}")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(BODY)))
    connection.endheaders()
    connection.send(BODY[:10])
    return connection


def answered(connection: http.client.HTTPSConnection) -> tuple[int, str]:
    """The status and release of the answer, when the rest of the body has been sent."""
    connection.send(BODY[10:])
    with closing(connection):
        response = connection.getresponse()
        told = json.loads(response.read())
        return response.status, str(told.get("release", told))


BODY = json.dumps({"keys": [GROCERY]}).encode()
