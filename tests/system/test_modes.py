"""Modes of an instance, as its heartbeat tells them: whatever happens to Redis
is seen, is over without a restart, and moves no leader of cron."""

import signal

import pytest

from cluster import wait_until
from workers import Workers


@pytest.fixture(scope="module")
def only(own):
    with Workers(own, CLUSTER_LOCK_CLEANUP_INTERVAL=1000) as w:
        yield w


@pytest.fixture
def one(only, own):
    """In mode cluster; afterwards the leader of cron must be as it was."""
    only.wait_mode("cluster")
    term = only.term("cron")
    yield only
    assert term and only.term("cron") == term
    assert "child.died" not in [e["event"] for e in only.events()]


def new_dataset(w: Workers, before: str) -> None:
    """Another one is open, here and there, and in use."""
    wait_until(
        "another data set is open",
        lambda: w.dataset() not in ("", before) and w.held() == w.dataset(),
        40,
    )
    w.wait_mode("cluster")


def test_killed_redis_degrades_and_its_return_is_seen(one, own):
    before = one.dataset()
    own.redis.kill()
    one.wait_mode("degraded")
    assert not one.row()["redisOk"]
    own.start_redis()
    new_dataset(one, before)
    assert one.row()["redisOk"]
    for event in ("redis.down", "redis.away", "redis.usable"):
        assert one.has_event(event)


def test_redis_back_with_its_data_is_the_same_data_set(one, own):
    before = one.dataset()
    own.redis_cli("SAVE")
    own.redis.kill()
    one.wait_mode("degraded")
    own.start_redis()
    one.wait_mode("cluster")
    assert one.dataset() == one.held() == before


def test_two_deployments_under_one_prefix_are_told(one, own):
    with Workers(own, REDIS_KEY_PREFIX=one.database):
        wait_until("it is told", lambda: one.has_event("dataset.contested"), 60)
    one.wait_mode("cluster")


def test_hung_redis_degrades_and_wakes(one, own):
    before = one.dataset()
    own.redis.signal(signal.SIGSTOP)
    try:
        one.wait_mode("degraded")
    finally:
        own.redis.signal(signal.SIGCONT)
    one.wait_mode("cluster")
    assert one.dataset() == one.held() == before


def test_flushed_redis_is_opened_anew(one, own):
    before = one.dataset()
    own.redis_cli("FLUSHALL")
    new_dataset(one, before)


def test_deleted_id_opens_anew_and_keeps_locks(one, own):
    before = one.dataset()
    lock, job = f"{one.database}:l:k:x", f"{one.database}:q:webhook:j:1"
    for key in (lock, job, "foreign"):
        own.redis_cli("SET", key, "1")
    own.redis_cli("DEL", f"{one.database}:dataset")
    new_dataset(one, before)
    assert own.redis_cli("EXISTS", lock, "foreign").strip() == "2"
    assert own.redis_cli("EXISTS", job).strip() == "0"


def test_id_of_a_stranger_is_replaced(one, own):
    before = one.dataset()
    own.redis_cli("SET", f"{one.database}:dataset", "stranger")
    new_dataset(one, before)


def test_evicting_policy_degrades(one, own):
    own.redis_cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    one.wait_mode("degraded")
    assert one.has_event("redis.unfit", "maxmemory-policy is allkeys-lru")
    own.redis_cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    one.wait_mode("cluster")


def test_entries_of_ended_locks_are_removed(one, own):
    index = f"{one.database}:l:idx"
    own.redis_cli("ZADD", index, "1", "ended")
    wait_until(
        "the index is empty",
        lambda: own.redis_cli("EXISTS", index).strip() == "0",
        40,
    )


def test_too_few_instances_are_told_once(one):
    wait_until("it is told", lambda: one.has_event("scaling.outside"), 40)
    assert [e["event"] for e in one.events()].count("scaling.outside") == 1


def test_home_follows_the_settings(own):
    """Of a deployment that is switched to mode single and back."""
    with Workers(own, REDIS_URL="none") as single:
        single.wait_mode("single")
        wait_until(
            "locks live in MongoDB",
            lambda: single.db["_cluster"].find_one("redis")["home"] == "mongo",
        )
        before = single.dataset()
        assert single.process.stop() == 0
        with Workers(own, "b", beside=single) as b:
            new_dataset(b, before)
            assert b.db["_cluster"].find_one("redis")["home"] == "redis"


def test_one_that_cannot_reach_redis_leaves_maintenance_to_others(own):
    """The first to come leads, and reaches no Redis."""
    with Workers(own, REDIS_URL="unix:/nowhere/redis.sock") as cut:
        wait_until("it leads", lambda: cut.term("maintenance"), 40)
        term = cut.term("cron")
        with Workers(own, "b", beside=cut) as b:
            wait_until("the other one leads", lambda: b.term("maintenance"), 60)
            b.wait_mode("cluster")
            assert cut.row()["mode"] == "degraded"
            assert cut.term("cron") == term
