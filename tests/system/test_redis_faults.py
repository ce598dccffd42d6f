"""Deliveries while Redis is killed, emptied, hung, full or otherwise of no use:
three instances go on by the rows in MongoDB and come back, and nothing is lost
or comes twice."""

import itertools
import os
import signal
import time

import pytest

import hooks
from cluster import free_port, wait_until
from delivering import Hook, retries, sender
from events import check_bodies, check_doubles, check_windows
from flow import receipts
from index import check_complete, check_index, wait_index
from three import *  # noqa: F401,F403: fixtures
from three import told

# ---- it goes


@pytest.mark.parametrize("back", ["empty", "whole", "cut"])
def test_killed(cluster, stack, flow, capsys, back):
    """And started again: without its data, with all, without the last ones."""
    with flow:
        stack.redis.kill()
        told(capsys, "deliveries after", flow.goes_on("it is killed"))
        flow.claims("mongodb")
        cluster.wait_mode("degraded")
        cut = 2000 if back == "cut" else 0
        stack.restart_redis(empty=back == "empty", kill=True, cut=cut)
        told(capsys, "in use after", flow.claims("redis"))
        flow.goes_on("it is back")


def test_restarted_empty_at_once(stack, flow):
    with flow:
        for _ in range(2):
            stack.restart_redis(kill=True)
            flow.claims("redis")
            flow.goes_on("it is empty")


def test_emptied_with_a_backlog(cluster, stack, receiver, capsys):
    """Also while the next data set is being opened; then all rows are known
    again. They wait, so that none is claimed meanwhile."""
    made = [Hook(cluster["a"], receiver, ordered=x) for x in (False, True)]
    jobs, since = cluster.db["_jobs"], cluster.mark()
    assert hooks.pause(cluster["a"]).status == 200
    try:
        time.sleep(1)  # what the reply promises
        for hook, i in itertools.product(made, range(150)):
            hook.insert(n=i)
        wait_until("all wait", lambda: jobs.count_documents({"open": True}) == 300)
        waiting = list(jobs.find({"open": True}, {"_id": 1}))

        def known(index) -> None:
            check_complete(index, waiting)
            check_index(index)

        wait_index(stack, cluster.database, known, 30)
        before = cluster.db["_cluster"].find_one("redis")["dataset"]
        stack.redis_cli("FLUSHALL")
        wait_until(
            "it has another name",
            lambda: cluster.db["_cluster"].find_one("redis")["dataset"] != before,
        )
        stack.redis_cli("FLUSHALL")
        emptied = time.monotonic()
        wait_index(stack, cluster.database, known, 30)
        told(capsys, "complete after", time.monotonic() - emptied)
        assert not any(hook.count() for hook in made), "it is paused"
    finally:
        hooks.pause(cluster["a"], on=False)
    for hook in made:
        hook.wait_state(cluster.client, "done", 150, 60)
        got = receipts(receiver, hook.path)
        check_doubles(got)
        check_bodies(got, jobs.find({"sub": hook.id}))
        assert len(got) == 150
        hook.drop()
    assert cluster.history(since)


def test_data_set_deleted(cluster, stack, flow):
    """The operator's way to force a rebuild, and a name that is none."""
    name = f"{cluster.database}:dataset"
    with flow:
        for words in (["DEL", name], ["SET", name, "nonsense"]):
            before = cluster.db["_cluster"].find_one("redis")["dataset"]
            stack.redis_cli(*words)
            wait_until(
                "another one is open",
                lambda b=before: stack.redis_cli("GET", name).strip()
                not in ("", "nonsense", b),
                30,
            )
            flow.claims("redis")
            flow.goes_on(f"after {words[0]}")


# ---- it is there, and of no use


def test_hung(cluster, stack, flow, receiver):
    """What it says of those in flight is old when it wakes. A worker that dies
    meanwhile is followed at once by another one all the same."""
    hook = Hook(cluster["a"], receiver, rateLimit=retries(3))
    with flow:
        flow.deaths = True
        receiver.answer(hook.path, "tarpit", "ok")
        hook.insert()
        (request,) = hook.wait(1)
        pid = sender(cluster[request.headers["x-instance-id"]], receiver, request)
        begun = time.monotonic()
        stack.redis.pause()
        with flow.cause():
            os.kill(pid, signal.SIGKILL)
        flow.goes_on("it hangs")
        cluster.wait_mode("degraded")
        before = flow.writes(0, begun)
        during = flow.writes(begun, time.monotonic())
        said = f"writes before {before[-3:]} s, during {during[-3:]} s"
        assert during[len(during) // 2] < 2 * before[len(before) // 2] + 0.05, said
        again = hook.wait(2)[1]
        assert again.headers["webhook-id"] == request.headers["webhook-id"]
        stack.redis.cont()
        flow.claims("redis")
        flow.goes_on("it wakes")
    (row,) = hook.jobs(cluster.client)
    assert (row["st"], row["tries"], row["stalls"]) == ("done", 1, 1)
    assert hook.count() == 2
    hook.drop()


def test_stalls_of_a_second(stack, flow):
    with flow:
        for _ in range(2):
            stack.redis.pause()
            time.sleep(1)
            stack.redis.cont()
            flow.claims("redis")
            flow.goes_on("it has stalled")


def config(stack, **values) -> None:
    for name, value in values.items():
        stack.redis_cli("CONFIG", "SET", name.replace("_", "-"), str(value))


UNFIT = {
    "evicts": (
        lambda s: config(s, maxmemory_policy="allkeys-lru"),
        lambda s: config(s, maxmemory_policy="noeviction"),
    ),
    "is full": (
        lambda s: config(s, maxmemory="1"),
        lambda s: config(s, maxmemory="0"),
    ),
    "is a replica": (
        lambda s: s.redis_cli("REPLICAOF", "127.0.0.1", str(free_port())),
        lambda s: s.redis_cli("REPLICAOF", "NO", "ONE"),
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_unfit(cluster, stack, flow, capsys, kind):
    harm, heal = UNFIT[kind]
    with flow:
        harm(stack)
        try:
            told(capsys, "deliveries after", flow.claims("mongodb"))
            flow.goes_on(f"it {kind}")
            cluster.wait_mode("degraded")
        finally:
            heal(stack)
        told(capsys, "in use after", flow.claims("redis"))
        flow.goes_on("it is fit")


# ---- what is promised of all


def test_pause_outlives_it(cluster, stack, receiver):
    """Nobody claims on either path until it is resumed."""
    hook = Hook(cluster["a"], receiver)
    hook.insert(n=0)
    hook.wait(1)
    assert hooks.pause(cluster["a"]).status == 200
    try:
        time.sleep(1)  # what the reply promises
        for i in range(10):
            hook.insert(n=i + 1)
        stack.redis.kill()
        cluster.wait_mode("degraded")
        time.sleep(1.5)  # some looks
        stack.start_redis()
        cluster.wait_mode("cluster")
        time.sleep(1.5)
        assert hook.count() == 1
    finally:
        hooks.pause(cluster["a"], on=False)
    hook.wait_state(cluster.client, "done", 11)
    check_doubles(receipts(receiver, hook.path))
    hook.drop()


def test_limit_over_a_loss(cluster, stack, receiver):
    """What was granted is forgotten once for each loss: no more than that."""
    limit, window = 10, 5.0
    hook = Hook(
        cluster["a"],
        receiver,
        rateLimit=retries(3) | {"maxRequestsPerMinute": limit},
    )
    for i in range(4 * limit):
        hook.insert(n=i)
    hook.wait(limit)
    time.sleep(0.5)
    assert hook.count() == limit, "exact as long as it is there"
    stack.restart_redis(kill=True)
    hook.wait_state(cluster.client, "done", 4 * limit, 60)
    times = [r.t for r in receiver.requests(hook.path)]
    assert len(times) == 4 * limit
    check_windows(times, 3 * limit, window - 0.05)
    check_doubles(receipts(receiver, hook.path))
    hook.drop()
