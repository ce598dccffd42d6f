"""kill -9 of each kind of process exactly between two of its steps. A proxy
before MongoDB stops at the n-th command of a kind, and the process is killed
there; each in three ways: the command was never sent (`lost`), it was done and
nobody was told (`done`), it arrives after the death (`late`). Then everything
arrives, nothing twice but where a try was under way, and all is counted once.
"""

import os
import signal
import struct
import threading
import time
from pathlib import Path

import pytest
from proxy import Proxy
from receiver import Receiver

from cluster import Instance, gone, wait_until
from delivering import FAST, Bare, Hook
from events import Receipt, check_labelled, doubles
from rows import check_groups, check_rest, check_rows, check_totals, job_changes
from rows import leases_of
from standstill import took
from workers import Workers

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
def bare():
    servers = Bare()
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def proxy(bare):
    with Proxy(bare.port) as p:
        yield p


@pytest.fixture(scope="module")
def api(bare):
    """No workers of its own."""
    with Instance(bare, **ONE) as api:
        yield api


@pytest.fixture(scope="module")
def workers(bare, api, proxy):
    """Those that die, behind the proxy."""
    settings = ONE | {"MONGODB_URI": proxy.uri()}
    with Workers(bare, "w", api, **settings) as w:
        w.wait_started()
        yield w


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(f"{pid} is gone", lambda: gone(pid))


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


def judge(api, hook: Hook, client, servers) -> None:
    """What is true whatever died."""
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
    check_totals(db["_limits"].find_one(f"webhook:{hook.id}"), rows)
    got = hook.receiver.requests(hook.path)
    assert {r.headers["x-delivery-id"] for r in got} == {row["_id"] for row in rows}
    check_labelled([Receipt(r.t, r.path, r.headers, r.body) for r in got])


# ---- fanout and deliver

FANOUT = {
    "read": command("find", "_outbox"),
    "insert": command("insert", "_jobs"),
    "delete": command("delete", "_outbox"),
}


@pytest.mark.parametrize("ordered", [False, True])
def test_fanout_dies_between_its_steps(bare, api, workers, proxy, receiver, ordered):
    with bare.client() as client:
        for step, match in FANOUT.items():
            for fate in FATES[: 1 if step == "read" else 3]:
                hook = Hook(api, receiver, ordered=ordered)
                # an idle one reads all the time: this one has read the event
                count = 1 if step == "insert" else 3
                crash(
                    proxy,
                    child(workers, "fanout"),
                    fate,
                    match,
                    lambda h=hook, n=count: [h.insert(n=i) for i in range(n)],
                )
                hook.wait(count)
                judge(api, hook, client, bare)
                twice = doubles([Receipt(r.t, r.path, r.headers, r.body)
                                 for r in receiver.requests(hook.path)])
                assert twice == {}, f"{step}, {fate}"
                assert len(hook.jobs(client)) == count, f"{step}, {fate}"
                hook.drop()


DELIVER = {
    # a command, and how often the receiver may have seen it, by fate
    "look": (command("find", "_jobs", b"claim_1\0"), {1}, {1}, {1}),
    "charge": (command("findAndModify", "_limits"), {1}, {1}, {1}),
    "start": (command("findAndModify", "_jobs"), {1}, {1}, {1}),
    "finish": (command("update", "_jobs", b"attempts\0"), {2}, {1}, {1, 2}),
    "settle": (command("update", "_limits", b"delivered\0"), {1}, {1}, {1}),
}


@pytest.mark.parametrize("ordered", [False, True])
def test_deliver_dies_between_its_steps(bare, api, workers, proxy, receiver, ordered):
    with bare.client() as client:
        for step, (match, *seen) in DELIVER.items():
            if ordered and step in ("look", "settle"):
                continue  # nothing differs
            for fate, counts in zip(FATES, seen):
                hook = Hook(api, receiver, ordered=ordered)
                crash(
                    proxy, child(workers, "deliver"), fate, match, hook.insert
                )
                hook.wait_state(client, "done", seconds=40)
                judge(api, hook, client, bare)
                (row,) = hook.jobs(client)
                where = f"{step}, {fate}: {row}"
                assert hook.count() in counts, f"{hook.count()} requests, {where}"
                assert row["tries"] == 1, where
                assert row["stalls"] == hook.count() - 1, where
                grants = client[api.database]["_limits"].find_one(
                    f"webhook:{hook.id}"
                )["grants"]
                assert len(grants) == hook.count(), f"limits: {grants}, {where}"
                hook.drop()


def test_coordinator_dies_while_it_gives_back(bare, api, workers, proxy, receiver):
    """The next one does it; once."""
    match = command("update", "_jobs", b"stalls\0")
    with bare.client() as client:
        for fate in FATES:
            hook = Hook(api, receiver)
            receiver.answer(hook.path, "tarpit", "ok")
            sender = child(workers, "deliver")
            coordinator = child(workers, "coordinator")

            def begin(h=hook, pid=sender):
                h.insert()
                h.wait(1)
                kill(pid)

            crash(proxy, coordinator, fate, match, begin)
            hook.wait_state(client, "done", seconds=40)
            judge(api, hook, client, bare)
            (row,) = hook.jobs(client)
            assert (hook.count(), row["tries"], row["stalls"]) == (2, 1, 1), fate
            hook.drop()


# ---- writers


# a command, and how many changes were done, by fate
WRITER = {
    "document": ("insert", None, {0}, {0}, {0}),
    "change": ("findAndModify", None, {0}, {0}, {0}),
    "event": ("insert", "_outbox", {0}, {0}, {0}),
    "commit": (None, None, {0}, {1}, {0, 1}),
}


def once(conf: str) -> str:
    """nginx would send a PUT again."""
    return conf.replace("next_upstream error timeout;", "next_upstream off;")


@pytest.fixture(scope="module")
def writer(bare, api):
    """An app of one process behind a proxy of its own, and the proxy."""
    with Proxy(bare.port) as proxy:
        more = {"MONGODB_URI": proxy.uri(), "MONGODB_DATABASE_NAME": api.database}
        with (
            bare.client() as client,
            Instance(bare, edit_web=once, FCGI_PROCESSES=1, **(ONE | more)) as app,
        ):
            # what a dead process left open would end after a minute
            client.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=3)
            yield app, proxy


def crash_of_writer(app, proxy, fate: str, match, method: str, target: str) -> None:
    """A request with n: 2, during which the process dies; it has no answer."""
    replies = []

    def send() -> None:
        try:
            replies.append(app.send(method, target, {"n": 2}).status)
        except OSError:
            replies.append(0)

    thread = threading.Thread(target=send)
    crash(proxy, grown(app.app.children), fate, match, thread.start)
    thread.join(30)
    assert replies and replies[0] not in (200, 201), replies
    app.wait_ready(40)


@pytest.mark.parametrize("method, ordered", [("POST", False), ("PUT", True)])
def test_writer_dies_between_its_steps(
    bare, api, workers, writer, receiver, method, ordered
):
    """The change and its event are both there or neither is."""
    app, proxy = writer
    with bare.client() as client:
        db = client[api.database]
        for step, (name, collection, *done) in WRITER.items():
            if step == ("change" if method == "POST" else "document"):
                continue
            for fate, counts in zip(FATES, done):
                if step != "commit" and fate != "done":
                    continue  # the server is left with less
                events = ["update" if method == "PUT" else "create"]
                hook = Hook(app, receiver, ordered=ordered, events=events)
                target = f"/api/db/{hook.collection}"
                db[hook.collection].insert_one({"_id": "x", "n": 1})
                if method == "PUT":
                    target += "/x"
                match = command(name, collection or hook.collection) if name else commit
                crash_of_writer(app, proxy, fate, match, method, target)
                where = f"{step}, {fate}"
                if counts == {1}:
                    hook.wait(1)
                time.sleep(0.2 if counts != {0} else 0)
                n = db[hook.collection].count_documents({"n": 2})
                assert n in counts, f"{n} changes: {where}"
                if n:
                    hook.wait(n)
                    judge(api, hook, client, bare)
                assert hook.count() == n == len(hook.jobs(client)), where
                assert not db["_outbox"].find_one(), where
                hook.drop()


# ---- all at once, last for it ends the workers


def test_all_workers_die_at_a_start(bare, api, workers, proxy, receiver):
    """The row is taken by a program that is no more: its time runs out, and
    another program has it then."""
    hook = Hook(api, receiver)
    proxy.hold_from(command("findAndModify", "_jobs"), "down")
    hook.insert()
    wait_until("it came to that point", lambda: proxy.holds, 30)
    with bare.client() as client:
        (row,) = hook.jobs(client)
        assert row["st"] == "leased" and row["lease"]["by"] == "w"
        workers.process.kill()
        killed = time.monotonic()
        proxy.drop()
        proxy.forward()
        with Workers(bare, "x", api, **ONE):
            lease = ONE["WEBHOOK_TIMEOUT"] / 1000 + 10
            (request,) = hook.wait(1, lease + 20)
            late = took(killed, request.t)
            print(f"after the loss of all workers {late:.1f} s, lease {lease:.0f} s")
            assert late < lease + 1 + 1  # a second is promised, one is for us
            hook.wait_state(client, "done")
            judge(api, hook, client, bare)
            (row,) = hook.jobs(client)
            assert (row["tries"], row["stalls"]) == (1, 0)
