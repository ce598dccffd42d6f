"""The routes of deliveries and of their queue, with real workers and a real
receiver, on both claim paths: the log, replay, dead letters, pause, statistics,
tests of webhooks."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import datetime, timedelta

import pytest

from cluster import Instance, Servers, wait_until
from hooks import (
    LOOPBACK,
    dead_letters,
    deliveries,
    fire,
    pause,
    queue,
    register,
    replay_dead,
    stats,
    wait_deliveries,
)
from paths import on, wait_path
from receiver import Receiver
from standstill import rest, took
from test_metrics import scrape, value

SETTINGS = LOOPBACK | {
    "workers": True,
    "WEBHOOK_TIMEOUT": "2000",
    "WEBHOOK_CONNECT_TIMEOUT": "1000",
    "FCGI_THREADS": "8",
}
DELIVERY = {
    "deliveryId", "messageId", "webhookId", "event", "collection", "documentId",
    "status", "attempts", "replays", "createdAt", "nextAttemptAt", "finishedAt",
    "lastStatusCode", "lastError", "log",
}  # fmt: skip
DEAD = {
    "deliveryId", "messageId", "webhookId", "webhookName", "url", "event",
    "collection", "documentId", "attempts", "replays", "reason",
    "lastStatusCode", "lastError", "createdAt", "failedAt",
}  # fmt: skip


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def api(servers, path):
    with begun(servers, path) as instance:
        wait_until(
            "the queue is counted", lambda: queue(instance)["healthy"], 30
        )
        yield instance


def begun(servers, path: str) -> Instance:
    """It claims that way."""
    instance = Instance(servers, **SETTINGS | on(path))
    with servers.client() as client:
        wait_path(client[instance.database], path)
    return instance


@pytest.fixture
def hook(api, receiver, collection):
    """Makes webhooks of this test's collection; none of them outlives it."""
    made = []

    def make(path: str, name: str = collection, **more) -> str:
        made.append(register(api, receiver.url(path), name, **more))
        return made[-1]

    yield make
    for one in made:
        api.request("DELETE", f"/api/webhooks/{one}")


def when(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# ---- the log


def test_log_tells_what_was_sent(api, receiver, collection, hook):
    one = hook(f"/ok/{collection}")
    fire(api, collection)
    (row,) = wait_deliveries(api, one, "success")
    (sent,) = receiver.wait(1, f"/ok/{collection}")
    assert row.keys() == DELIVERY
    assert row["deliveryId"] == sent.headers["x-delivery-id"]
    assert row["messageId"] == sent.headers["webhook-id"]
    assert row["webhookId"] == one and row["event"] == "create"
    assert row["collection"] == collection
    assert row["documentId"] == sent.json["data"]["document"]["_id"]
    assert (row["attempts"], row["replays"]) == (1, 0)
    assert (row["lastStatusCode"], row["lastError"]) == (200, None)
    assert row["nextAttemptAt"] is None
    assert when(row["createdAt"]) <= when(row["finishedAt"])
    (attempt,) = row["log"]
    assert attempt["attempt"] == 1 and attempt["statusCode"] == 200
    assert attempt["error"] is None and attempt["durationMs"] >= 0
    assert attempt["instance"] == api.env["CLUSTER_INSTANCE_ID"]
    for status in ("pending", "delivering", "retrying", "dead", "cancelled"):
        assert deliveries(api, one, f"status={status}") == []


def test_log_comes_in_pages_newest_first(api, collection, hook):
    one = hook(f"/ok/{collection}")
    fire(api, collection, 5)
    rows = wait_deliveries(api, one, "success", 5)
    made = [row["createdAt"] for row in rows]
    assert made == sorted(made, reverse=True)
    assert deliveries(api, one, "limit=2") == rows[:2]
    older = deliveries(api, one, f"before={made[1]}")
    assert older == [row for row in rows if row["createdAt"] < made[1]]
    assert deliveries(api, one.upper(), "limit=100") == rows


# ---- replay, dead letters


def test_replay_delivers_the_same_again(api, receiver, collection, hook):
    path = f"/{collection}"
    receiver.answer(path, "status/500", "ok")
    one = hook(path)
    fire(api, collection)
    (row,) = wait_deliveries(api, one, "dead")
    assert (row["lastStatusCode"], row["lastError"]) == (500, "http-status")
    reply = api.request(
        "POST", f"/api/webhooks/deliveries/{row['deliveryId']}/replay"
    )
    assert reply.status == 202, reply.body
    assert reply.json()["data"] == {
        "deliveryId": row["deliveryId"],
        "messageId": row["messageId"],
        "status": "pending",
    }
    (again,) = wait_deliveries(api, one, "success")
    assert again["deliveryId"] == row["deliveryId"]
    assert (again["attempts"], again["replays"]) == (1, 1)
    first, second = receiver.wait(2, path)
    assert first.body == second.body
    for name in ("webhook-id", "x-delivery-id", "x-attempt-number"):
        assert first.headers[name] == second.headers[name]
    assert dead_letters(api, f"webhookId={one}")["total"] == 0


def test_replay_of_what_is_not_ended_is_refused(api, receiver, collection, hook):
    one = hook(f"/tarpit/{collection}")
    fire(api, collection)
    (row,) = wait_deliveries(api, one, "delivering")
    reply = api.request(
        "POST", f"/api/webhooks/deliveries/{row['deliveryId']}/replay"
    )
    assert (reply.status, reply.code()) == (409, "WRONG_STATE")
    wait_deliveries(api, one, "dead")


def test_dead_letters_are_listed_newest_first(api, collection, hook):
    one = hook(f"/status/503/{collection}")
    fire(api, collection, 3)
    wait_deliveries(api, one, "dead", 3)
    told = dead_letters(api, f"webhookId={one}")
    assert told["total"] == 3
    failed = [row["failedAt"] for row in told["deadLetters"]]
    assert failed == sorted(failed, reverse=True)
    for row in told["deadLetters"]:
        assert row.keys() == DEAD
        assert row["webhookName"] == collection
        assert row["url"].endswith(f"/status/503/{collection}")
        assert row["reason"] == "exhausted" and row["attempts"] == 1
        assert (row["lastStatusCode"], row["lastError"]) == (503, "http-status")
    page = dead_letters(api, f"webhookId={one}&limit=1")
    assert page["deadLetters"] == told["deadLetters"][:1] and page["total"] == 3
    older = dead_letters(api, f"webhookId={one}&before={failed[0]}")
    assert all(row["failedAt"] < failed[0] for row in older["deadLetters"])


def test_all_dead_letters_by_one_request(api, receiver, collection, hook):
    path = f"/{collection}"
    receiver.answer(path, "status/500")
    one = hook(path)
    fire(api, collection, 4)
    wait_deliveries(api, one, "dead", 4)
    receiver.answer(path, "ok")
    told = replay_dead(api, webhookId=one)
    assert (told["replayed"], told["remaining"]) == (4, 0)
    wait_deliveries(api, one, "success", 4)
    sent = receiver.wait(8, path)
    ids = [r.headers["webhook-id"] for r in sent]
    assert sorted(ids[:4]) == sorted(ids[4:]) and len(set(ids)) == 4


def test_replay_may_be_held_to_some(api, receiver, collection, hook):
    a, b = f"/{collection}/a", f"/{collection}/b"
    receiver.answer(a, "status/500")
    receiver.answer(b, "status/500")
    one, two = hook(a, f"{collection}a"), hook(b, f"{collection}b")
    fire(api, f"{collection}a", 3)
    fire(api, f"{collection}b")
    rows = wait_deliveries(api, one, "dead", 3)
    wait_deliveries(api, two, "dead")
    later = when(max(row["finishedAt"] for row in rows)) + timedelta(seconds=60)
    told = replay_dead(api, webhookId=one, since=later.isoformat())
    assert told["replayed"] == 0
    first = rows[0]["deliveryId"]
    receiver.answer(a, "ok")
    told = replay_dead(api, ids=[first])
    assert told["replayed"] == 1
    (done,) = wait_deliveries(api, one, "success")
    assert done["deliveryId"] == first
    told = replay_dead(api, webhookId=two, ids=[rows[1]["deliveryId"]])
    assert told["replayed"] == 0
    assert len(deliveries(api, one, "status=dead")) == 2
    assert len(deliveries(api, two, "status=dead")) == 1


def test_dead_letters_of_deleted_webhooks_are_skipped(api, collection, hook):
    one = hook(f"/status/500/{collection}")
    fire(api, collection, 2)
    rows = wait_deliveries(api, one, "dead", 2)
    assert api.request("DELETE", f"/api/webhooks/{one}").status == 200
    ids = [row["deliveryId"] for row in rows]
    told = wait_until(
        "they are known to be nobody's",
        lambda: (t := replay_dead(api, ids=ids))["skipped"] == 2 and t,
    )
    assert told["replayed"] == 0
    left = dead_letters(api, f"webhookId={one}")["deadLetters"]
    assert len(left) == 2
    assert all(row["webhookName"] is None and row["url"] is None for row in left)


# ---- the queue


def test_pause_holds_all_and_resume_lets_go(api, receiver, collection, hook):
    one = hook(f"/ok/{collection}")
    fire(api, collection)
    wait_deliveries(api, one, "success")
    reply = pause(api)
    assert reply.json()["paused"] is True
    try:
        rest(2)  # one is promised
        receiver.clear()
        fire(api, collection, 3)
        wait_until("they wait", lambda: queue(api)["waiting"] == 3, 15)
        state = queue(api)
        assert state["paused"] is True and state["queue"]["waiting"] == 3
        assert receiver.requests(f"/ok/{collection}") == []
        assert len(deliveries(api, one, "status=pending")) == 3
    finally:
        assert pause(api, on=False).json()["paused"] is False
    receiver.wait(3, f"/ok/{collection}")
    wait_deliveries(api, one, "success", 4)
    wait_until("it is seen", lambda: queue(api)["paused"] is False)


def test_state_counts_what_there_is(api, collection, hook):
    # what the tests before had is being taken out of the figures
    one = hook(f"/status/500/{collection}")
    fire(api, collection, 2)
    wait_deliveries(api, one, "dead", 2)
    state = wait_until(
        "they are counted",
        lambda: (s := queue(api))["deadLetters"] == dead_letters(api)["total"] >= 2
        and s["failed"] == stats(api)["deliveryStatistics"]["failed"] >= 2
        and s,
        15,
    )
    text = wait_until(
        "the figures are the same",
        lambda: value(t := scrape(api), "sqlfree_webhook_dead_letters")
        == state["deadLetters"]
        and t,
    )
    assert value(text, "sqlfree_webhook_queue_jobs") == 0
    assert value(text, "sqlfree_webhook_breakers_open") == 0
    told = api.get("/metrics?format=json").json()["metrics"]
    assert told["services"]["webhooks"]["deadLetters"] == state["deadLetters"]
    assert state["queue"] == {
        name: state[name]
        for name in ("waiting", "active", "delayed", "completed", "failed")
    }
    status = api.get("/api/cluster/status").json()["status"]
    assert status["features"]["webhookProcessing"] is True
    assert status["services"]["webhooks"].keys() == state.keys()
    health = api.get("/api/cluster/health").json()["health"]
    assert health["components"]["webhooks"]["healthy"] is True
    assert health["components"]["webhooks"]["status"] == "healthy"


def test_oldest_and_breakers_are_figures(servers, path, receiver, collection):
    """Ten failures in a row open it; what waits behind it grows old."""
    with begun(servers, path) as api:
        one = register(api, receiver.url(f"/status/500/{collection}"), collection)
        fire(api, collection, 12)
        wait_deliveries(api, one, "dead", 10)
        wait_until(
            "it is open",
            lambda: value(scrape(api), "sqlfree_webhook_breakers_open") == 1,
            20,
        )
        wait_until(
            "what waits is seen",
            lambda: value(t := scrape(api), "sqlfree_webhook_queue_jobs") > 0
            and value(t, "sqlfree_webhook_queue_oldest_seconds") > 1,
            20,
        )
        assert queue(api)["oldestWaitingMs"] > 1000


def test_statistics_survive_restarts(servers, path, receiver, collection):
    with begun(servers, path) as api:
        good = register(api, receiver.url(f"/ok/{collection}"), collection)
        bad = register(api, receiver.url(f"/status/500/{collection}"), collection)
        fire(api, collection, 3)
        wait_deliveries(api, good, "success", 3)
        wait_deliveries(api, bad, "dead", 3)
        told = wait_until(
            "all is counted",
            lambda: (s := stats(api))["deliveryStatistics"]["totalAttempts"] == 6
            and s,
        )
        sums = told["deliveryStatistics"]
        assert (sums["delivered"], sums["failed"]) == (3, 3)
        assert sums["successRate"] == "50.0%" and sums["totalWebhookUrls"] == 2
        assert sums["pendingRetries"] == 0
        each = {row["webhookId"]: row for row in told["perWebhookStats"]}
        assert (each[good]["delivered"], each[good]["failed"]) == (3, 0)
        assert (each[bad]["delivered"], each[bad]["failed"]) == (0, 3)
        assert each[good]["lastDelivery"] and each[good]["pending"] == 0
        assert each[good]["averageResponseTime"].endswith("ms")
        recent = {r["webhookId"]: r for r in sums["rateLimitStatus"]}
        assert recent[good]["recentRequests"] == 3
        assert recent[good]["isLimited"] is False
        wait_until(
            "all is well", lambda: all(stats(api)["systemHealth"].values()), 20
        )
        assert api.stop_workers() == 0
        api.app.stop()
        api.start_app()
        api.start_workers()
        api.wait_ready()
        again = stats(api)
        assert again["perWebhookStats"] == told["perWebhookStats"]
        for name in ("totalAttempts", "delivered", "failed", "successRate"):
            assert again["deliveryStatistics"][name] == sums[name]


# ---- tests of webhooks


def try_it(api, one: str):
    return api.request("POST", f"/api/webhooks/{one}/test")


def test_test_is_sent_at_once_and_told(api, receiver, collection, hook):
    path = f"/ok/{collection}"
    one = hook(path, rateLimit={"maxRequestsPerMinute": 1})
    before = stats(api)["deliveryStatistics"]["totalAttempts"]
    for n in (1, 2, 3):  # past the limit
        reply = try_it(api, one)
        assert reply.status == 200, reply.body
        sent = receiver.wait(n, path)[-1]
        data = reply.json()["data"]
        assert data["webhook"] == collection and data["url"].endswith(path)
        assert data["payload"] == sent.json
        assert sent.json["event"] == "test"
        assert sent.json["webhook"] == {"id": one, "name": collection}
        assert sent.json["data"].keys() == {"message", "testId"}
        told = data["delivery"]
        assert told["deliveryId"] == sent.headers["x-delivery-id"]
        assert (told["statusCode"], told["error"]) == (200, None)
        assert 0 <= told["durationMs"] < 2000
    assert stats(api)["deliveryStatistics"]["totalAttempts"] == before


@pytest.mark.parametrize(
    "mode, code, error",
    [
        ("/status/500", 500, "http-status"),
        ("/redirect", 302, "http-status"),
        ("/tarpit", None, "timeout"),
    ],
)
def test_test_that_fails_is_told(api, receiver, collection, hook, mode, code, error):
    one = hook(f"{mode}/{collection}")
    reply = try_it(api, one)
    assert (reply.status, reply.code()) == (502, "DELIVERY_FAILED"), reply.body
    body = reply.json()
    assert body["success"] is False and body["error"] == "Delivery Failed"
    told = body["data"]["delivery"]
    assert (told["statusCode"], told["error"]) == (code, error)
    assert body["data"]["payload"]["event"] == "test"
    assert len(receiver.wait(1, f"{mode}/{collection}")) == 1  # one try
    (row,) = deliveries(api, one, "status=dead")
    assert row["event"] == "test" and row["deliveryId"] == told["deliveryId"]
    assert dead_letters(api, f"webhookId={one}")["total"] == 0
    assert replay_dead(api, webhookId=one)["replayed"] == 0
    again = f"/api/webhooks/deliveries/{told['deliveryId']}/replay"
    assert api.request("POST", again).code() == "WRONG_STATE"


def test_test_of_a_disabled_webhook_is_sent(api, receiver, collection, hook):
    one = hook(f"/ok/{collection}", enabled=False)
    reply = try_it(api, one)
    assert reply.status == 200, reply.body
    receiver.wait(1, f"/ok/{collection}")


def test_test_answered_410_disables_nothing(api, receiver, collection, hook):
    one = hook(f"/gone/{collection}")
    reply = try_it(api, one)
    assert reply.json()["data"]["delivery"]["statusCode"] == 410
    told = api.get(f"/api/webhooks/{one}").json()["data"]
    assert told["enabled"] is True and told["disabledReason"] is None


def test_test_to_a_denied_address_is_told(servers, receiver, collection):
    """The address was allowed when the webhook was stored."""
    with Instance(servers, **SETTINGS, **on("mongodb")) as api:
        one = register(api, receiver.url(f"/ok/{collection}"), collection)
        api.stop_workers()
        api.env["WEBHOOK_ALLOW_CIDRS"] = "10.0.0.0/8"
        api.start_workers()
        reply = wait_until(
            "a worker has it",
            lambda: (r := try_it(api, one)).status == 502 and r,
            30,
        )
        told = reply.json()["data"]["delivery"]
        assert told["error"] == "target-not-allowed" and told["statusCode"] is None
        assert receiver.requests(f"/ok/{collection}") == []


def test_test_whose_worker_dies_is_told(api, receiver, collection, hook):
    one = hook(f"/tarpit/{collection}")
    got = []
    asking = threading.Thread(target=lambda: got.append(try_it(api, one)))
    asking.start()
    receiver.wait(1, f"/tarpit/{collection}")
    for pid in api.worker_pids("deliver"):
        os.kill(pid, signal.SIGKILL)
    asking.join(20)
    assert got and got[0].status == 502, got
    assert got[0].json()["data"]["delivery"]["error"] == "killed"
    assert got[0].json()["data"]["delivery"]["statusCode"] is None


def test_test_without_workers_is_taken_back(servers, receiver, collection):
    with Instance(servers, **SETTINGS | on("mongodb") | {"workers": False}) as api:
        one = register(api, receiver.url(f"/ok/{collection}"), collection)
        begun = time.monotonic()
        reply = try_it(api, one)
        assert 4.9 <= time.monotonic() - begun and took(begun) < 6.5
        assert (reply.status, reply.code()) == (503, "OVERLOADED")
        assert reply.headers["Retry-After"] == "1"
        api.start_workers()
        fire(api, collection)
        (sent,) = receiver.wait(1, f"/ok/{collection}")
        assert sent.json["event"] == "create"


def cancelled(api, one: str) -> bool:
    return len(deliveries(api, one, "status=cancelled")) == 1


def test_test_that_nobody_waits_for_is_taken_back(servers, receiver, collection):
    with Instance(servers, **SETTINGS | on("mongodb") | {"workers": False}) as api:
        one = register(api, receiver.url(f"/ok/{collection}"), collection)
        c = api.connect()
        c.request("POST", f"/api/webhooks/{one}/test", body=b"")
        wait_until("it is there", lambda: len(deliveries(api, one)) == 1, 4)
        assert not cancelled(api, one)
        c.close()
        wait_until("it is taken back", lambda: cancelled(api, one), 3)


def test_test_while_the_server_stops_is_taken_back(servers, receiver, collection):
    settings = SETTINGS | on("mongodb") | {"workers": False, "DRAIN_DELAY_MS": "300"}
    with Instance(servers, **settings) as api:
        one = register(api, receiver.url(f"/ok/{collection}"), collection)
        got = []
        asking = threading.Thread(target=lambda: got.append(try_it(api, one)))
        asking.start()
        wait_until("it is there", lambda: len(deliveries(api, one)) == 1, 4)
        begun = time.monotonic()
        api.app.signal(signal.SIGTERM)
        asking.join(10)
        assert got and got[0].code() == "OVERLOADED"
        assert took(begun) < 3
        rows = list(api.servers.client()[api.database]["_jobs"].find())
        assert [row["st"] for row in rows] == ["cancelled"]


def test_a_quarter_of_the_threads_may_wait_for_tests(
    api, receiver, collection, hook
):
    one = hook(f"/tarpit/{collection}")
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(try_it(api, one).code()))
        for _ in range(2)  # of eight
    ]
    for t in threads:
        t.start()
    receiver.wait(2, f"/tarpit/{collection}")
    begun = time.monotonic()
    assert try_it(api, one).code() == "OVERLOADED"
    assert took(begun) < 1
    for t in threads:
        t.join(20)
    assert codes == ["DELIVERY_FAILED"] * 2


# ---- who may, and how soon


def test_roles(servers):
    with Instance(servers, AUTH_ENABLED="true") as api:
        keys = {
            role: api.cli("keys", "create", "--name", "x", "--role", role)
            for role in ("read", "write", "admin")
        }

        def ask(role: str, method: str, path: str) -> int:
            key = keys[role].stdout.strip()
            headers = [("Authorization", f"Bearer {key}")]
            return api.request(method, path, headers).status

        queued = "/api/cluster/webhooks"
        for role in ("read", "write"):
            assert ask(role, "GET", f"{queued}/queue") == 200
            for method, path in (
                ("GET", f"{queued}/dead-letters"),
                ("POST", f"{queued}/dead-letters/replay"),
                ("POST", f"{queued}/queue/pause"),
                ("POST", f"{queued}/queue/resume"),
                ("GET", "/api/webhooks/stats"),
                ("GET", "/api/webhooks/665f1c2e9b1e8a0012ab34cd/deliveries"),
                ("POST", "/api/webhooks/665f1c2e9b1e8a0012ab34cd/test"),
                ("POST", "/api/webhooks/deliveries/x/replay"),
            ):
                assert ask(role, method, path) == 403, (role, method, path)
        assert ask("admin", "GET", f"{queued}/dead-letters") == 200
        assert ask("admin", "POST", f"{queued}/queue/resume") == 200
        assert ask("admin", "GET", "/api/webhooks/stats") == 200


def test_webhooks_that_cannot_be_read_are_a_warning(servers, collection, db):
    def warned(api) -> bool:
        return "webhooks could not be read" in " ".join(
            api.get("/health").json()["warnings"]
        )

    with Instance(servers) as api:
        fire(api, collection)
        assert not warned(api)
        table = db[api.database]
        table["other"].insert_one({})
        table.drop_collection("_webhooks")
        fails = {"$project": {"url": {"$divide": [1, 0]}}}
        table.command("create", "_webhooks", viewOn="other", pipeline=[fails])
        table["_cluster"].update_one({"_id": "subs"}, {"$inc": {"ver": 1}})

        def writes_and_sees(wanted: bool) -> bool:
            fire(api, collection)
            return warned(api) is wanted

        wait_until("it is said", lambda: writes_and_sees(True), 60)
        table.drop_collection("_webhooks")
        wait_until("it is over", lambda: writes_and_sees(False), 30)


def test_answers_come_while_mongodb_hangs():
    own = Servers()
    try:
        with Instance(own, **SETTINGS, **on("mongodb")) as api:
            wait_until("it is counted", lambda: queue(api)["healthy"], 30)
            own.mongod.signal(signal.SIGSTOP)
            try:
                for path in ("queue", "dead-letters"):
                    begun = time.monotonic()
                    reply = api.get(f"/api/cluster/webhooks/{path}")
                    assert took(begun) < 2
                    assert reply.status == (200 if path == "queue" else 503)
                    assert reply.json()["timestamp"]
                wait_until(
                    "nothing is known",
                    lambda: queue(api)["waiting"] is None
                    and queue(api)["healthy"] is False
                    and queue(api)["paused"] is None,
                    10,
                )
            finally:
                own.mongod.signal(signal.SIGCONT)
    finally:
        own.stop()
