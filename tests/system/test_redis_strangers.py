"""Deliveries while one of three instances has lost Redis, replies and scripts
get lost, strangers write to our keys, and its clock steps: nothing is lost or
comes twice."""

import itertools
import random
import time

from clock import WrongClock
from cluster import wait_until
from flow import LEASE, SOON, wait_settled
from index import digest, read_index
from three import *  # noqa: F401,F403: fixtures

HOUR = 3600 * 1000

# ---- connections


def test_forgotten_scripts_and_cut_connections(stack, flow):
    with flow:
        for _ in range(3):
            stack.redis_cli("SCRIPT", "FLUSH")
            flow.goes_on("scripts are forgotten")
            stack.redis_cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            flow.goes_on("connections are cut")
        flow.claims("redis")


# ---- one instance has lost it


def by(flow, name: str, n: int = 10) -> None:
    """So many deliveries from now on by one instance."""
    begun = time.monotonic()
    paths = {hook.path for hook in flow.hooks}

    def enough() -> bool:
        new = [r for r in flow.receiver.requests() if r.t > begun and r.path in paths]
        return sum(r.headers["x-instance-id"] == name for r in new) >= n

    wait_until(f"{name} delivers", enough, SOON)


def test_one_is_cut_off(cluster, redis, flow):
    """It uses the rows, the others the index, at the same time."""
    with flow:
        redis.hold()
        cluster.wait_mode("degraded", "b")
        by(flow, "b")
        flow.claims("redis")
        flow.claims("mongodb")
        by(flow, "a")
        assert cluster.mode("a") == cluster.mode("c") == "cluster"
        redis.drop()
        redis.forward()
        cluster.wait_mode("cluster", "b")
        by(flow, "b")


def test_lost_replies(cluster, redis, flow):
    """Of one call in ten of instance b: it was done, or it was not."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    scripts = [digest(f"queue_{x}").encode() for x in ("step", "enqueue", "recover")]

    def unlucky(data: bytes) -> bool:
        return any(s in data for s in scripts) and chance.random() < 0.1

    with flow:
        for cut in (redis.cut_after_forward, redis.cut_before_forward):
            before = redis.cuts
            cut(unlucky, -1)
            wait_until("some were lost", lambda b=before: redis.cuts >= b + 10, 60)
            flow.goes_on("replies are lost")
        redis.forward()
        by(flow, "b")
    rows = cluster.db["_jobs"].find({"sub": {"$in": [h.id for h in flow.hooks]}})
    assert {row["stalls"] for row in rows} <= {0}, "nobody died"


# ---- what strangers do in it


def foreign(cluster, hook, i: int) -> list[list[str]]:
    """Commands that leave nonsense where something of ours is."""
    top = f"{cluster.database}:q:webhook"
    group = next(iter(read_index(cluster.servers, cluster.database).waiting), hook.id)
    spoil = [
        [["SET", "x"], ["RPUSH", "x"], ["HSET", "x", "y"]],
        [["SADD", "x"], ["ZADD", "nan", "x"], ["SETEX", "9", "x"]],
        [["HSET", "n", "x"], ["ZADD", "1", "x"], ["LPUSH", "x", "y"]],
    ][i]
    keys = [f"{top}:{k}" for k in ("meta", "r", "hold", "dly", "act", "mk", "rl")]
    keys += [f"{top}:{k}:{hook.id}" for k in ("l", "rl", "w", "e")]
    keys += [f"{top}:w:{group}", f"{cluster.database}:ev"]
    made = []
    for key, words in zip(keys, itertools.cycle(spoil)):
        values = [w if w != "nan" else "5e300" for w in words[1:]]
        if words[0] == "SETEX":
            made += [["DEL", key], ["SET", key, "x"]]
        else:
            made += [["DEL", key], [words[0], key, *values]]
    return made


def nonsense(cluster, hook) -> list[list[str]]:
    """Members and fields of the right kind with values that mean nothing."""
    top = f"{cluster.database}:q:webhook"
    long = "x" * 5000
    return [
        ["ZADD", f"{top}:r", "0", "nobody"],
        ["ZADD", f"{top}:r", "0", long],
        ["ZADD", f"{top}:e:{hook.id}", "0", "no:group"],
        ["ZADD", f"{top}:w:{hook.id}", "0", "nojob", "0", long, "0", "größe"],
        ["ZADD", f"{top}:dly", "0", "nojob", "-inf", "nojob2"],
        ["ZADD", f"{top}:act", "0", "nojob", "1", long],
        ["ZADD", f"{top}:hold", "0", "zzz", "1", "lnobody", "2", "gnobody:x", "3", ""],
        ["ZADD", f"{top}:mk", "0", "x"],
        ["HSET", f"{top}:meta", "due", "x", "len", "-5", "cap", "y", "gl", "z"],
        ["HSET", f"{top}:l:{hook.id}", "n", "x", "ls", "y", "lmt", "z", "pc", "-1"],
        ["HSET", f"{top}:j:nojob", "g", "nogroup"],
        ["LPUSH", f"{top}:rl:{hook.id}", "x"],
        ["LPUSH", f"{top}:rl", "x"],
        ["RPUSH", f"{cluster.database}:ev", "x", long, "0" * 24],
    ]


def test_foreign_keys(cluster, stack, flow):
    """What was in a key that is no more is brought again from the rows: within
    half a minute."""
    flow.seconds, flow.audits = 100, False
    with flow:
        for i in range(3):
            for hook in flow.hooks:
                for words in foreign(cluster, hook, i):
                    stack.redis_cli(*words)
            time.sleep(0.5)  # some turns
        for hook in flow.hooks:
            for words in nonsense(cluster, hook):
                stack.redis_cli(*words)
        flow.goes_on("it is full of nonsense", 60)
        flow.claims("redis")
        # nobody looks at these any more: a webhook without order has no groups
        top = f"{cluster.database}:q:webhook"
        stack.redis_cli("DEL", f"{top}:j:nojob", f"{top}:e:{flow.hooks[0].id}")
    told = read_index(stack, cluster.database).meta
    assert int(told["foreign"]) > 10, "they are counted"


# ---- its clock


def test_clock_of_redis_that_steps(cluster, stack, flow, tmp_path):
    """On, it ends leases early in the index: the rows know better."""
    clock = WrongClock(tmp_path)
    stack.redis_env = clock.env
    stack.restart_redis()
    try:
        with flow:
            clock.set(HOUR)
            wait_until(
                "Redis sees it",
                lambda: int(stack.redis_cli("TIME").split()[0]) - time.time() > 3000,
            )
            flow.claims("redis")
            flow.goes_on("its clock is an hour ahead")
    finally:
        stack.redis_env = {}
        stack.restart_redis()
        wait_settled(cluster.db, LEASE + SOON)
