"""The program workers: start, stop, and what becomes of its processes."""

import os
import signal
import time

import pytest

from cluster import gone, wait_until
from standstill import took
from workers import Workers, kill

SERVICES = ("cron", "maintenance")


@pytest.fixture
def alone(servers):
    """One that has joined."""
    with Workers(servers) as w:
        w.wait_started()
        yield w


def test_it_leads_and_opens_redis(alone):
    alone.wait_mode("cluster")
    assert alone.held() == alone.dataset() != ""
    assert all(alone.term(s) for s in SERVICES)
    row = alone.row()
    assert row["redisOk"] and not row["draining"] and row["processes"] == 8
    assert row["slots"] == {"webhook": 5}
    assert row["pid"] == alone.process.pid and len(row["metrics"]) > 0


def test_sigterm_leaves_nothing_behind(alone):
    alone.wait_mode("cluster")
    begun = time.monotonic()
    assert alone.process.stop() == 0
    assert took(begun) < 5
    assert not alone.row()
    assert not any(alone.term(s) for s in SERVICES)
    assert alone.has_event("supervisor.stopped")


def test_every_line_of_stderr_is_json(alone):
    alone.wait_mode("cluster")
    pid = alone.coordinator()
    kill(pid)
    alone.wait_replaced(pid)
    assert alone.process.stop() == 0
    assert len(alone.events()) > 5  # which reads each
    assert alone.process.out.read_text() == ""


def test_switches(servers):
    with Workers(servers, REDIS_URL="none") as w:
        assert w.switch("--version").stdout.startswith("sql-free")
        assert "usage: workers" in w.switch("--help").stdout
        assert w.switch("--check-config").returncode == 0
        assert "CLUSTER_INSTANCE_ID=a " in w.switch("--print-config").stdout
        assert w.switch("--nonsense").returncode == 2
        w.env["CLUSTER_LEADER_TTL_MS"] = "1"
        assert w.switch("--check-config").returncode == 2


def test_killed_coordinator_goes_on_with_its_term(alone):
    alone.wait_mode("cluster")
    terms = [alone.term(s) for s in SERVICES]
    dataset = alone.dataset()
    pid = alone.coordinator()
    kill(pid)
    seen = alone.row()["seen"]
    alone.wait_replaced(pid)
    wait_until("it beats again", lambda: alone.row()["seen"] > seen)
    alone.wait_mode("cluster")
    assert [alone.term(s) for s in SERVICES] == terms
    assert alone.dataset() == dataset


def test_a_coordinator_asked_to_end_is_replaced_and_the_rest_lives(alone):
    """By hand, or by a stranger: not by its supervisor, which goes on."""
    workers = [p for p in alone.process.children()]
    pid = alone.coordinator()
    os.kill(pid, signal.SIGTERM)
    alone.wait_replaced(pid)
    wait_until("it beats again", lambda: alone.row() and not alone.row()["draining"])
    wait_until(
        "all children are there",
        lambda: len(alone.process.children()) == len(workers)
        and not any(map(gone, alone.process.children())),
    )
    assert alone.process.running()


def test_stopped_coordinator_is_killed_and_replaced(alone):
    pid = alone.coordinator()
    os.kill(pid, signal.SIGSTOP)
    alone.wait_replaced(pid)
    assert any(e["event"] == "child.overdue" for e in alone.events())
    wait_until("it leads again", lambda: alone.term("cron"), 40)


def test_killed_supervisor_takes_its_children_along(alone):
    pid = alone.coordinator()
    alone.process.signal(signal.SIGKILL)
    wait_until("the coordinator is gone", lambda: gone(pid))
    assert alone.exit_code() == -signal.SIGKILL


def test_newer_one_of_a_name_ends_the_older(alone, servers):
    with Workers(servers, beside=alone) as newer:
        assert alone.exit_code() == 1
        assert alone.has_event("roster.replaced")
        wait_until(
            "the newer has the row",
            lambda: newer.row().get("pid") == newer.process.pid,
        )
        wait_until("it leads", lambda: newer.term("maintenance"), 40)
        assert newer.process.running()


def test_without_mongodb_it_gives_up(servers):
    uri = "mongodb://127.0.0.1:1/"
    with Workers(servers, MONGODB_URI=uri, DB_MAX_RECONNECT_ATTEMPTS=1) as w:
        assert w.exit_code() == 1
        waited = [e for e in w.events() if e["event"] == "coordinator.waiting"]
        assert len(waited) == 1
        assert w.has_event("coordinator.gave_up", "MongoDB does not answer")


def test_sigterm_ends_the_tries(servers):
    uri = "mongodb://127.0.0.1:1/"
    with Workers(servers, MONGODB_URI=uri, DB_RECONNECT_INITIAL_DELAY=30000) as w:
        wait_until("it has tried", lambda: w.has_event("coordinator.waiting"), 40)
        begun = time.monotonic()
        assert w.process.stop() == 0
        assert took(begun) < 10


def test_required_redis_that_is_away_ends_the_start(servers):
    with Workers(
        servers,
        REDIS_URL="unix:/nowhere/redis.sock",
        CLUSTER_REQUIRE_REDIS="true",
        DB_MAX_RECONNECT_ATTEMPTS=2,
    ) as w:
        assert w.exit_code() == 1
        assert w.has_event("coordinator.gave_up", "CLUSTER_REQUIRE_REDIS")


def test_required_redis_that_evicts_is_refused_at_once(own):
    own.redis_cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with Workers(
        own, CLUSTER_REQUIRE_REDIS="true", DB_RECONNECT_INITIAL_DELAY=30000
    ) as w:
        assert w.exit_code(25) == 1
        assert w.has_event("coordinator.gave_up", "maxmemory-policy is allkeys-lru")
    own.redis_cli("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_sigterm_does_not_wait_for_servers_that_hang(own):
    with Workers(own) as w:
        w.wait_mode("cluster")
        own.mongod.signal(signal.SIGSTOP)
        own.redis.signal(signal.SIGSTOP)
        try:
            begun = time.monotonic()
            assert w.process.stop() == 0
            assert took(begun) < 12
        finally:
            own.mongod.signal(signal.SIGCONT)
            own.redis.signal(signal.SIGCONT)


def test_mode_single_needs_no_redis(servers):
    with Workers(servers, REDIS_URL="none", CLUSTER_REQUIRE_REDIS="true") as w:
        w.wait_mode("single")
        wait_until("locks live in MongoDB", w.dataset)
        assert w.db["_cluster"].find_one("redis")["home"] == "mongo"
        assert w.term("maintenance") and w.held() == ""


def test_cron_may_be_left_to_others(servers):
    with Workers(servers, CLUSTER_CRON_LEADER_ELECTION="false") as w:
        wait_until("it leads maintenance", lambda: w.term("maintenance"), 40)
        w.wait_mode("cluster")
        assert w.term("cron") is None


def test_dropped_collections_are_made_again(alone):
    alone.wait_mode("cluster")
    for name in ("_leader", "_cluster", "_instances"):
        alone.db[name].drop()
    wait_until("it leads again", lambda: alone.term("maintenance"), 60)
    wait_until("an id is named again", lambda: alone.dataset() == alone.held() != "")
    alone.wait_mode("cluster")


def test_idle_workers_take_next_to_nothing(alone):
    alone.wait_mode("cluster")

    def ticks() -> int:
        pids = (alone.process.pid, alone.coordinator())
        stats = [open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1] for pid in pids]
        return sum(int(n) for s in stats for n in s.split()[11:13])

    before = ticks()
    time.sleep(5)
    assert ticks() - before < 5 * os.sysconf("SC_CLK_TCK") / 10
