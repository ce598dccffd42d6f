"""crashes - kill -9 of a process exactly between two of its steps: a proxy
before MongoDB, or Redis, stops at the n-th command of a kind, and the process
is killed there; each in three ways: the command was never sent (`lost`), it was
done and nobody was told (`done`), it arrives after the death (`late`)."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from proxy import Proxy
from receiver import Receiver

from cluster import Instance, wait_until
from delivering import FAST, Hook
from events import Receipt, check_labelled
from index import check_index, check_index_empty, digest, wait_index
from paths import on, wait_path
from rows import check_groups, check_rest, check_rows, job_changes, leases_of
from rows import wait_totals
from workers import Workers, kill

FATES = ["lost", "done", "late"]
ONE = FAST | {"WEBHOOKS_QUEUE_CONCURRENCY": 1, "WEBHOOK_TIMEOUT": 3000}


def command(name: str, collection: str, *more: bytes):
    """A predicate on what a driver sends: this command, and bytes in it."""
    text = collection.encode() + b"\0"
    first = b"\x02" + name.encode() + b"\0" + struct.pack("<i", len(text)) + text
    return lambda data: first in data and all(m in data for m in more)


def commit(data: bytes) -> bool:
    return b"commitTransaction\0" in data


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def proxy(stack):
    with Proxy(stack.port) as p:
        yield p


@pytest.fixture(scope="module")
def redis(stack, path):
    """None where there is none."""
    if path == "mongodb":
        yield None
        return
    with Proxy(stack.redis_path) as p:
        yield p


@pytest.fixture(scope="module")
def api(stack, path):
    """No workers of its own."""
    with Instance(stack, REDIS_KEY_PREFIX="crash", **ONE, **on(path)) as api:
        yield api


@pytest.fixture(scope="module")
def workers(stack, path, api, proxy, redis):
    """Those that die, behind the proxies."""
    settings = ONE | {"MONGODB_URI": proxy.uri(), "REDIS_KEY_PREFIX": "crash"}
    settings |= {"REDIS_URL": redis.redis_url} if redis else on(path)
    with Workers(stack, "w", api, **settings) as w:
        w.wait_started()
        wait_path(w.db, path)
        yield w


def is_grown(pid: int) -> bool:
    """One that dies young is not replaced at once."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    begun = int(text[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun > 1.2


def grown(pids) -> int:
    """One of pids() that has lived for a second."""
    return wait_until(
        "a child is old enough", lambda: next(filter(is_grown, pids()), 0), 40
    )


def child(workers, role: str) -> int:
    return grown(lambda: workers.pids(role))


def crash(proxy: Proxy, pid: int, fate: str, match, begin) -> None:
    """begin() leads to a request that matches; the process dies there."""
    proxy.hold_from(match, "down" if fate == "done" else "both")
    begin()
    try:
        wait_until("it came to that point", lambda: proxy.holds, 30)
        if fate == "done":  # it is carried out by now, or in a moment
            time.sleep(0.1)
        kill(pid)
    finally:
        if fate == "lost":
            proxy.drop()
        proxy.forward()


def judge(api, hook: Hook, client, servers, lost: bool = False) -> None:
    """What is true whatever died. lost: what it had counted died with it."""
    db = client[api.database]

    def settled():
        fl = db["_limits"].find_one({"_id": f"webhook:{hook.id}"}, {"fl": 1}) or {}
        return (
            not db["_outbox"].find_one()
            and not db["_jobs"].find_one({"open": True})
            and not fl.get("fl")
        )

    wait_until("all is settled", settled, 30)
    check_rest(db)
    changes = job_changes(servers, api.database)
    check_rows(changes)
    check_groups(leases_of(changes))
    rows = hook.jobs(client)
    assert {row["st"] for row in rows} == {"done"}
    wait_totals(db, hook.id, rows, lost and servers.redis is not None)
    if servers.redis:
        wait_index(servers, "crash", check_index)
        wait_index(servers, "crash", check_index_empty)
    got = hook.receiver.requests(hook.path)
    assert {r.headers["x-delivery-id"] for r in got} == {row["_id"] for row in rows}
    check_labelled([Receipt(r.t, r.path, r.headers, r.body) for r in got])


def call(script: str, *more: bytes):
    """A predicate on what is sent to Redis."""
    words = (digest(script).encode(), *more)
    return lambda data: all(word in data for word in words)


def die_at(step: str, fate: str, seen, where, hook: Hook, client, servers) -> None:
    """One delivery, and a death on its way; then it is judged."""
    match, proxy, pid = where
    crash(proxy, pid, fate, match, hook.insert)
    hook.wait_state(client, "done", seconds=40)
    judge(hook.api, hook, client, servers, lost=True)
    (row,) = hook.jobs(client)
    told = f"{step}, {fate}: {row}"
    assert hook.count() in seen, f"{hook.count()} requests, {told}"
    assert row["tries"] == 1, told
    assert row["stalls"] == hook.count() - 1, told
