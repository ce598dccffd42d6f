"""The cluster routes: what an instance says of itself and of the others is
true, on each of three; it is soon null when nobody can know it any more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest
from bson import Int64
from bson.datetime_ms import DatetimeMS

from clock import WrongClock
from cluster import Instance, free_port, wait_until
from clusters import Cluster
from locks import acquire, release, wait_granted
from standstill import took
from test_metrics import families, golden, scrape, value

STATE = (
    "/api/cluster/status",
    "/api/cluster/instances",
    "/api/cluster/health",
    "/api/cluster/scripts/executions",
    "/api/cluster/leadership",
    "/api/cluster/metrics?format=json",
    "/metrics",
    "/health",
    "/health/ready",
)
# c may lead maintenance only
EACH = {"c": {"CLUSTER_CRON_LEADER_ELECTION": "false"}}


@pytest.fixture(scope="module")
def trio(servers):
    with Cluster(servers, 3, each=EACH) as c:
        c.wait_mode("cluster")
        c.wait_leader("cron")
        c.wait_leader("maintenance")
        for api in c:
            wait_until(
                "the queue is counted",
                lambda a=api: status(a)["services"]["webhooks"]["healthy"],
                30,
            )
        yield c


def status(api: Instance) -> dict:
    return api.get("/api/cluster/status").json()["status"]


def rows(api: Instance) -> dict[str, dict]:
    """The instances by id; none while they are not known."""
    body = api.get("/api/cluster/instances").json()
    assert body["count"] is None or body["count"] == len(body["instances"])
    return {row["id"]: row for row in body["instances"] or []}


def leadership(api: Instance, service: str = "cron") -> dict:
    return api.get("/api/cluster/leadership").json()["leadership"][service]


def warnings(api: Instance) -> str:
    return " ".join(api.get("/health").json()["warnings"])


def all_see(cluster: Cluster, ids: set, seconds: float = 30) -> None:
    for api in cluster:
        wait_until(
            f"all are seen: {ids}", lambda a=api: set(rows(a)) == ids, seconds
        )


def agreed_leader(cluster: Cluster, service: str = "cron") -> str:
    """As soon as all instances name the same one."""

    def agreed() -> str | None:
        named = {leadership(api, service)["leader"] for api in cluster}
        return named.pop() if len(named) == 1 else None

    return wait_until(f"all name one leader of {service}", agreed, 30)


def all_name(cluster: Cluster, service: str, leader: str) -> None:
    """The looks of all instances have come so far."""
    for api in cluster:
        wait_until(
            f"{leader} is seen to lead {service}",
            lambda a=api: leadership(a, service)["leader"] == leader,
            30,
        )


# ---- three that are well


def test_status_is_true_on_each(trio):
    all_see(trio, set(trio.ids))
    for name in trio.ids:
        api = trio[name]
        s = status(api)
        assert s["instance"]["id"] == name
        assert s["instance"]["uptime"] > 0
        assert s["instance"]["nodeVersion"] == "sql-free/" + s["instance"]["version"]
        programs = (api.app, api.workers)
        assert s["instance"]["processes"] == sum(
            1 + len(p.children()) for p in programs
        )
        assert s["mode"] == "cluster"
        assert s["features"]["cronLeaderElection"] is (name != "c")
        assert s["services"]["database"]["connected"] is True
        assert s["services"]["redis"] == {"connected": True}
        assert s["scaling"]["liveInstances"] == 3
        assert s["features"]["webhookProcessing"] is True
        assert s["services"]["webhooks"]["healthy"] is True
        assert s["services"]["webhooks"]["waiting"] == 0
        there = len(trio.db.list_collection_names())
        wait_until(
            "the collections are counted",
            lambda: status(api)["services"]["database"]["collections"] == there,
        )


def test_instances_are_the_same_on_each(trio):
    leader = agreed_leader(trio)
    for api in trio:
        found = wait_until(
            "all and the leader are seen",
            lambda: (r := rows(api)).keys() == set(trio.ids)
            and r[leader]["isLeader"]
            and r,
            30,
        )
        assert sum(row["isLeader"] for row in found.values()) == 1
        for name, row in found.items():
            assert row["pid"] == trio[name].workers.pid
            assert row["version"] == "1.0.0" and row["hostname"]
            assert row["uptime"] > 0 and row["draining"] is False
            assert row["processes"] == 1 + len(trio[name].workers.children())
            assert re.fullmatch(r"20\S+Z", row["lastSeen"])
            assert re.fullmatch(r"20\S+Z", row["startTime"])


def test_leadership_is_what_mongodb_says(trio):
    for service, title in (
        ("cron", "cron-scheduler"),
        ("maintenance", "maintenance"),
    ):
        leader = agreed_leader(trio, service)
        term = trio.term(service)["term"]
        for name in trio.ids:
            told = leadership(trio[name], service)
            info, current = told["leaderInfo"], told["current"]
            assert info["serviceName"] == current["serviceName"] == title
            assert info["instanceId"] == leader
            assert info["term"] == term and 0 < info["ttl"] <= 4000
            assert info["isCurrentInstance"] is (name == leader)
            assert current["instanceId"] == name
            assert current["isLeader"] is (name == leader)
            assert (current["leadershipStartTime"] is None) is (name != leader)
            assert (current["leadershipDuration"] is None) is (name != leader)
            assert current["isShuttingDown"] is False


def test_scripts_and_health_are_well(trio):
    leader = agreed_leader(trio)
    for name in trio.ids:
        ran = trio[name].get("/api/cluster/scripts/executions").json()["executions"]
        assert ran["isLeader"] is (name == leader) and ran["cronJobs"] == 0
        assert ran["leadershipStatus"]["isLeader"] is (name == leader)
        health = trio[name].get("/api/cluster/health").json()["health"]
        assert health["overall"] == "healthy" and health["warnings"] == []
        for part in health["components"].values():
            assert part["status"] == "healthy"
        assert health["components"]["scripts"]["isLeader"] is (name == leader)


def test_strangers_in_the_collections_are_not_seen(trio):
    never = DatetimeMS(2**63 - 1)
    strangers = [
        {"_id": 7, "seen": never},
        {"_id": "late", "seen": never, "pid": "x", "started": 1e300},
        {"_id": "odd", "seen": "now", "metrics": 5, "digest": []},
    ]
    table = trio.db["_instances"]
    try:
        table.insert_many(strangers, bypass_document_validation=True)
        trio.db["_leader"].insert_one(
            {"_id": "other", "term": Int64(2**62), "holder": "late"},
            bypass_document_validation=True,
        )
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for api in trio:
                for path in STATE:
                    assert api.get(path).status == 200
                assert set(rows(api)) <= set(trio.ids)
    finally:
        table.delete_many({"_id": {"$in": [7, "late", "odd"]}})
        trio.db["_leader"].delete_one({"_id": "other"})
    all_see(trio, set(trio.ids))


# ---- figures


def test_families_with_workers(trio):
    for api in trio:
        text = wait_until(
            "the figures of workers are there",
            lambda: value(t := scrape(api), "sqlfree_workers_up") == 1 and t,
        )
        got = re.findall(r"^# TYPE (\S+ \S+)$", text, re.M)
        assert got == golden(workers=True)
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        assert families(text)
        assert value(text, "sqlfree_mode") == 2


def test_figures_tell_who_leads(trio):
    for service in ("cron", "maintenance"):
        leader = agreed_leader(trio, service)
        for name in trio.ids:
            wait_until(
                f"{name} counts right",
                lambda n=name: value(
                    scrape(trio[n]), "sqlfree_leader", service=service
                )
                == (n == leader),
            )
    for api in trio:
        wait_until(
            "three live", lambda: value(scrape(api), "sqlfree_instances") == 3
        )


def test_locks_are_counted(trio):
    a, b = trio["a"], trio["b"]
    wait_granted(a)
    mine = acquire(a, "counted", ttlMs=600_000).json()
    try:
        for api, owned in ((a, 1), (b, 0)):
            wait_until(
                "it is counted",
                lambda: status(api)["services"]["distributedLock"]
                == {"healthy": True, "activeLocks": 1},
            )
            told = api.get("/api/cluster/metrics?format=json").json()
            assert told["metrics"]["services"]["locks"] == {
                "total": 1,
                "owned": owned,
            }
            text = scrape(api)
            assert value(text, "sqlfree_locks") == 1
            assert value(text, "sqlfree_locks_held") == owned
    finally:
        assert release(a, "counted", mine["token"]).status == 200


# ---- resign and force


def move(api: Instance, how: str, **body) -> dict:
    reply = api.post(f"/api/cluster/leadership/{how}", body)
    return reply.json() | {"status": reply.status}


def test_resign_moves_the_leader(trio):
    old = trio.wait_leader("maintenance")
    term = trio.term("maintenance")["term"]
    for name in trio.others(old):
        told = move(trio[name], "resign", service="maintenance")
        assert (told["status"], told["code"]) == (400, "NOT_LEADER")
    told = move(trio[old], "resign", service="maintenance")
    assert (told["status"], told["success"], told["instance"]) == (200, True, old)
    new = trio.wait_leader("maintenance", among=trio.others(old))
    assert trio.term("maintenance")["term"] > term
    all_name(trio, "maintenance", new)


def test_force_moves_the_leader(trio):
    for service, wanted in (
        ("cron", "ab"),
        ("cron-scheduler", "ab"),
        ("maintenance", "abc"),
    ):
        known = service.removesuffix("-scheduler")
        old = trio.wait_leader(known)
        new = next(name for name in wanted if name != old)
        # it may have resigned a moment ago: a force forgets that
        told = move(trio[new], "force", service=service)
        assert told["status"] == 200 and told["acquired"] is True, told
        assert trio.leader(known) == new
        all_name(trio, known, new)
        term = trio.term(known)["term"]
        told = move(trio[new], "force", service=service)
        assert told["acquired"] is True
        assert trio.term(known)["term"] == term, "it led already"


def test_force_where_nobody_campaigns(trio):
    old = trio.wait_leader("cron")
    term = trio.term("cron")["term"]
    told = move(trio["c"], "force")
    assert told["status"] == 200 and told["acquired"] is False
    assert (trio.leader("cron"), trio.term("cron")["term"]) == (old, term)


# ---- those that go


def test_stopped_workers_leave_at_once_and_counters_stay(trio):
    api = trio["a"]
    before = wait_until(
        "figures of workers",
        lambda: value(t := scrape(api), "sqlfree_workers_up") == 1 and t,
    )
    counted = value(before, "sqlfree_db_operations_total", outcome="ok")
    assert api.stop_workers() == 0
    for other in trio:
        wait_until("a has left", lambda: "a" not in rows(other), 5)
    text = wait_until(
        "its figures have left",
        lambda: value(t := scrape(api), "sqlfree_workers_up") == 0 and t,
    )
    got = re.findall(r"^# TYPE (\S+ \S+)$", text, re.M)
    assert got == golden(workers=False)
    assert value(text, "sqlfree_db_operations_total", outcome="ok") >= counted
    assert "This instance has no live workers" in warnings(api)
    assert status(api)["instance"]["processes"] == 2
    for service in ("cron", "maintenance"):
        assert move(api, "force", service=service)["acquired"] is False
    api.start_workers()
    all_see(trio, set(trio.ids))
    text = wait_until(
        "its figures are back",
        lambda: value(t := scrape(api), "sqlfree_workers_up") == 1 and t,
    )
    assert value(text, "sqlfree_db_operations_total", outcome="ok") >= counted
    wait_until("no warning", lambda: not warnings(api))


def test_dead_instance_leaves_and_returns(trio):
    trio.kill_workers("b")
    for name in trio.others("b"):
        wait_until("b has left", lambda n=name: "b" not in rows(trio[n]), 20)
        assert status(trio[name])["scaling"]["liveInstances"] == 2
    assert trio["b"].get("/api/cluster/status").status == 200
    trio["b"].start_workers()
    all_see(trio, set(trio.ids))
    agreed_leader(trio)


def test_draining_shows(trio):
    """fcgi-app that stops says so as long as it serves."""
    settings = {
        "MONGODB_DATABASE_NAME": trio.database,
        "REDIS_KEY_PREFIX": trio.database,
        "DRAIN_DELAY_MS": 20000,
    }
    with Instance(trio.servers, **settings) as api:
        api.app.signal(signal.SIGTERM)
        wait_until(
            "it says so", lambda: leadership(api)["current"]["isShuttingDown"]
        )
        reply = api.get("/api/cluster/health")
        body = reply.json()
        assert (reply.status, body["code"]) == (503, "NOT_READY")
        assert body["success"] is False and body["timestamp"]
        assert body["health"]["overall"] == "unhealthy"
        api.app.signal(signal.SIGTERM)
        assert api.app.popen.wait(30) == 0


# ---- what an operator should mend


def test_settings_that_differ_are_named(trio):
    with Instance(
        trio.servers,
        MONGODB_DATABASE_NAME=trio.database,
        REDIS_KEY_PREFIX="another",
    ) as api:
        text = wait_until("it warns", lambda: "must agree" in (w := warnings(api)) and w)
        assert "a, b, c" in text and "no live workers" in text
        assert "must agree" not in warnings(trio["a"])
        cluster = api.get("/api/cluster/health").json()["health"]
        assert " ".join(cluster["warnings"]) == text
        ready = api.get("/health/ready").json()
        assert " ".join(ready["warnings"]) == text


def test_clock_that_is_wrong_is_a_warning(servers, tmp_path):
    with Instance(servers, **WrongClock(tmp_path, -90_000).env) as api:
        text = wait_until("it warns", lambda: "behind" in (w := warnings(api)) and w)
        assert re.search(r"clock is (89|90|91)\d\d\d ms behind", text)


def test_redis_that_evicts_is_told(own):
    own.redis_cli("CONFIG", "SET", "maxmemory", "100mb")
    own.redis_cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with Instance(own, workers=True) as api:
            text = wait_until(
                "it warns", lambda: "Redis" in (w := warnings(api)) and w
            )
            assert "maxmemory-policy" in text
            assert status(api)["mode"] == "degraded"
            assert api.get("/health/ready").status == 200
            health = api.get("/api/cluster/health").json()["health"]
            assert health["overall"] == "degraded"
            assert health["components"]["redis"] == {
                "status": "degraded",
                "connected": True,
            }
    finally:
        own.redis_cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        own.redis_cli("CONFIG", "SET", "maxmemory", "0")


# ---- a store that is lost


def test_state_is_null_soon_after_mongodb_hangs(own):
    with Instance(own, workers=True, CLUSTER_INSTANCE_ID="solo") as api:
        wait_until("it is seen", lambda: set(rows(api)) == {"solo"}, 30)
        wait_until("it leads", lambda: leadership(api)["leader"] == "solo", 30)
        own.mongod.signal(signal.SIGSTOP)
        try:
            s = wait_until(
                "nothing is known",
                lambda: (s := status(api))["scaling"]["liveInstances"] is None and s,
                8,
            )
            services = s["services"]
            assert services["database"] == {"connected": False, "collections": None}
            assert services["webhooks"]["healthy"] is False
            assert services["webhooks"]["waiting"] is None
            assert services["scripts"]["isLeader"] is None
            assert services["scripts"]["cronJobs"] is None
            body = api.get("/api/cluster/instances").json()
            assert body["instances"] is None and body["count"] is None
            told = leadership(api)
            assert told["leader"] is None and told["leaderInfo"] is None
            assert told["current"]["term"] is None
            for path in STATE:
                begun = time.monotonic()
                assert api.get(path).status in (200, 503)
                assert took(begun) < 4, path
            wait_until(
                "figures of workers are left out",
                lambda: value(scrape(api), "sqlfree_workers_up") == 0,
            )
            reply = api.post("/api/cluster/leadership/resign", {})
            assert reply.status == 503 and reply.json()["timestamp"]
        finally:
            own.mongod.signal(signal.SIGCONT)
        wait_until("it is seen again", lambda: set(rows(api)) == {"solo"}, 30)
        wait_until("all is well", lambda: status(api)["mode"] == "cluster", 30)


def test_start_without_a_required_redis_fails(own):
    settings = {
        "CLUSTER_REQUIRE_REDIS": "true",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "DB_MAX_RECONNECT_ATTEMPTS": 2,
        "DB_RECONNECT_INITIAL_DELAY": 200,
    }
    with Instance(own, web=None, ready=False, **settings) as api:
        assert api.app.popen.wait(30) == 1
        told = [e for e in api.events() if e["event"] == "start.gave_up"]
        assert len(told) == 1 and "Redis" in told[0]["reason"]


def test_start_waits_for_a_required_redis(own):
    own.redis.signal(signal.SIGSTOP)
    try:
        settings = {
            "CLUSTER_REQUIRE_REDIS": "true",
            "DB_MAX_RECONNECT_ATTEMPTS": 100,
            "DB_RECONNECT_INITIAL_DELAY": 200,
            "DB_RECONNECT_MAX_DELAY": 200,
        }
        with Instance(own, ready=False, **settings) as api:
            wait_until("the socket is there", api.socket.exists)
            wait_until(
                "MongoDB is seen",
                lambda: api.get("/health").json()["mongodb"] == "connected",
            )
            reply = api.get("/api/cluster/health")
            assert (reply.status, reply.code()) == (503, "NOT_READY")
            own.redis.signal(signal.SIGCONT)
            api.wait_ready(30)
    finally:
        own.redis.signal(signal.SIGCONT)


def test_two_processes_of_an_app_say_the_same(servers):
    with Instance(servers, workers=True, FCGI_PROCESSES=2) as api:
        wait_until("figures are there", lambda: value(scrape(api), "sqlfree_workers_up"))
        assert len(api.app.children()) == 2
        os.kill(api.app.children()[0], signal.SIGKILL)
        wait_until("it is replaced", lambda: len(api.app.children()) == 2)
        wait_until("all is ready", lambda: api.get("/health/ready").status == 200)
        wait_until("it is seen", lambda: set(rows(api)) == {api.folder.name}, 30)
