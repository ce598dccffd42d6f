"""Who leads, under faults: MongoDB accepts one holder a term, whoever is killed,
stopped, cut off, or wrong about the time; and what happens to Redis is nothing
to the leader of cron. Histories come from the oplog, and what coordinators
believed from their logs."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from proxy import Proxy

from clock import WrongClock
from cluster import wait_until
from clusters import Cluster, led_share
from leading import STARTED, STOPPED, check_said, check_terms_said, check_turns, said
from standstill import took

TTL = 4.0  # CLUSTER_LEADER_TTL_MS
COOL = 10.0  # who was asked to resign stands back
SERVICES = ("cron", "maintenance")
DATABASE_AWAY = 45  # a driver may look again after 10 s only


@pytest.fixture(scope="module")
def mongo(own):
    """What instance a has of MongoDB."""
    with Proxy(own.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def three(own, mongo):
    each = {"a": {"MONGODB_URI": mongo.uri()}}
    with Cluster(own, 3, each) as cluster:
        settle(cluster)
        yield cluster
        cluster.check()
        check_said(cluster.instances)


@pytest.fixture
def cluster(three, own, mongo):
    """All of them well again, whatever the test before has left."""
    mongo.forward()
    own.mongod.cont()
    own.redis.cont()
    if not own.redis.running():
        own.start_redis()
    for instance in three:
        instance.workers.cont()
        if not instance.workers.running():
            instance.start_workers()
    settle(three)
    since = three.mark()
    yield three
    three.check(since)
    check_said(three.instances)


def settle(cluster) -> None:
    """From now on all were seen, both services are led, the data set is open:
    by the clock of MongoDB, which is that of the tests."""
    later = {"seen": {"$gt": datetime.now(timezone.utc)}}
    for what, n in (("_instances", len(cluster.instances)), ("_leader", 2)):
        wait_until(
            f"{n} of {what} were written",
            lambda: cluster.db[what].count_documents(later) == n,
            DATABASE_AWAY,
        )
    for service in SERVICES:
        cluster.wait_leader(service, DATABASE_AWAY)
    cluster.wait_mode("cluster", seconds=DATABASE_AWAY)


def terms(cluster) -> dict[str, tuple[int, str]]:
    """Of each service the term and its holder, also when its time is over."""
    rows = {d["_id"]: d for d in cluster.db["_leader"].find()}
    return {s: (rows[s]["term"], rows[s]["holder"]) for s in SERVICES}


def ask(cluster, name: str, what: str, service: str = "cron"):
    target = f"/api/cluster/leadership/{what}"
    return cluster[name].post(target, {"service": service})


def give_to(cluster, name: str) -> None:
    """Both services to this instance."""
    for service in SERVICES:
        reply = ask(cluster, name, "force", service)
        assert reply.status == 200, reply.body
        cluster.wait_leader(service, among=[name])


def stops(cluster) -> int:
    """How often any of them has stopped to lead."""
    lines = itertools.chain.from_iterable(said(i) for i in cluster)
    return sum(line["event"] == STOPPED for line in lines)


def told(capsys, what: str, seconds: float) -> float:
    with capsys.disabled():
        print(f" [{what}: {seconds:.2f} s]", end=" ")
    return seconds


def seconds_to_leader(cluster, among, service: str = "cron") -> float:
    begun = time.monotonic()
    cluster.wait_leader(service, 30, among)
    return took(begun)


# ---- no fault, or one that is too small


def test_exactly_one_leader_without_faults(cluster, capsys):
    before, since = terms(cluster), cluster.mark()
    stopped = stops(cluster)
    begin = datetime.now(timezone.utc)
    time.sleep(10)
    end = datetime.now(timezone.utc)
    history = cluster.history()
    for service in SERVICES:
        share = led_share(history.terms(service), begin, end)
        told(capsys, f"{service} led, of 1", share)
        assert share >= 0.99
        assert len({t.term for t in cluster.history(since).terms(service)}) == 1
    assert terms(cluster) == before and stops(cluster) == stopped


def nothing_changes(cluster, harm: Callable[[], None], services=SERVICES) -> None:
    """Neither the harm nor what comes of it within a lease changes a term."""
    before, stopped = terms(cluster), stops(cluster)
    harm()
    end = time.monotonic() + TTL + 1
    while time.monotonic() < end:
        now = terms(cluster)
        for service in services:
            assert now[service] == before[service]
        time.sleep(0.1)
    for service in services:
        assert cluster.leader(service) == before[service][1]
    if services == SERVICES:
        assert stops(cluster) == stopped, "somebody stopped for a while"


def test_mongodb_that_stalls_for_600_ms(cluster, own):
    def harm() -> None:
        for _ in range(2):
            own.mongod.pause()
            time.sleep(0.6)
            own.mongod.cont()
            time.sleep(1.5)

    nothing_changes(cluster, harm)


def test_leader_whose_packets_are_lost_or_late(cluster, mongo):
    give_to(cluster, "a")

    def harm() -> None:
        mongo.drop()
        time.sleep(1.5)
        mongo.hold()
        time.sleep(0.6)
        mongo.forward()
        time.sleep(1.5)
        mongo.delay(600)
        time.sleep(0.6)
        mongo.forward()
        time.sleep(1.5)
        mongo.cut_after_forward(b"_leader", 2)
        wait_until("replies were lost", lambda: mongo.cuts >= 2)

    nothing_changes(cluster, harm)


def test_what_happens_to_redis_changes_no_leader_of_cron(cluster, own):
    def harm() -> None:
        own.redis_cli("FLUSHALL")
        own.redis_cli("CONFIG", "SET", "maxmemory", "100mb")
        own.redis_cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        own.redis.pause()
        time.sleep(2)
        own.redis.cont()
        own.redis_cli("SCRIPT", "FLUSH")
        own.redis_cli("CLIENT", "KILL", "TYPE", "normal")
        own.redis.kill()
        cluster.wait_mode("degraded")

    before = terms(cluster)["cron"]
    nothing_changes(cluster, harm, services=["cron"])
    own.start_redis()
    cluster.wait_mode("cluster")
    assert terms(cluster)["cron"] == before


# ---- the leader goes


def test_crash_of_the_coordinator_keeps_the_term(cluster, capsys):
    leader = cluster.wait_leader()
    before = terms(cluster)
    since = cluster.mark()
    starts = sum(line["event"] == STARTED for line in said(cluster[leader]))
    begun = time.monotonic()
    cluster.kill_coordinator(leader)
    wait_until(
        "its successor leads",
        lambda: sum(line["event"] == STARTED for line in said(cluster[leader]))
        > starts,
    )
    assert told(capsys, "coordinator crash", took(begun)) < 5
    time.sleep(1)
    assert terms(cluster) == before
    for service in SERVICES:
        found = cluster.history(since).terms(service)
        assert {(t.term, t.tok != "") for t in found} == {(before[service][0], True)}


def test_resignation(cluster, capsys):
    """Another one leads at once; who resigned stands back, even if nobody else
    is left."""
    leader = cluster.wait_leader()
    term = terms(cluster)["cron"][0]
    begun = time.monotonic()
    reply = ask(cluster, leader, "resign")
    assert reply.status == 200, reply.body
    others = cluster.others(leader)
    seconds = seconds_to_leader(cluster, others)
    told(capsys, "resignation", seconds)
    assert seconds < 3 and terms(cluster)["cron"][0] == term + 1
    for name in others:
        cluster.kill_workers(name)
    cluster.wait_leader("cron", 40, [leader])
    assert time.monotonic() - begun > COOL - 0.5
    assert ask(cluster, leader, "resign", "unheard").status == 400


def test_loss_of_the_leaders_host(cluster, capsys):
    """How long until another one leads both; the locks of 4.5 s are nominal."""
    leader = cluster.wait_leader()
    give_to(cluster, leader)
    before = terms(cluster)
    begun = time.monotonic()
    cluster.kill_workers(leader)
    others = cluster.others(leader)
    for service in SERVICES:
        cluster.wait_leader(service, 20, others)
    assert told(capsys, "host loss", took(begun)) < 10
    for service in SERVICES:
        assert terms(cluster)[service][0] == before[service][0] + 1


def writes_of_cluster(cluster, since) -> list[dict]:
    changes = cluster.history(since).changes("_cluster")
    return [c.doc for c in changes if c.id == "redis"]


def test_leader_stopped_for_longer_than_its_lease(cluster, own):
    """It wakes up with work to do, and another one leads: it writes nothing."""
    leader = cluster.wait_leader()
    give_to(cluster, leader)
    before, since = terms(cluster), cluster.mark()
    cluster.pause_workers(leader)
    own.redis_cli("FLUSHALL")
    others = cluster.others(leader)
    for service in SERVICES:
        cluster.wait_leader(service, 20, others)
    wait_until("the data set is open", lambda: writes_of_cluster(cluster, since))
    own.redis_cli("FLUSHALL")
    cluster.cont_workers(leader)
    wait_until(
        "it has noticed",
        lambda: said(cluster[leader])[-1]["event"] in (STOPPED, "child.died"),
    )
    wait_until("again", lambda: len(writes_of_cluster(cluster, since)) >= 2)
    settle(cluster)
    assert {d["term"] for d in writes_of_cluster(cluster, since)} == {
        terms(cluster)["maintenance"][0]
    }
    for service in SERVICES:
        assert terms(cluster)[service] != before[service]


def test_write_of_an_old_leader_that_arrives_late(cluster, own, mongo):
    """It was sent while its sender led. Guarded, it changes nothing."""
    give_to(cluster, "a")
    before, since = terms(cluster), cluster.mark()
    # only the naming of a data set is written with a since
    mongo.hold_from(lambda data: b"findAndModify" in data and b"since" in data
                    and b"dataset" in data and b"_cluster" in data)
    own.redis_cli("FLUSHALL")
    wait_until("it is on its way", lambda: mongo.holds)
    for service in SERVICES:
        cluster.wait_leader(service, 20, ["b", "c"])
    wait_until("another one has written", lambda: writes_of_cluster(cluster, since))
    (written,) = writes_of_cluster(cluster, since)
    sent = mongo.bytes_up
    mongo.forward()
    wait_until("it has arrived", lambda: mongo.bytes_up > sent)
    settle(cluster)
    assert writes_of_cluster(cluster, since) == [written]
    assert cluster.db["_cluster"].find_one("redis") == written
    assert written["term"] > before["maintenance"][0]


# ---- MongoDB


def led_again(cluster, since) -> None:
    settle(cluster)
    for service in SERVICES:
        found = [t.term for t in cluster.history(since).terms(service)]
        assert found == sorted(found)


def test_mongodb_stopped_for_2_5_s(cluster, own, capsys):
    """Shorter than a lease: mostly nothing changes, and never are there two."""
    before, since = terms(cluster), cluster.mark()
    own.mongod.pause()
    time.sleep(2.5)
    own.mongod.cont()
    led_again(cluster, since)
    for service, (term, _) in terms(cluster).items():
        assert term - before[service][0] in (0, 1)


@pytest.mark.parametrize("kill", [False, True])
def test_mongodb_restarted(cluster, own, kill):
    since = cluster.mark()
    own.restart_mongod(kill=kill)
    led_again(cluster, since)


def test_mongodb_that_steps_down(cluster, own):
    since = cluster.mark()
    own.stepdown(2)
    led_again(cluster, since)


# ---- wrong clocks


def test_wall_clocks_play_no_part(servers, tmp_path):
    clocks = {}
    for name, hours in {"a": 1, "b": 0, "c": -1}.items():
        (tmp_path / name).mkdir()
        clocks[name] = WrongClock(tmp_path / name, hours * 3600 * 1000)
    each = {name: clock.env for name, clock in clocks.items()}
    with Cluster(servers, 3, each, webs=["a"]) as cluster:
        settle(cluster)
        before, stopped = terms(cluster), stops(cluster)
        time.sleep(TTL / 2)
        for name, hours in {"a": -1, "b": 1, "c": 0}.items():
            clocks[name].set(hours * 3600 * 1000)
        time.sleep(TTL + 1)
        assert terms(cluster) == before and stops(cluster) == stopped
        leader = cluster.leader()
        cluster.kill_workers(leader)
        assert seconds_to_leader(cluster, cluster.others(leader)) < 10
        cluster[leader].start_workers()
        settle(cluster)
        cluster.check()
        check_said(cluster.instances)


# ---- a long run of all of them


SHORT = 2.0  # a lease


class Chaos:
    """One thing after the other is done to a random instance or the leader."""

    def __init__(self, cluster, seed: int):
        self.cluster, self.chance = cluster, random.Random(seed)
        self.done: list[str] = []

    def victim(self) -> str:
        running = [n for n in self.cluster.ids if self.cluster[n].workers.running()]
        leader = self.cluster.leader(self.chance.choice(SERVICES))
        if leader in running and self.chance.random() < 0.7:
            return leader
        return self.chance.choice(running)

    def crash(self, name: str) -> None:
        pids = self.cluster[name].worker_pids("coordinator")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def host(self, name: str) -> None:
        self.cluster.kill_workers(name)
        time.sleep(self.chance.uniform(0, SHORT * 1.5))
        self.cluster[name].start_workers()

    def stop(self, name: str) -> None:
        self.cluster.pause_workers(name)
        time.sleep(self.chance.uniform(SHORT, SHORT * 1.7))
        self.cluster.cont_workers(name)

    def stop_coordinator(self, name: str) -> None:
        """The supervisor lives, and does not mind: it is shorter than 10 s."""
        pids = self.cluster[name].worker_pids("coordinator")
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, number)
            time.sleep(self.chance.uniform(0.5, SHORT * 1.5))

    def restart(self, name: str) -> None:
        assert self.cluster[name].stop_workers() == 0
        self.cluster[name].start_workers()

    def resign(self, name: str) -> None:
        """As the route does it."""
        for service in SERVICES:
            held = {"_id": service, "holder": name}
            row = self.cluster.db["_leader"].find_one(held)
            if row:
                wish = {"ask": {"what": "resign", "term": row["term"]}}
                held["term"] = row["term"]
                self.cluster.db["_leader"].update_one(held, {"$set": wish})

    def flush(self, _: str) -> None:
        """Work for who leads maintenance."""
        self.cluster.servers.redis_cli("FLUSHALL")

    def run(self, seconds: float) -> None:
        acts = [self.crash, self.host, self.stop, self.stop_coordinator]
        acts += [self.restart, self.resign, self.flush]
        end, i = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            # each once, then by chance
            act = acts[i] if i < len(acts) else self.chance.choice(acts)
            name = self.victim()
            self.done.append(f"{act.__name__} {name}")
            act(name)
            time.sleep(self.chance.uniform(0, 1.5))
            i += 1


def test_one_leader_over_a_long_run_of_kills(own, capsys):
    seed = int(os.environ.get("SEED", 0)) or random.randrange(1, 1 << 32)
    settings = {"CLUSTER_LEADER_TTL_MS": int(SHORT * 1000)}
    with Cluster(own, 3, webs=[], **settings) as cluster:
        settle(cluster)
        chaos = Chaos(cluster, seed)
        try:
            chaos.run(30)
            settle(cluster)
            history = cluster.check()
            check_said(cluster.instances)
            for service in SERVICES:
                found = {t.term: t for t in history.terms(service) if t.term}
                assert len(found) >= 3, "a run without changes says nothing"
        except BaseException:
            print(f"SEED={seed}", *chaos.done, sep="\n")
            raise
    with capsys.disabled():
        print(f" [{len(chaos.done)} faults, {len(found)} terms]", end=" ")


# ---- the checkers of what was said fail, too


def line(event: str, term: int = 1, service: str = "cron") -> dict:
    return {"event": event, "service": service, "term": str(term)}


DIED = {"event": "child.died", "role": "coordinator"}


def test_check_of_turns():
    other = line(STARTED, 7, "maintenance")
    right = [line(STARTED), other, line(STOPPED), line(STARTED, 2), DIED]
    check_turns([*right, line(STARTED, 2), line(STOPPED, 2)])
    for wrong in (
        [line(STOPPED)],
        [line(STARTED), line(STARTED, 2)],
        [line(STARTED), line(STOPPED, 2)],
        [line(STARTED), line(STOPPED), line(STOPPED)],
        [line(STARTED), DIED, line(STOPPED)],
    ):
        with pytest.raises(AssertionError):
            check_turns(wrong)


def test_check_of_terms_that_were_said():
    check_terms_said({"a": [line(STARTED), line(STARTED, 3)], "b": [line(STARTED, 2)]})
    with pytest.raises(AssertionError, match="led it"):
        check_terms_said({"a": [line(STARTED)], "b": [line(STARTED)]})
    with pytest.raises(AssertionError, match="older"):
        check_terms_said({"a": [line(STARTED, 2), line(STARTED)]})
