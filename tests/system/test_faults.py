"""Processes killed, MongoDB stopped, hung and restarted, Redis lost."""

import os
import signal
import time

import pytest

from cluster import Instance, wait_until
from standstill import took

QUICK = {
    "DB_SERVER_SELECTION_TIMEOUT_MS": 1000,
    "DB_HEARTBEAT_FREQUENCY_MS": 500,
    "DB_QUERY_TIMEOUT_MS": 1000,
    "REQUEST_TIMEOUT_MS": 6000,
}


@pytest.fixture
def api(own):
    with Instance(own, **QUICK) as instance:
        assert instance.post("/api/db/a", {"_id": "k", "n": 1}).status == 201
        yield instance


def mongodb_is(api, state: str, seconds: float = 15) -> None:
    wait_until(
        f"health says {state}",
        lambda: api.get("/health").json()["mongodb"] == state,
        seconds,
    )


def works(api) -> bool:
    try:
        return api.get("/api/db/a/k").status == 200
    except OSError:
        return False


def test_killed_child_is_replaced_within_a_second(api):
    (child,) = api.app.children()
    os.kill(child, signal.SIGKILL)
    begun = time.monotonic()
    wait_until("a new child answers", lambda: works(api), 5)
    assert took(begun) < 2
    assert api.app.children() != [child]
    assert api.app.running()


def test_child_that_dies_again_and_again_is_held_back(api):
    for _ in range(5):
        (child,) = wait_until("there is a child", api.app.children)
        os.kill(child, signal.SIGKILL)
        wait_until(
            "it is reaped", lambda c=child: c not in api.app.children()
        )
    wait_until("it answers again", lambda: works(api), 30)
    assert api.app.running()


def test_other_children_serve_while_one_is_killed(own):
    with Instance(own, FCGI_PROCESSES=3, **QUICK) as api:
        for child in api.app.children()[:2]:
            os.kill(child, signal.SIGKILL)
        wait_until("it answers", lambda: api.get("/health").status == 200, 5)
        wait_until("there are three", lambda: len(api.app.children()) == 3)


def test_mongodb_stopped_and_started(own, api):
    own.mongod.stop()
    try:
        begun = time.monotonic()
        reply = api.get("/api/db/a/k")
        assert (reply.status, reply.code()) == (503, "DB_UNAVAILABLE")
        assert reply.headers["Retry-After"] == "5"
        assert took(begun) < 8
        mongodb_is(api, "disconnected")
        begun = time.monotonic()
        reply = api.post("/api/db/a", {"n": 2})
        assert (reply.status, reply.code()) == (503, "DB_UNAVAILABLE")
        assert took(begun) < 1, "known to be away: at once"
        reply = api.get("/api/management/health")
        assert (reply.status, reply.code()) == (503, "DB_UNAVAILABLE")
        assert reply.json()["status"] == "unhealthy"
        wait_until(
            "not ready after 10 s",
            lambda: api.get("/health/ready").status == 503,
            20,
        )
        assert api.get("/health").status == 200
    finally:
        own.start_mongod()
    wait_until("documents are served", lambda: works(api), 20)
    wait_until("it is ready", lambda: api.get("/health/ready").status == 200)


def test_mongodb_killed(own, api):
    own.mongod.signal(signal.SIGKILL)
    own.mongod.popen.wait()
    try:
        mongodb_is(api, "disconnected")
    finally:
        own.start_mongod()
    wait_until("documents are served", lambda: works(api), 20)
    assert api.get("/api/db/a/k").json()["data"]["n"] == 1


def test_mongodb_hung(own, api):
    own.mongod.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        reply = api.get("/api/db/a/k")
        assert reply.status in (503, 504)
        assert reply.code() in ("DB_UNAVAILABLE", "TIME_LIMIT")
        assert took(begun) < 9
        begun = time.monotonic()
        assert api.get("/health").status == 200
        assert took(begun) < 1, "health does no I/O"
    finally:
        own.mongod.signal(signal.SIGCONT)
    wait_until("documents are served", lambda: works(api), 20)


def test_insert_is_not_doubled_by_a_hang(own, api):
    own.mongod.signal(signal.SIGSTOP)
    try:
        reply = api.post("/api/db/once", {"_id": "one", "n": 1})
        assert reply.status in (503, 504)
    finally:
        own.mongod.signal(signal.SIGCONT)
    wait_until("documents are served", lambda: works(api), 20)
    assert api.post("/api/db/once", {"_id": "one", "n": 1}).status in (201, 409)
    assert api.get("/api/db/once").json()["pagination"]["total"] == 1


def test_health_answers_when_all_threads_wait(own):
    """The last free thread serves routes without I/O only."""
    settings = QUICK | {"FCGI_THREADS": 3, "DB_QUERY_TIMEOUT_MS": 4000}
    with Instance(own, **settings) as api:
        api.post("/api/db/a", {"_id": "k"})
        own.mongod.signal(signal.SIGSTOP)
        waiting = []
        try:
            for _ in range(6):
                c = api.connect()
                c.request("GET", "/api/db/a/k")
                waiting.append(c)
            begun = time.monotonic()
            assert api.get("/health").status == 200
            assert took(begun) < 3
            replies = [c.getresponse() for c in waiting]
            assert {r.status for r in replies} <= {200, 503, 504}
        finally:
            own.mongod.signal(signal.SIGCONT)
            for c in waiting:
                c.close()


def test_redis_lost_is_not_an_outage(own, api):
    own.redis.stop()
    try:
        wait_until(
            "Redis is seen down",
            lambda: api.get("/health/ready").json()["checks"]["redis"] == "down",
        )
        assert api.get("/health/ready").status == 200
        assert api.post("/api/db/a", {"n": 3}).status == 201
    finally:
        own.start_redis()
    wait_until(
        "Redis is seen up",
        lambda: api.get("/health/ready").json()["checks"]["redis"] == "up",
        30,
    )


def test_required_redis_makes_it_unready(own):
    with Instance(own, CLUSTER_REQUIRE_REDIS="true", **QUICK) as api:
        own.redis.stop()
        try:
            reply = wait_until(
                "not ready",
                lambda: (r := api.get("/health/ready")).status == 503 and r,
            )
            assert reply.code() == "NOT_READY"
            assert reply.json()["checks"]["redis"] == "down"
        finally:
            own.start_redis()
        wait_until(
            "ready again", lambda: api.get("/health/ready").status == 200, 30
        )
