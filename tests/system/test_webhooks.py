"""What is stored of a webhook, what is not, and rows that others have stored."""

import base64
import datetime
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId

from cluster import Instance, wait_until
from standstill import took

BODY = {
    "name": "n",
    "url": "https://1.1.1.1/",
    "collection": "a",
    "events": ["create"],
}


def send(api, method, path="", body=None):
    headers = [("Content-Type", "application/json")]
    text = json.dumps({} if body is None else body).encode()
    return api.request(method, f"/api/webhooks{path}", headers, text)


def create(api, **members):
    reply = send(api, "POST", body=BODY | members)
    assert reply.status == 201, reply.body
    return reply.json()["data"]


def version(db, api):
    row = db[api.database]["_cluster"].find_one({"_id": "subs"})
    return row["ver"] if row else 0


@pytest.fixture
def rows(db, api):
    rows = db[api.database]["_webhooks"]
    rows.delete_many({})
    return rows


def test_secret_is_32_bytes_of_its_own(api, rows):
    secrets = [create(api)["secret"] for _ in range(3)]
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret[6:], validate=True)) == 32
    assert len(set(secrets)) == 3
    assert secrets[0] not in api.logs()


@pytest.mark.parametrize(
    "wrong",
    [
        {"events": ["nope"]},
        {"url": "http://127.0.0.1/"},
        {"url": "http://a b/"},
        {"filters": {"$where": "1"}},
        {"collection": "_outbox"},
        {"headers": {"Host": "x"}},
        {"priority": 2000},
    ],
    ids=lambda w: next(iter(w)),
)
def test_what_is_refused_stores_nothing(api, db, rows, wrong):
    made = create(api, name="kept")
    was = rows.find_one()
    ver = version(db, api)
    assert send(api, "POST", body=BODY | wrong).status in (400, 403)
    reply = send(api, "PUT", f"/{made['_id']}", {"name": "lost"} | wrong)
    assert reply.status in (400, 403)
    assert list(rows.find()) == [was]
    assert version(db, api) == ver


def test_each_change_raises_the_version(api, db, rows):
    ver = version(db, api)
    path = f"/{create(api)['_id']}"
    assert version(db, api) == ver + 1
    assert send(api, "PUT", path, {"enabled": False}).status == 200
    assert version(db, api) == ver + 2
    assert send(api, "POST", f"{path}/rotate-secret").status == 200
    assert version(db, api) == ver + 3
    assert send(api, "DELETE", path).status == 200
    assert version(db, api) == ver + 4
    assert send(api, "DELETE", path).status == 404
    assert version(db, api) == ver + 4


def test_old_secret_stays_for_the_overlap(api, rows):
    made = create(api)
    path = f"/{made['_id']}/rotate-secret"
    first = send(api, "POST", path).json()["data"]
    row = rows.find_one()
    assert row["secret"] == first["secret"] != made["secret"]
    assert row["previousSecret"] == made["secret"]
    ends = row["previousExpiresAt"] - row["updatedAt"]
    assert ends.total_seconds() == 24 * 3600
    assert send(api, "POST", path, {"overlapHours": 0}).status == 200
    row = rows.find_one()
    assert row["previousSecret"] is None
    assert row["previousExpiresAt"] == row["updatedAt"]


def test_rows_of_the_node_version_are_used_as_they_are(api, rows):
    """Without members of ours, with others, with odd types."""
    old = {
        "_id": ObjectId(),
        "name": "old",
        "url": "http://10.0.0.1/in",
        "collection": "a",
        "events": ["delete", "create"],
        "rateLimit": {"maxRetries": "5", "maxRequestsPerMinute": 1e9},
        "secret": "hand made",
        "__v": 0,
    }
    rows.insert_many([old, {"_id": ObjectId(), "url": "http://a/"}])
    path = f"/{old['_id']}"
    shown = send(api, "GET", path).json()["data"]
    assert shown["events"] == ["delete", "create"]
    assert shown["hasSecret"] is False
    assert shown["rateLimit"] == {
        "maxRequestsPerMinute": 300,
        "maxRetries": 3,
        "baseDelayMs": 1000,
        "maxDelayMs": 30000,
    }
    assert "__v" not in shown and "secret" not in shown
    assert send(api, "GET").json()["count"] == 2
    # a change of something else asks nothing of its address
    assert send(api, "PUT", path, {"enabled": False}).status == 200
    reply = send(api, "POST", f"{path}/rotate-secret").json()["data"]
    assert reply["previousExpiresAt"] is None
    row = rows.find_one({"_id": old["_id"]})
    assert row["__v"] == 0 and row["rateLimit"] == old["rateLimit"]
    assert row["previousSecret"] is None
    assert send(api, "DELETE", path).status == 200
    assert rows.count_documents({}) == 1


def test_disabled_reason_ends_when_it_is_enabled(api, rows):
    made = create(api)
    path = f"/{made['_id']}"
    gone = {"enabled": False, "disabledReason": "gone"}
    rows.update_one({"_id": ObjectId(made["_id"])}, {"$set": gone})
    assert send(api, "GET", path).json()["data"]["disabledReason"] == "gone"
    reply = send(api, "PUT", path, {"name": "m"}).json()["data"]
    assert reply["disabledReason"] == "gone"
    reply = send(api, "PUT", path, {"enabled": True}).json()["data"]
    assert reply["disabledReason"] is None and reply["enabled"] is True


def test_our_own_servers_are_never_a_target(servers, db):
    port = int(servers.uri.split("/")[2].split(",")[0].split(":")[1])
    api = Instance(servers, WEBHOOK_ALLOW_CIDRS="127.0.0.0/8, ::1")
    try:
        for host in "127.0.0.1", "localhost", "2130706433", "[::ffff:7f00:1]":
            body = BODY | {"url": f"http://{host}:{port}/"}
            reply = send(api, "POST", body=body)
            assert reply.code() == "TARGET_NOT_ALLOWED", (host, reply.body)
        create(api, url="http://127.0.0.1:9/")
        assert db[api.database]["_webhooks"].count_documents({}) == 1
    finally:
        api.stop()


def test_many_changes_at_a_time_all_count(api, db, rows):
    """They meet in the version's row: each is repeated until it is in."""
    ver = version(db, api)
    with ThreadPoolExecutor(10) as threads:
        made = list(threads.map(lambda i: create(api, name=f"n{i}"), range(40)))
    assert len({m["_id"] for m in made}) == rows.count_documents({}) == 40
    assert version(db, api) == ver + 40


def post(api, collection):
    headers = [("Content-Type", "application/json")]
    reply = api.request("POST", f"/api/db/{collection}", headers, b'{"a":1}')
    assert reply.status == 201, reply.body
    return ObjectId(reply.json()["data"]["_id"])


def test_change_holds_at_once_where_it_was_made(api, db, rows, collection):
    """No workers here: an event that was written stays where it is."""
    outbox = db[api.database]["_outbox"]

    def written():
        return outbox.find_one({"docId": post(api, collection)})

    assert not written()
    path = f"/{create(api, collection=collection)['_id']}"
    assert written()
    assert send(api, "PUT", path, {"enabled": False}).status == 200
    assert not written()
    assert send(api, "PUT", path, {"enabled": True}).status == 200
    assert written()
    assert send(api, "PUT", path, {"events": ["delete"]}).status == 200
    assert not written()
    assert send(api, "PUT", path, {"events": ["create"]}).status == 200
    assert send(api, "DELETE", path).status == 200
    assert not written()


def test_change_holds_elsewhere_within_a_second(servers, db, collection):
    one = Instance(servers)
    other = Instance(servers, MONGODB_DATABASE_NAME=one.database)
    outbox = db[one.database]["_outbox"]

    def written():
        return outbox.find_one({"docId": post(other, collection)})

    try:
        assert not written()
        path = f"/{create(one, collection=collection)['_id']}"
        start = time.monotonic()
        wait_until("an event", written)
        assert took(start) < 1
        assert send(one, "PUT", path, {"enabled": False}).status == 200
        start = time.monotonic()
        wait_until("no event", lambda: not written())
        assert took(start) < 1
    finally:
        other.stop()
        one.stop()


def test_deliveries_of_a_deleted_webhook_are_cancelled(api, db, rows):
    """1200 wait: more than one step of cancelling takes."""
    made = create(api)
    jobs = db[api.database]["_jobs"]
    row = {
        "q": "webhook",
        "lim": made["_id"],
        "g": made["_id"],
        "sub": made["_id"],
        "st": "waiting",
        "open": True,
        "cls": 1023,
        "runAt": datetime.datetime(2030, 1, 1),
        "starts": 0,
        "stalls": 0,
        "tries": 0,
    }
    other = f"{made['_id'][:-1]}z"
    jobs.insert_many(row | {"_id": f"{made['_id']}-{i}"} for i in range(1200))
    jobs.insert_one(row | {"_id": other, "sub": other, "lim": other})
    assert send(api, "DELETE", f"/{made['_id']}").status == 200
    of_it = {"sub": made["_id"]}
    assert jobs.count_documents(of_it | {"st": "cancelled"}) == 1200
    assert jobs.count_documents({"_id": other, "st": "waiting"}) == 1
    jobs.delete_many({})
