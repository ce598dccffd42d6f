"""kill -9 of each kind of process between any two of its steps (crashes.py), on
both claim paths. Then everything arrives, nothing twice but where a try was
under way, and all is counted once."""

import threading
import time

import pytest
from proxy import Proxy

from cluster import Instance, wait_until
from crashes import *  # noqa: F401,F403: fixtures
from crashes import (
    FATES,
    ONE,
    call,
    child,
    command,
    commit,
    crash,
    die_at,
    grown,
    judge,
    kill,
)
from delivering import Hook
from events import Receipt, doubles
from paths import on
from standstill import took
from workers import Workers

# ---- fanout and deliver

FANOUT = {
    "read": command("find", "_outbox"),
    "insert": command("insert", "_jobs"),
    "enqueue": None,  # in Redis
    "delete": command("delete", "_outbox"),
}


@pytest.mark.parametrize("ordered", [False, True])
def test_fanout_dies_between_its_steps(
    stack, api, workers, proxy, redis, receiver, ordered
):
    with stack.client() as client:
        for step, match in FANOUT.items():
            if not match and not redis:
                continue
            for fate in FATES[: 1 if step == "read" else 3]:
                hook = Hook(api, receiver, ordered=ordered)
                # an idle one reads all the time: this one has read the event
                count = 1 if step == "insert" else 3
                crash(
                    proxy if match else redis,
                    child(workers, "fanout"),
                    fate,
                    match or call("queue_enqueue", hook.id.encode()),
                    lambda h=hook, n=count: [h.insert(n=i) for i in range(n)],
                )
                hook.wait(count)
                judge(api, hook, client, stack)
                twice = doubles([Receipt(r.t, r.path, r.headers, r.body)
                                 for r in receiver.requests(hook.path)])
                assert twice == {}, f"{step}, {fate}"
                assert len(hook.jobs(client)) == count, f"{step}, {fate}"
                hook.drop()


# a command, and how often the receiver may have seen it, by fate
ROW = {
    "start": (command("findAndModify", "_jobs"), {1}, {1}, {1}),
    "finish": (command("update", "_jobs", b"attempts\0"), {2}, {1}, {1, 2}),
}
DELIVER = {
    "look": (command("find", "_jobs", b"claim_1\0"), {1}, {1}, {1}),
    "charge": (command("findAndModify", "_limits"), {1}, {1}, {1}),
    **ROW,
    "settle": (command("update", "_limits", b"delivered\0"), {1}, {1}, {1}),
}


@pytest.mark.parametrize("ordered", [False, True])
def test_deliver_dies_between_its_steps(
    stack, path, api, workers, proxy, receiver, ordered
):
    with stack.client() as client:
        for step, (match, *seen) in (ROW if path == "redis" else DELIVER).items():
            if ordered and step in ("look", "settle"):
                continue  # nothing differs
            for fate, counts in zip(FATES, seen):
                hook = Hook(api, receiver, ordered=ordered)
                where = match, proxy, child(workers, "deliver")
                die_at(step, fate, counts, where, hook, client, stack)
                if path == "mongodb":
                    grants = client[api.database]["_limits"].find_one(
                        f"webhook:{hook.id}"
                    )["grants"]
                    assert len(grants) == hook.count(), f"{grants}, {step}, {fate}"
                hook.drop()


def test_coordinator_dies_while_it_gives_back(stack, api, workers, proxy, receiver):
    """The next one does it; once."""
    match = command("update", "_jobs", b"stalls\0")
    with stack.client() as client:
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
            judge(api, hook, client, stack)
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
def writer(stack, path, api):
    """An app of one process behind a proxy of its own, and the proxy."""
    with Proxy(stack.port) as proxy:
        more = {"MONGODB_URI": proxy.uri(), "MONGODB_DATABASE_NAME": api.database}
        more |= {"REDIS_KEY_PREFIX": "crash"} | on(path)
        with (
            stack.client() as client,
            Instance(stack, edit_web=once, FCGI_PROCESSES=1, **(ONE | more)) as app,
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
    stack, api, workers, writer, receiver, method, ordered
):
    """The change and its event are both there or neither is."""
    app, proxy = writer
    with stack.client() as client:
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
                    judge(api, hook, client, stack)
                assert hook.count() == n == len(hook.jobs(client)), where
                assert not db["_outbox"].find_one(), where
                hook.drop()


# ---- all at once, last for it ends the workers


def test_all_workers_die_at_a_start(stack, path, api, workers, proxy, receiver):
    """The row is taken by a program that is no more: its time runs out, and
    another program has it then."""
    hook = Hook(api, receiver)
    proxy.hold_from(command("findAndModify", "_jobs"), "down")
    hook.insert()
    wait_until("it came to that point", lambda: proxy.holds, 30)
    with stack.client() as client:
        (row,) = hook.jobs(client)
        assert row["st"] == "leased" and row["lease"]["by"] == "w"
        workers.process.kill()
        killed = time.monotonic()
        proxy.drop()
        proxy.forward()
        more = ONE | {"REDIS_KEY_PREFIX": "crash"} | on(path)
        with Workers(stack, "x", api, **more):
            lease = ONE["WEBHOOK_TIMEOUT"] / 1000 + 10
            (request,) = hook.wait(1, lease + 20)
            late = took(killed, request.t)
            print(f"after the loss of all workers {late:.1f} s, lease {lease:.0f} s")
            assert late < lease + 1 + 1  # a second is promised, one is for us
            hook.wait_state(client, "done")
            judge(api, hook, client, stack)
            (row,) = hook.jobs(client)
            assert (row["tries"], row["stalls"]) == (1, 0)
