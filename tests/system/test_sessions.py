"""A killed process leaves its transaction to the server, which would keep it,
and all that it has changed, for a minute. Whoever follows it ends it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from receiver import Receiver

from cluster import Instance, wait_until
from hooks import register
from proxy import Proxy
from standstill import took

SOON = 3  # seconds; the server's own limit is 60
SETTINGS = {
    "FCGI_PROCESSES": 1,
    "WEBHOOKS_QUEUE_CONCURRENCY": 1,
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
}
URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def mongo(own):
    with Proxy(own.port) as proxy:
        yield proxy


@pytest.fixture
def db(own):
    with own.client() as client:
        yield client


def open_transactions(client) -> int:
    return client.admin.command("serverStatus")["transactions"]["currentOpen"]


def hold_within(mongo: Proxy, collection: str) -> None:
    """From the first command on this collection that is not the first of a
    transaction."""
    name = collection.encode() + b"\0"
    mongo.hold_from(
        lambda data: name in data
        and b"autocommit" in data
        and b"startTransaction" not in data
        and b"commitTransaction" not in data,
        "up",
    )


def kill_within(mongo: Proxy, client, pid: int) -> None:
    """What was on its way arrives, and is no end of the transaction."""
    wait_until("it is in the middle", lambda: mongo.holds)
    assert open_transactions(client) == 1
    os.kill(pid, signal.SIGKILL)
    mongo.forward()


def ignore_loss(work) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except OSError:
            pass

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("ordered", [False, True])
def test_a_document_is_free_again_when_its_writer_was_killed(own, mongo, db, ordered):
    with (
        Instance(own, MONGODB_URI=mongo.uri(), **SETTINGS) as api,
        Instance(own, MONGODB_DATABASE_NAME=api.database) as other,
    ):
        register(api, URL, "w", events=["update"], ordered=ordered)
        assert api.post("/api/db/w", {"_id": "a"}).status == 201
        hold_within(mongo, "_outbox")
        lost = ignore_loss(lambda: api.send("PUT", "/api/db/w/a", {"n": 1}))
        kill_within(mongo, db, api.app.children()[0])
        start = time.monotonic()
        reply = other.send("PUT", "/api/db/w/a", {"n": 2})
        seconds = took(start)
        assert reply.status == 200, reply.body
        assert seconds < SOON
        lost.join()
        wait_until("no transaction is open", lambda: open_transactions(db) == 0, SOON)


def test_a_webhook_is_free_again_when_its_worker_was_killed(own, mongo, db):
    with (
        Receiver() as receiver,
        Instance(own, MONGODB_URI=mongo.uri(), workers=True, **SETTINGS) as api,
    ):
        hook = register(api, receiver.url("/gone"), "w", events=["create"])
        hold_within(mongo, "_cluster")
        assert api.post("/api/db/w", {"_id": "a"}).status == 201
        kill_within(mongo, db, api.worker_pids("deliver")[0])
        start = time.monotonic()
        reply = api.send("PUT", f"/api/webhooks/{hook}", {"name": "other"})
        seconds = took(start)
        assert reply.status == 200, reply.body
        assert seconds < SOON
        wait_until("no transaction is open", lambda: open_transactions(db) == 0, SOON)
