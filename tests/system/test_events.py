"""Documents written through the API to receivers of webhooks, whatever dies on
the way: nothing lost, nothing invented, signed, in order where promised."""

import os
import random
import signal
import threading
import time

import pytest
from receiver import Receiver

from cluster import gone, wait_until
from clusters import Cluster
from events import (
    Receipt,
    Written,
    check_bodies,
    check_doubles,
    check_labelled,
    check_nothing_invented,
    check_nothing_lost,
    check_order,
    check_signed,
    check_windows,
    doubles,
    missing,
)
from flow import Writer, receipts, wait_settled
from index import check_index, check_index_empty, wait_index
from paths import check_path, on, wait_path
from standstill import rest, took

FAST = {
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "WEBHOOK_RATE_LIMIT_WINDOW_MS": "1000",
    "WEBHOOKS_RETRY_DELAY": "100",
    "WEBHOOK_TIMEOUT": "2000",
    "WEBHOOK_CONNECT_TIMEOUT": "1000",
    "RATE_LIMIT_ENABLED": "false",
}
MOST = 300  # maxRequestsPerMinute: per window


@pytest.fixture
def receiver():
    with Receiver() as r:
        yield r


def subscribe(api, receiver, collection: str, path: str = "/ok", **members) -> dict:
    body = {
        "name": f"{collection} {path}",
        "url": receiver.url(path),
        "collection": collection,
        "events": ["create", "update", "delete"],
        "rateLimit": {
            "maxRequestsPerMinute": MOST,
            "maxRetries": 10,
            "baseDelayMs": 100,
            "maxDelayMs": 1000,
        },
        **members,
    }
    reply = api.post("/api/webhooks", body)
    assert reply.status == 201, reply.body
    return reply.json()["data"]


def subscribe_all(cluster, receiver, collection: str, *paths, **members) -> list:
    """Effective on all instances when it returns: those that did not make it
    know it after a second, which is promised, and one is for this machine."""
    hooks = [
        subscribe(cluster["a"], receiver, collection, path, **members)
        for path in paths
    ]
    rest(2)
    return hooks


def stored_states(cluster) -> dict[str, int]:
    rows = cluster.db["_jobs"].aggregate([{"$group": {"_id": "$st", "n": {"$sum": 1}}}])
    return {row["_id"]: row["n"] for row in rows}


# ---- everything dies in turn


def kill_one(pids: list[int], chance: random.Random) -> None:
    if not pids:
        return
    pid = chance.choice(pids)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(f"{pid} is gone", lambda: gone(pid))


class Havoc:
    """Harm, one after the other, until it is told to end. Roles of children,
    and whole things."""

    def __init__(self, cluster, servers, seed: int) -> None:
        self.cluster, self.servers = cluster, servers
        self.chance = random.Random(seed)
        self.done: list[str] = []

    def child(self, role: str) -> None:
        name = self.chance.choice(self.cluster.ids)
        kill_one(self.cluster[name].worker_pids(role), self.chance)

    def stop_child(self) -> None:
        """SIGSTOP: the supervisor kills it at its deadline."""
        name = self.chance.choice(self.cluster.ids)
        pids = self.cluster[name].worker_pids("deliver")
        if pids:
            os.kill(self.chance.choice(pids), signal.SIGSTOP)

    def workers(self) -> None:
        name = self.chance.choice(self.cluster.ids)
        self.cluster.kill_workers(name)
        self.cluster[name].start_workers()

    def app_child(self) -> None:
        name = self.chance.choice(self.cluster.ids)
        kill_one(self.cluster[name].app.children(), self.chance)

    def mongod(self) -> None:
        self.servers.restart_mongod(kill=True)

    def redis(self) -> None:
        """Its data are lost."""
        self.servers.restart_redis(kill=True)

    def turn(self, kind: str) -> None:
        self.done.append(kind)
        if kind in ("deliver", "fanout", "coordinator"):
            self.child(kind)
        else:
            getattr(self, kind)()


KINDS = ["deliver", "fanout", "coordinator", "workers", "app_child", "stop_child"]


def test_all_arrive_while_everything_dies_in_turn(stack, path, receiver):
    """The promise as a whole: three instances behind nginx, one receiver, an
    ordered webhook and one without order, a mongod that is killed twice, and so
    is Redis where there is one."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    servers = ["mongod", "redis"] if path == "redis" else ["mongod"]
    with Cluster(stack, 3, **FAST, **on(path)) as cluster:
        wait_path(cluster.db, path, 3)
        hooks = subscribe_all(cluster, receiver, "things", "/ok/plain")
        hooks += subscribe_all(
            cluster, receiver, "things", "/ok/ordered", ordered=True
        )
        secrets = {h["_id"]: h["secret"] for h in hooks}
        stop = threading.Event()
        writers = [Writer(cluster[i], "things", 3) for i in cluster.ids]

        def write(writer: Writer) -> None:
            while not stop.is_set():
                writer.one()

        threads = [threading.Thread(target=write, args=(w,)) for w in writers]
        for thread in threads:
            thread.start()
        havoc = Havoc(cluster, stack, seed)
        try:
            for kind in [*KINDS, *servers, *KINDS, *servers]:
                before = len(receiver.requests())
                havoc.turn(kind)
                wait_until(
                    f"deliveries go on after {kind}",
                    lambda b=before: len(receiver.requests()) > b + 10,
                    60,
                )
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        wait_settled(cluster.db, 90)
        for hook in hooks:
            path = hook["url"].removeprefix(receiver.url(""))
            got = receipts(receiver, path)
            written = [w for writer in writers for w in writer.written]
            doubtful = sum(writer.doubtful for writer in writers)
            check_nothing_lost(written, got)
            check_nothing_invented(written, got, doubtful)
            check_labelled(got, repeated=True)
            check_signed(got, secrets)
            if hook["ordered"]:
                check_order(got)
        if path == "redis":
            wait_index(stack, cluster.database, check_index, 30)
            wait_index(stack, cluster.database, check_index_empty, 30)
        states = stored_states(cluster)
        print(f"{len(receiver.requests())} requests, rows {states}, {havoc.done}")
        assert set(states) == {"done"}


def test_dead_letters_are_replayed_by_one_call(stack, path, receiver):
    with Cluster(stack, 1, **FAST, **on(path)) as cluster:
        wait_path(cluster.db, path)
        api = cluster["a"]
        hook = subscribe(
            api,
            receiver,
            "letters",
            "/mine",
            rateLimit={"maxRetries": 1, "baseDelayMs": 100, "maxRequestsPerMinute": MOST},
        )
        receiver.answer("/mine", "status/500")
        writer = Writer(api, "letters", 0)
        for _ in range(4):
            writer.one()
        dead = cluster.db["_jobs"]
        wait_until("all are dead", lambda: dead.count_documents({"st": "dead"}) == 4)
        receiver.answer("/mine", "ok")
        before = receipts(receiver)
        reply = api.post("/api/cluster/webhooks/dead-letters/replay", {})
        assert reply.status == 200 and reply.json()["replayed"] == 4
        wait_settled(cluster.db)
        again = receipts(receiver)[len(before) :]
        check_nothing_lost(writer.written, again)
        assert {r.message for r in again} == {r.message for r in before}
        assert all(r.headers["x-attempt-number"] == "1" for r in again)
        check_signed(again, {hook["_id"]: hook["secret"]})


# ---- without faults: nothing twice, all shared


def test_ten_instances_share_a_queue_without_doubles(own, receiver):
    """20,000 deliveries that are there already: 2,000 events, 10 webhooks."""
    patient = FAST | {"WEBHOOK_TIMEOUT": "20000"}  # this machine may pause
    with Cluster(own, 10, webs=["a"], **patient, **on("mongodb")) as cluster:
        api = cluster["a"]
        for i in range(10):
            subscribe(api, receiver, "many", f"/ok/{i}")
        api.post("/api/cluster/webhooks/queue/pause", {})
        begun = time.monotonic()
        writers = [Writer(api, "many", 0) for _ in range(8)]
        threads = [
            threading.Thread(target=lambda w=w: [w.one() for _ in range(250)])
            for w in writers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(
            "all events are fanned out",
            lambda: cluster.db["_jobs"].estimated_document_count() == 20_000,
            60,
        )
        api.post("/api/cluster/webhooks/queue/resume", {})
        resumed = time.monotonic()
        wait_settled(cluster.db, 600)  # a minute, if nobody else has this machine
        took = time.monotonic() - resumed
        got = receipts(receiver)
        print(
            f"2,000 writes in {resumed - begun:.1f} s, 20,000 deliveries "
            f"in {took:.1f} s: {20_000 / took:.0f}/s"
        )
        assert len(got) == 20_000 and doubles(got) == {}
        check_nothing_lost([w for x in writers for w in x.written], got)
        by = {r.headers["x-instance-id"] for r in got}
        assert by == set(cluster.ids)
        assert stored_states(cluster) == {"done": 20_000}


# ---- limits


def test_the_limit_of_a_webhook_is_exact_over_instances(stack, path, receiver):
    with Cluster(stack, 3, webs=["a"], **FAST, **on(path)) as cluster:
        wait_path(cluster.db, path, 3)
        api = cluster["a"]
        limit = {"maxRequestsPerMinute": 20, "maxRetries": 0}
        subscribe(api, receiver, "limited", "/ok/limited", rateLimit=limit)
        writer = Writer(api, "limited", 0)
        for _ in range(100):
            writer.one()
        wait_settled(cluster.db, 60)
        got = receiver.requests("/ok/limited")
        assert len(got) == 100
        times = sorted(r.t for r in got)
        # the receiver's clock sees the way there, too, which may be long for one
        # and short for another; unit tests hold the times of grants to the ms
        check_windows(times, 20, 1.0 - 0.2)
        lasted = took(times[0], times[-1])
        print(f"100 deliveries of 20/s took {lasted:.2f} s")
        assert lasted < 10
        check_path(cluster.servers, cluster.db, path)


def test_failing_and_hanging_receivers_leave_the_others_alone(
    stack, path, receiver
):
    """A tarpit holds its share of the slots, at most; an ordered one too."""
    with Cluster(stack, 1, **FAST, **on(path)) as cluster:
        api = cluster["a"]
        wait_path(cluster.db, path)
        receiver.answer("/hangs", "tarpit")
        receiver.answer("/hangs-in-order", "tarpit")
        subscribe(api, receiver, "calm", "/ok/calm")
        hangs = subscribe(api, receiver, "calm", "/hangs")
        writer = Writer(api, "calm", 0)
        for _ in range(200):
            writer.one()
        got = receiver.wait(200, "/ok/calm", 30)
        check_nothing_lost(
            writer.written, [Receipt(r.t, r.path, r.headers, r.body) for r in got]
        )
        running = {"st": "leased", "sub": hangs["_id"]}
        assert cluster.db["_jobs"].count_documents(running) <= 2, "its share"
        receiver.release()


# ---- the checkers can fail


def receipt(message: str, document: str, n: int, at: float = 0) -> Receipt:
    body = f'{{"event":"update","data":{{"document":{{"_id":"{document}","n":{n}}}}}}}'
    headers = {"webhook-id": message, "x-webhook-id": "w", "x-attempt-number": "1"}
    return Receipt(at, "/", headers, body.encode())


def test_the_checkers_see_faults():
    good = [receipt("m1", "d", 1, 1), receipt("m2", "d", 2, 2)]
    check_nothing_lost([Written("update", "d", 1)], good)
    assert missing([Written("update", "d", 3)], good)
    for check, bad in [
        (lambda r: check_nothing_lost([Written("update", "d", 3)], r), good),
        (lambda r: check_nothing_invented([Written("update", "d", 1)], r), good),
        (check_order, [receipt("m1", "d", 2, 1), receipt("m2", "d", 1, 2)]),
        (check_order, [*good, receipt("m1", "d", 1, 3)]),
        (check_labelled, [*good, receipt("m2", "d", 3)]),
        (check_labelled, [*good, receipt("m3", "d", 2)]),
        (lambda r: check_windows([0, 0.1, 0.2], 2, 1), good),
        (lambda r: check_signed(r, {"w": "whsec_" + "A" * 44}), good),
        (check_doubles, [*good, receipt("m1", "d", 1, 3)]),
        (lambda r: check_doubles(r, [(2, 3)], 4), [*good, receipt("m1", "d", 1, 9)]),
        (lambda r: check_doubles(r, [(8, 9)], 4), [*good, receipt("m1", "d", 1, 9)]),
        (lambda r: check_doubles(r, [(4, 5)], 4), [*good, receipt("m1", "d", 1, 3)]),
        (lambda r: check_bodies(r, [{"msgId": "m1", "body": r[0].body}]), good),
        (lambda r: check_bodies(r, [{"msgId": m.message, "body": b"x"} for m in r]),
         good),
    ]:
        with pytest.raises((AssertionError, KeyError)):
            check(bad)
    assert doubles([*good, good[0]]) == {"m1": 2}
    check_doubles(good)
    check_doubles([*good, receipt("m1", "d", 1, 6)], [(2, 3)], 4)
    check_bodies(good, [{"msgId": m.message, "body": m.body} for m in good])
