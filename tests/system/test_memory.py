"""Memory does not grow with the number of requests, nor with the length of an
answer."""

from __future__ import annotations

import http.client
import re
import threading
import uuid
from pathlib import Path

import pytest

from cluster import Instance

CLIENTS = 8
WARM, MORE = 20_000, 30_000  # requests; each thread has its heap to warm
FLAT_KIB = 1024
EXPORTED = 200_000
EXPORT_KIB = 16 * 1024


def kib(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1])


@pytest.fixture
def instance(servers):
    with Instance(servers, LOG_LEVEL="warn", CSV_MAX_EXPORT_RECORDS=EXPORTED) as i:
        yield i


def child_of(instance: Instance) -> int:
    (child,) = instance.app.children()
    return child


def ask(c: http.client.HTTPConnection, method: str, target: str, body=None) -> int:
    headers = {"Content-Type": "application/json"} if body else {}
    c.request(method, target, body, headers)
    r = c.getresponse()
    r.read()
    return r.status


def one_of_each(collection: str) -> list[tuple]:
    """(method, target, body, status): what succeeds and what fails."""
    path = f"/api/db/{collection}"
    return [
        ("GET", f"{path}/7", None, 200),
        ("GET", f"{path}/none", None, 404),
        ("GET", f"{path}?n=>3&limit=5", None, 200),
        ("GET", f"{path}?n[$bad]=1", None, 400),
        ("GET", f"{path}?format=csv", None, 200),
        ("PUT", f"{path}/7", b'{"text":"more"}', 200),
        ("POST", path, b'{"_id":"7"}', 409),
        ("POST", path, b'{"broken"', 400),
        ("GET", "/health", None, 200),
        ("GET", "/nothing", None, 404),
    ]


def drive(instance: Instance, collection: str, requests: int) -> None:
    """So many requests in all, through kept connections."""
    kinds = one_of_each(collection)
    wrong: list = []

    def client(n: int) -> None:
        c = instance.connect()
        for i in range(n):
            method, target, body, status = kinds[i % len(kinds)]
            got = ask(c, method, target, body)
            if got != status:
                wrong.append((method, target, got))
                break
        c.close()

    threads = [
        threading.Thread(target=client, args=(requests // CLIENTS,))
        for _ in range(CLIENTS)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_requests_leave_nothing_behind(instance, db, collection):
    rows = [{"_id": str(i), "n": i, "text": "x" * 100} for i in range(20)]
    db[instance.database][collection].insert_many(rows)
    child = child_of(instance)
    drive(instance, collection, WARM)
    before = kib(child, "VmRSS")
    drive(instance, collection, MORE)
    grown = kib(child, "VmRSS") - before
    assert grown < FLAT_KIB, f"{grown} KiB more after {MORE} requests"


@pytest.mark.parametrize("fields", ["", "&fields=text,n"])
def test_export_is_streamed(instance, db, collection, fields):
    rows = ({"n": i, "text": f"{uuid.uuid4()} " * 4} for i in range(EXPORTED))
    db[instance.database][collection].insert_many(rows, ordered=False)
    child = child_of(instance)
    path = f"/api/db/{collection}"
    assert instance.get(f"{path}?limit=10").status == 200
    before = kib(child, "VmRSS")
    reply = instance.get(f"{path}?format=csv{fields}")
    assert reply.status == 200
    assert reply.body.count(b"\n") == EXPORTED
    assert len(reply.body) > EXPORT_KIB * 1024  # or the bound proves nothing
    grown = kib(child, "VmHWM") - before
    assert grown < EXPORT_KIB, f"{grown} KiB more by an export"
    db[instance.database][collection].drop()
