"""SIGTERM: what runs is finished, nothing new is lost, exit 0."""

import signal
import threading
import time

import pytest

from cluster import Instance, wait_until
from fastcgi import Client, params_of, request
from standstill import took

DOCUMENT = {"text": "x" * 100_000}


@pytest.fixture
def big(servers, db):
    """An instance with 100 documents of 100 kB."""
    with Instance(servers) as api:
        rows = db[api.database]["big"]
        rows.insert_many([{"_id": i, **DOCUMENT} for i in range(100)])
        yield api


def test_large_reply_is_whole(big):
    with Client(big.socket) as c:
        c.send(request(params_of("GET", "/api/db/big?limit=100")))
        c.rest += c.s.recv(65536)  # it has begun
        big.app.signal(signal.SIGTERM)
        answer = c.answer()
    assert answer.ended and answer.status == 200
    assert len(answer.body) > 100 * 100_000
    assert big.app.popen.wait(30) == 0


def test_large_csv_is_whole(big):
    with Client(big.socket) as c:
        c.send(request(params_of("GET", "/api/db/big?format=csv")))
        c.rest += c.s.recv(65536)
        big.app.signal(signal.SIGTERM)
        answer = c.answer()
    assert answer.ended and answer.body.count(b"\n") == 100
    assert big.app.popen.wait(30) == 0


def test_drain_is_unready_but_serves(servers):
    with Instance(servers, DRAIN_DELAY_MS=2000) as api:
        begun = time.monotonic()
        api.app.signal(signal.SIGTERM)
        reply = wait_until(
            "it is not ready",
            lambda: (r := api.get("/health/ready")).status == 503 and r,
            1,
        )
        assert reply.code() == "NOT_READY"
        assert api.get("/api/db/none").status == 404
        assert api.get("/health/live").status == 200
        assert api.app.popen.wait(20) == 0
        assert time.monotonic() - begun >= 1.9


def test_second_sigterm_ends_the_drain(servers):
    with Instance(servers, DRAIN_DELAY_MS=15000) as api:
        begun = time.monotonic()
        api.app.signal(signal.SIGTERM)
        wait_until(
            "it is not ready", lambda: api.get("/health/ready").status == 503
        )
        api.app.signal(signal.SIGTERM)
        api.app.popen.wait(20)
        assert took(begun) < 8


def test_idle_kept_connections_do_not_hold_it(servers):
    with Instance(servers) as api:
        with Client(api.socket) as c:
            c.send(request(params_of("GET", "/health"), keep=True))
            assert c.answer().status == 200
            begun = time.monotonic()
            assert api.app.stop() == 0
            assert took(begun) < 5
            assert c.closed()


def test_no_request_fails_while_draining(servers):
    with Instance(servers, DRAIN_DELAY_MS=500) as api:
        failed, done, stop = [], [0], threading.Event()

        def load():
            c = api.connect()
            while not stop.is_set():
                reply = api.request("GET", "/health", on=c)
                done[0] += 1
                if reply.status != 200:
                    failed.append(reply.status)

        threads = [threading.Thread(target=load) for _ in range(8)]
        for t in threads:
            t.start()
        wait_until("the load runs", lambda: done[0] > 200)
        api.app.signal(signal.SIGTERM)
        before = done[0]
        wait_until("it is served on", lambda: done[0] > before + 100)
        stop.set()
        for t in threads:
            t.join()
        assert api.app.popen.wait(20) == 0
        assert failed == []


def test_children_die_with_the_supervisor(servers):
    with Instance(servers, FCGI_PROCESSES=2) as api:
        children = api.app.children()
        assert len(children) == 2
        api.app.signal(signal.SIGKILL)
        api.app.popen.wait(5)

        def gone(pid: int) -> bool:
            try:
                with open(f"/proc/{pid}/stat") as f:
                    return f.read().rsplit(")", 1)[1].split()[0] == "Z"
            except FileNotFoundError:
                return True

        wait_until("they are gone", lambda: all(map(gone, children)), 5)

