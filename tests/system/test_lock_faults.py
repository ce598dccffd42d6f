"""Locks under faults, in both homes: many clients of two instances write to a
register that fences protect, while Redis or MongoDB is killed, hung, emptied,
cut short, wrong about the time, or its replies are lost. What may be believed
is checked afterwards; and locks must be had again soon."""

import contextlib
import random
import threading
import time
import uuid
from collections import Counter

import pytest
from proxy import Proxy
from pymongo.errors import PyMongoError

from clock import WrongClock
from cluster import wait_until
from clusters import Cluster
from locks import (
    Hold,
    ProtectedRegister,
    acquire,
    check_fences,
    check_holds,
    check_journal,
    listing,
    release,
    renew,
    take,
    wait_granted,
)
from standstill import took

STRANGER = "q1w2e3r4t5y6u7i8o9p0a1s2"
TTL = 800  # ms, of the clients' locks
LONG = 60000
AGAIN = 15  # s until locks are granted again; 5 is what is promised
TELLING = {201, 409, 503}
HOUR = 3600 * 1000


class Clients:
    """Threads, each with a connection to one of the instances, that take, use
    and leave some locks till the end of the block. Some work on after their
    time, some never release, and some have a token of nobody."""

    def __init__(self, cluster, threads: int = 6, keys: int = 3):
        self.cluster, self.db = cluster, cluster.client.locks
        self.name = f"k{uuid.uuid4().hex[:8]}"
        self.holds: list[Hold] = []
        self.statuses: Counter = Counter()
        self.losses: list[tuple[float, float]] = []
        self.errors: list[BaseException] = []
        self.unheard = False  # replies of the home are lost
        self.registers = [
            ProtectedRegister(self.db[self.name], f"{self.name}/{i}")
            for i in range(keys)
        ]
        self._running = True
        self._threads = [
            threading.Thread(target=self._run, args=(i,), daemon=True)
            for i in range(threads)
        ]

    def _run(self, i: int) -> None:
        chance = random.Random(i)
        apis = list(self.cluster)
        api = apis[i % len(apis)]
        try:
            on = api.connect()
            with contextlib.closing(on):
                while self._running:
                    self._turn(api, on, f"client {i}", chance)
        except BaseException as error:
            self.errors.append(error)

    def _turn(self, api, on, me: str, chance) -> None:
        register = chance.choice(self.registers)
        if chance.random() < 0.05:
            self._intrude(api, on, register.name)
        body = {"ttlMs": TTL, "waitMs": chance.choice((0, 200)), "owner": me}
        asked = time.monotonic()
        reply = acquire(api, register.name, on, **body)
        begin = time.monotonic()
        self.statuses[reply.status] += 1
        if reply.status != 201:
            time.sleep(0.02)
            return
        got = reply.json()
        end = asked + TTL / 1000
        hold = Hold(
            register.name, got["fence"], asked, begin, end, got["token"], api
        )
        self.holds.append(hold)
        self._use(hold, register, on, me, chance)

    def _use(self, hold: Hold, register, on, me: str, chance) -> None:
        self._write(register, hold.fence, me)
        kind = chance.random()
        if kind < 0.04:
            return  # it dies with the lock
        if kind < 0.08:  # it is stopped, and does not know for how long
            time.sleep(TTL / 1000 * 1.3)
            self._write(register, hold.fence, me)
        elif kind < 0.4 and hold.renew(TTL, on):
            self._write(register, hold.fence, me)
        hold.release(on)

    def _write(self, register, fence: int, me: str) -> None:
        try:
            register.write(fence, me, me)
        except PyMongoError:
            pass  # done or not; the journal tells

    def _intrude(self, api, on, key: str) -> None:
        assert renew(api, key, STRANGER, LONG, on).status in (404, 409, 503)
        status = release(api, key, STRANGER, on).status
        # no lock, and the reply before said nothing: it may have been released
        assert status in (404, 409, 503) or (self.unheard and status == 200)

    def granted(self, n: int = 20, seconds: float = 60) -> float:
        """Waits for so many grants from now on, of which each instance has
        one; seconds until the first."""
        begun, known = time.monotonic(), len(self.holds)

        def enough() -> bool:
            assert not self.errors, self.errors
            new = [h for h in self.holds[known:] if h.asked > begun]
            return len(new) >= n and len({id(h.api) for h in new}) == len(
                self.cluster.instances
            )

        wait_until(f"{n} locks were granted", enough, seconds)
        first = next(h for h in self.holds[known:] if h.asked > begun)
        return first.begin - begun

    @contextlib.contextmanager
    def loss(self):
        """Within it Redis may forget, or misjudge, what is held."""
        begun = time.monotonic()
        yield
        self.losses.append((begun, time.monotonic()))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.granted()
        return self

    def __exit__(self, kind, error, _) -> None:
        self._running = False
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        if not error:
            self.check()

    def check(self) -> None:
        assert not self.errors, self.errors
        assert set(self.statuses) <= TELLING, self.statuses
        check_fences(self.holds)
        for holds in between(self.holds, self.losses):
            check_holds(holds)
        for register in self.registers:
            check_journal(register.journal())
        self.db[self.name].drop()
        self.cluster.check()


def between(holds: list[Hold], losses) -> list[list[Hold]]:
    """The holds of each key in parts: one that may have been forgotten is not
    compared with what came after."""
    parts: list[list[Hold]] = []
    for key in {h.key for h in holds}:
        parts.append([])
        for hold in sorted((h for h in holds if h.key == key), key=lambda h: h.begin):
            before = parts[-1][-1] if parts[-1] else None
            if before and any(
                begun < hold.begin and before.asked < ended for begun, ended in losses
            ):
                parts.append([])
            parts[-1].append(hold)
    return parts


def test_holds_are_compared_between_losses():
    held = [Hold("k", i, i, i + 0.1, i + 5) for i in range(4)]
    assert [len(p) for p in between(held, [])] == [4]
    assert [len(p) for p in between(held, [(1.5, 1.6)])] == [2, 2]
    assert [len(p) for p in between(held, [(0.5, 1.95)])] == [1, 1, 2]
    with pytest.raises(AssertionError):
        check_holds(held)


def told(capsys, what: str, seconds: float) -> float:
    with capsys.disabled():
        print(f" [{what}: {seconds:.2f} s]", end=" ")
    return seconds


def again(capsys, clients: Clients, since: float | None = None) -> None:
    """Locks are granted soon after the end of a fault."""
    since = since or time.monotonic()
    clients.granted(1)
    assert told(capsys, "granted after", took(since)) < AGAIN
    clients.granted()


# ---- home Redis


@pytest.fixture(scope="module")
def redis(own):
    """What instance a has of Redis."""
    with Proxy(own.redis_path) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def two(own, redis):
    each = {"a": {"REDIS_URL": redis.redis_url}}
    with Cluster(own, 2, each) as cluster:
        yield cluster


@pytest.fixture
def cluster(two, own, redis):
    redis.forward()
    own.mongod.cont()
    own.redis.cont()
    if not own.redis.running():
        own.start_redis()
    for instance in two:
        wait_granted(instance)
    yield two
    assert two.db["_locks"].count_documents({}) == 0, "never a second home"


def nothing_granted(cluster) -> None:
    """By no instance; within a second, says the contract."""
    wait_until(
        "all refuse",
        lambda: all(acquire(i, f"n{uuid.uuid4().hex}").status == 503 for i in cluster),
        10,
    )


def test_redis_killed(cluster, own, capsys):
    with Clients(cluster) as clients:
        with clients.loss():
            own.redis.kill()
        nothing_granted(cluster)
        cluster.wait_mode("degraded")
        own.start_redis()
        again(capsys, clients)
    assert clients.statuses[503] > 0


def test_redis_that_hangs(cluster, own, capsys):
    """It keeps its data: what is held stays so."""
    with Clients(cluster) as clients:
        left = take(cluster["a"], clients.name, ttlMs=LONG)
        own.redis.pause()
        nothing_granted(cluster)
        cluster.wait_mode("degraded")
        own.redis.cont()
        again(capsys, clients)
        held = acquire(cluster["b"], clients.name)
        assert held.status == 409 and held.json()["holder"]["instanceId"] == "a"
        assert left.release()


def test_redis_restarted_empty_at_once(cluster, own, capsys):
    with Clients(cluster) as clients:
        with clients.loss():
            own.restart_redis()
        again(capsys, clients)


def test_redis_emptied(cluster, own, capsys):
    """Also while a data set is being opened."""
    with Clients(cluster) as clients:
        before = cluster.db["_cluster"].find_one("redis")["dataset"]
        with clients.loss():
            own.redis_cli("FLUSHALL")
            wait_until(
                "it has another name",
                lambda: cluster.db["_cluster"].find_one("redis")["dataset"] != before,
            )
            own.redis_cli("FLUSHALL")
        again(capsys, clients)


def test_data_set_deleted(cluster, own, capsys):
    """The operator's way to force a rebuild: locks outlive it."""
    with Clients(cluster) as clients:
        kept = take(cluster["a"], clients.name, ttlMs=LONG)
        own.redis_cli("DEL", f"{cluster.database}:dataset")
        again(capsys, clients)
        assert acquire(cluster["b"], clients.name).status == 409
        assert kept.renew(LONG) and kept.release()


def test_scripts_forgotten(cluster, own):
    with Clients(cluster) as clients:
        for _ in range(10):
            own.redis_cli("SCRIPT", "FLUSH")
            clients.granted(3)
    assert clients.statuses[503] == 0


def test_redis_restarted_from_its_file(own, redis, cluster, capsys):
    """Whole, it keeps all locks; cut, some are lost, and fences grow still."""
    own.appendonly = True
    try:
        own.restart_redis()
        for instance in cluster:
            wait_granted(instance)
        with Clients(cluster) as clients:
            kept = take(cluster["a"], clients.name, ttlMs=LONG)
            own.restart_redis(empty=False, kill=True)
            again(capsys, clients)
            assert acquire(cluster["b"], clients.name).status == 409
            assert kept.release()
            with clients.loss():
                own.restart_redis(empty=False, cut=2000)
            again(capsys, clients)
    finally:
        own.appendonly = False
        own.restart_redis()


def set_clock(own, clock: WrongClock, ms: int) -> None:
    def error() -> float:
        return int(own.redis_cli("TIME").split()[0]) - time.time() - ms / 1000

    clock.set(ms)
    wait_until("Redis sees it", lambda: abs(error()) < 60)


def test_clock_of_redis_that_steps(cluster, own, capsys, tmp_path):
    """On, it ends leases early and back, it lengthens them; fences grow. What
    nobody releases may be held for an hour, so each step has locks of its
    own."""
    clock = WrongClock(tmp_path)
    own.redis_env = clock.env
    own.restart_redis()
    last = 0
    try:
        for ms in (HOUR, -HOUR, 24 * HOUR, 0):
            set_clock(own, clock, ms)
            for instance in cluster:
                wait_granted(instance)
            with Clients(cluster) as clients:
                pass  # some were granted
            fences = [h.fence for h in clients.holds]
            assert min(fences) > last
            last = max(fences)
        with Clients(cluster, keys=1) as clients, clients.loss():
            set_clock(own, clock, HOUR)
            clients.granted()
    finally:
        own.redis_env = {}
        own.restart_redis()


def test_mongodb_stopped_for_2_5_s(cluster, own, capsys):
    """Locks need to know their data set: they may be refused, and come back."""
    with Clients(cluster) as clients:
        own.mongod.pause()
        time.sleep(2.5)
        own.mongod.cont()
        again(capsys, clients)


def test_lock_of_one_that_died_is_free_after_its_time(cluster, own):
    """Also when Redis hung meanwhile, or one instance was cut off."""
    key = f"k{uuid.uuid4().hex[:8]}"
    died = take(cluster["a"], key, ttlMs=4000)
    own.redis.pause()
    time.sleep(2)
    own.redis.cont()
    wait_until(
        "it is granted",
        lambda: acquire(cluster["b"], key, ttlMs=LONG).status == 201,
        max(0.0, died.end - time.monotonic()) + AGAIN,
    )
    assert time.monotonic() > died.end


# ---- lost replies, in both homes


@pytest.fixture(scope="module")
def mongo(own):
    with Proxy(own.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def single(own, mongo):
    """Two instances without Redis; a has MongoDB through the proxy."""
    each = {"a": {"MONGODB_URI": mongo.uri()}}
    with Cluster(own, 2, each, REDIS_URL="none") as cluster:
        for instance in cluster:
            wait_granted(instance)
        yield cluster


@pytest.mark.parametrize("home", ["redis", "mongo"])
def test_lost_reply(request, home):
    """It was done, and nobody was told: the program asks again with the same
    token, and the client sees one lock."""
    cluster = request.getfixturevalue("cluster" if home == "redis" else "single")
    proxy = request.getfixturevalue(home)
    a, b = cluster["a"], cluster["b"]
    key, owner = f"k{uuid.uuid4().hex[:8]}", f"o{uuid.uuid4().hex}"
    for cut in (proxy.cut_after_forward, proxy.cut_before_forward):
        cuts = proxy.cuts
        cut(owner.encode())
        hold = take(a, key, ttlMs=LONG, owner=owner)
        assert proxy.cuts == cuts + 1 and hold
        (row,) = [r for r in listing(b).json()["locks"] if r["key"] == key]
        assert row["fence"] == hold.fence and row["owner"] == owner
        cut(hold.token.encode())
        assert hold.renew(LONG) and proxy.cuts == cuts + 2
        cut(hold.token.encode())
        assert hold.release() and proxy.cuts == cuts + 3
        later = take(b, key, ttlMs=LONG)
        assert later.fence > hold.fence
        cut(hold.token.encode())
        assert not hold.release(), "it is another one's now"
        assert later.renew(LONG) and later.release()
        proxy.forward()


@pytest.mark.parametrize("home", ["redis", "mongo"])
def test_holder_that_slept_too_long_writes_no_more(request, home):
    """It believes in its lock still: what it writes to checks the fence."""
    cluster = request.getfixturevalue("cluster" if home == "redis" else "single")
    key = f"k{uuid.uuid4().hex[:8]}"
    register = ProtectedRegister(cluster.client.locks[key], key)
    sleeper = take(cluster["a"], key, ttlMs=500)
    assert register.write(sleeper.fence, "first", "sleeper")
    other = wait_until("it ends", lambda: take(cluster["b"], key, ttlMs=LONG))
    assert register.write(other.fence, "second", "other")
    assert not register.write(sleeper.fence, "late", "sleeper")
    assert not sleeper.renew(LONG) and not sleeper.release()
    assert register.read() == "second" and other.release()
    check_journal(register.journal())
    cluster.client.locks[key].drop()


@pytest.mark.parametrize("home", ["redis", "mongo"])
def test_many_lost_replies(request, home):
    cluster = request.getfixturevalue("cluster" if home == "redis" else "single")
    proxy = request.getfixturevalue(home)
    chance = random.Random(7)
    with Clients(cluster) as clients:
        name = clients.name.encode()
        clients.unheard = True

        def unlucky(data: bytes) -> bool:
            return name in data and chance.random() < 0.1

        for cut in (proxy.cut_after_forward, proxy.cut_before_forward):
            before = proxy.cuts
            cut(unlucky, -1)
            wait_until("some were lost", lambda: proxy.cuts >= before + 4, 60)
            clients.granted(10)
        proxy.forward()
        clients.granted()


# ---- home MongoDB


def harm_nothing(own) -> None:
    pass


def stop_for_a_while(own) -> None:
    own.mongod.pause()
    time.sleep(2.5)
    own.mongod.cont()


def restart(own) -> None:
    own.restart_mongod()


def kill(own) -> None:
    own.restart_mongod(kill=True)


def step_down(own) -> None:
    own.stepdown(2)


@pytest.mark.parametrize(
    "harm", [harm_nothing, stop_for_a_while, restart, kill, step_down]
)
def test_home_mongodb(single, own, mongo, capsys, harm):
    mongo.forward()
    with Clients(single) as clients:
        harm(own)
        # a driver that has met no server may look again after some seconds
        clients.granted(20, 60)
    changes = single.history().changes("_locks")
    assert len([c for c in changes if c.doc and c.doc["tok"]]) > 20
