"""Deliveries while Redis is killed, emptied, hung, full, cut off or filled with
foreign keys: three instances go on by the rows in MongoDB and come back, and
nothing is lost or comes twice (flow.py judges). Instance b has Redis through a
proxy of its own."""

import itertools
import os
import random
import signal
import time

import pytest
from proxy import Proxy
from receiver import Receiver

import hooks
from clock import WrongClock
from cluster import free_port, wait_until
from clusters import Cluster
from delivering import FAST, Hook, retries, sender
from events import check_bodies, check_doubles, check_windows
from flow import LEASE, SOON, Flow, receipts, wait_settled
from index import check_complete, check_index, digest, read_index, wait_index
from paths import wait_path
from servers import Servers

SLOTS = 5
CAP = 6  # 0.4 x 15
HOUR = 3600 * 1000


@pytest.fixture(scope="module")
def stack():
    servers = Servers(appendonly=True)
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def redis(stack):
    """What instance b has of it."""
    with Proxy(stack.redis_path) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def three(stack, redis):
    each = {"b": {"REDIS_URL": redis.redis_url}}
    with Cluster(stack, 3, each, webs=["a"], **FAST) as cluster:
        yield cluster


@pytest.fixture
def cluster(three, stack, redis):
    """All is well."""
    redis.forward()
    stack.redis.cont()
    if not stack.redis.running():
        stack.start_redis()
    wait_path(three.db, "redis", 3)
    wait_cap(three)
    return three


def wait_cap(cluster) -> None:
    """All slots are known to all, and none of them is new."""
    meta = f"{cluster.database}:q:webhook:meta"
    wait_until(
        "the cap is that of three",
        lambda: cluster.servers.redis_cli("HGET", meta, "cap").strip() == str(CAP),
        30,
    )


@pytest.fixture
def flow(cluster, receiver):
    return Flow(cluster, receiver, CAP, SLOTS)


def told(capsys, what: str, seconds: float) -> None:
    with capsys.disabled():
        print(f" [{what}: {seconds:.2f} s]", end=" ")


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
        for _ in range(3):
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


def test_forgotten_scripts_and_cut_connections(stack, flow):
    with flow:
        for _ in range(5):
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


@pytest.mark.parametrize("way", ["silent", "refused"])
def test_one_is_cut_off(cluster, redis, flow, way):
    """It uses the rows, the others the index, at the same time."""
    with flow:
        redis.hold() if way == "silent" else redis.refuse()
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
            wait_until("some were lost", lambda b=before: redis.cuts >= b + 20, 60)
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
