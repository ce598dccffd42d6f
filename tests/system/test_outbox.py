"""Each change that somebody subscribes to has its row in `_outbox`, whatever
dies meanwhile; nobody else's change pays for that. No workers run here, so the
rows stay."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from bson import ObjectId

from cluster import Instance, Servers, wait_until
from standstill import rest

WRITERS = 16
URL = "http://127.0.0.1:9/hook"


class Box:
    """The outbox of an instance's database, and its webhooks."""

    def __init__(self, api: Instance, client):
        self.db = client[api.database]

    def subscribe(self, collection: str, **more) -> None:
        """Past the API, as another instance would do it."""
        row = {
            "_id": ObjectId(),
            "name": "test",
            "url": URL,
            "collection": collection,
            "events": ["create", "update", "delete"],
            "enabled": True,
        }
        self.db["_webhooks"].insert_one(row | more)
        self.db["_cluster"].update_one(
            {"_id": "subs"}, {"$inc": {"ver": 1}}, upsert=True
        )

    def rows(self, collection: str) -> list[dict]:
        order = [("ord", 1), ("ts", 1), ("event", 1), ("_id", 1)]
        return list(self.db["_outbox"].find({"collection": collection}).sort(order))

    def await_watch(self, *instances: Instance, collection: str) -> None:
        """Till a write of each instance has a row."""
        for api in instances:

            def is_seen() -> bool:
                made = api.post(f"/api/db/{collection}", {"probe": 1}).json()
                id_ = ObjectId(made["data"]["_id"])
                return self.db["_outbox"].count_documents({"docId": id_}) == 1

            wait_until("the subscription is known", is_seen, 5)
        self.db["_outbox"].delete_many({"collection": collection})
        self.db[collection].delete_many({})


@pytest.fixture
def box(pool, db):
    api = pool.get("nginx", FCGI_PROCESSES=2)
    return Box(api, db)


@pytest.fixture
def two(pool):
    return pool.get("nginx", FCGI_PROCESSES=2)


def writers(work, n: int = WRITERS) -> None:
    """work(number) in so many threads; the first error fails the test."""
    errors = []

    def run(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def put(api: Instance, target: str, value, on=None):
    return api.send("PUT", target, value, on=on)


def test_each_kind_of_change_has_its_row(two, box, collection):
    box.subscribe(collection)
    box.await_watch(two, collection=collection)
    made = two.post(f"/api/db/{collection}", {"n": 1}).json()["data"]
    target = f"/api/db/{collection}/{made['_id']}"
    assert put(two, target, {"n": 2}).json()["data"]["n"] == 2
    assert two.request("DELETE", target).status == 200
    rows = box.rows(collection)
    assert [r["event"] for r in rows] == ["create", "update", "delete"]
    assert {r["docId"] for r in rows} == {ObjectId(made["_id"])}
    assert len({r["part"] for r in rows}) == 1
    assert [r.get("doc", {}).get("n") for r in rows] == [1, 2, None]
    assert [r.get("old", {}).get("n") for r in rows] == [None, 1, 2]
    assert all(abs(r["ts"].timestamp() - time.time()) < 60 for r in rows)
    assert all("ord" not in r for r in rows), "order costs, and nobody asked"


def test_what_is_not_done_has_no_row(two, box, collection):
    box.subscribe(collection)
    box.await_watch(two, collection=collection)
    assert two.post(f"/api/db/{collection}", {"_id": "a"}).status == 201
    assert two.post(f"/api/db/{collection}", {"_id": "a"}).status == 409
    target = f"/api/db/{collection}/a"
    assert put(two, target, {"x": 1, "x.y": 2}).code() == "VALIDATION_ERROR"
    missing = f"/api/db/{collection}/{ObjectId()}"
    assert put(two, missing, {"n": 1}).code() == "DOCUMENT_NOT_FOUND"
    assert two.request("DELETE", missing).code() == "DOCUMENT_NOT_FOUND"
    assert len(box.rows(collection)) == 1


def test_who_is_not_watched_pays_nothing(two, box, collection):
    """One command of MongoDB each, and no row."""
    box.subscribe(f"{collection}x")
    box.await_watch(two, collection=f"{collection}x")

    def inserted() -> dict:
        return box.db.client.admin.command("serverStatus")["metrics"]["commands"]

    before = inserted()
    for i in range(10):
        assert two.post(f"/api/db/{collection}", {"n": i}).status == 201
    after = inserted()
    assert after["insert"]["total"] - before["insert"]["total"] == 10
    name = "commitTransaction"
    assert after[name]["total"] == before[name]["total"]
    assert box.rows(collection) == []


def test_parallel_changes_of_one_document_all_succeed(two, box, collection):
    box.subscribe(collection, ordered=True)
    with Instance(two.servers, MONGODB_DATABASE_NAME=two.database) as other:
        box.await_watch(two, other, collection=collection)
        made = two.post(f"/api/db/{collection}", {"n": -1}).json()["data"]
        target = f"/api/db/{collection}/{made['_id']}"
        start = threading.Barrier(50)

        def change(i: int) -> None:
            start.wait(20)
            reply = put((two, other)[i % 2], target, {"n": i})
            assert reply.status == 200, reply.body
            assert reply.json()["data"]["n"] == i

        writers(change, 50)
    rows = box.rows(collection)
    assert len(rows) == 51
    orders = [r["ord"] for r in rows]
    assert orders == sorted(set(orders))
    for before, row in zip(rows, rows[1:]):
        assert row["old"] == before["doc"], "another order than that of commits"
    assert box.db[collection].find_one() == rows[-1]["doc"]


def test_many_creations_at_a_time_have_a_row_each(two, box, collection):
    box.subscribe(collection)
    box.await_watch(two, collection=collection)
    twins = [0] * WRITERS

    def create(i: int) -> None:
        c = two.connect()
        for k in range(40):
            body = {"_id": f"{i}-{k}" if k % 4 else f"same{k}", "n": k}
            reply = two.post(f"/api/db/{collection}", body, on=c)
            assert reply.status in (201, 409), reply.body
            twins[i] += reply.status == 409
        c.close()

    writers(create)
    ids = {d["_id"] for d in box.db[collection].find()}
    rows = box.rows(collection)
    assert len(ids) == WRITERS * 30 + 10 and sum(twins) == WRITERS * 10 - 10
    assert len(rows) == len(ids) and {r["docId"] for r in rows} == ids


def test_large_documents_are_cut(two, box, collection):
    box.subscribe(collection)
    box.await_watch(two, collection=collection)
    text = "x" * 5_000_000
    made = two.post(f"/api/db/{collection}", {"_id": "a", "t": text})
    assert made.status == 201
    assert put(two, f"/api/db/{collection}/a", {"t": text + "y"}).status == 200
    create, update = box.rows(collection)
    assert len(create["doc"]["t"]) == len(text) and "cut" not in create
    assert update["cut"] is True and not {"doc", "old"} & set(update)


def test_a_subscription_counts_at_once_here_and_soon_elsewhere(servers, db):
    settings = {"FCGI_PROCESSES": 2, "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8"}
    with (
        Instance(servers, **settings) as api,
        Instance(servers, MONGODB_DATABASE_NAME=api.database) as other,
    ):
        box = Box(api, db)

        def subscribe(name: str) -> None:
            hook = {"name": name, "url": URL, "collection": name}
            made = api.post("/api/webhooks", hook | {"events": ["create"]})
            assert made.status == 201, made.body

        def written_elsewhere(name: str) -> int:
            assert other.post(f"/api/db/{name}", {"n": 1}).status == 201
            return len(box.rows(name))

        # while an instance starts, it makes the collections it needs first
        subscribe("first")
        wait_until("the other has started", lambda: written_elsewhere("first"))
        for name in ("a", "b", "c"):
            subscribe(name)
            begun = time.monotonic()
            for _ in range(20):  # each on a connection, so in either process
                assert api.post(f"/api/db/{name}", {"n": 1}).status == 201
            assert len(box.rows(name)) == 20
            rest(1, begun)  # the promise, not a wait; one more is for this machine
            wait_until(
                "the other knows it",
                lambda n=name: len(box.rows(n)) + 1 == written_elsewhere(n),
                1,
            )


# ---- faults


class Load:
    """Writers that create documents and change one of their own each, till
    they are told to stop; what was answered."""

    def __init__(self, api: Instance):
        self.api = api
        self.stop = threading.Event()
        self.made: list[set] = [set() for _ in range(WRITERS)]
        self.last = [0] * WRITERS

    def run(self, harm) -> None:
        failed = []

        def then_stop() -> None:
            try:
                harm(self)
            except BaseException as error:
                failed.append(error)
            self.stop.set()

        harmer = threading.Thread(target=then_stop)
        harmer.start()
        try:
            writers(self.write)
        finally:
            self.stop.set()
            harmer.join()
        if failed:
            raise failed[0]

    def write(self, i: int) -> None:
        k = 0
        while not self.stop.is_set():
            k += 1
            try:
                made = self.api.post("/api/db/w", {"_id": f"{i}-{k}", "n": k})
                done = put(self.api, f"/api/db/w/{i}-{k}", {"n": -k})
            except OSError:
                continue  # the child that had it was killed
            assert made.status in (201, 502, 503, 504), made.body
            assert done.status in (200, 404, 502, 503, 504), done.body
            if made.status == 201:
                self.made[i].add(f"{i}-{k}")
            if done.status == 200:
                self.last[i] = k

    def await_more(self) -> None:
        """All writers have written again."""
        n = [len(m) for m in self.made]
        wait_until(
            "writers write",
            lambda: all(len(m) > b + 2 for m, b in zip(self.made, n)),
            60,
        )

    def check(self, box: Box) -> None:
        """A change without its row, or a row without its change: none. A web
        server may send a PUT again, which then is a second change."""
        docs = {d["_id"]: d for d in box.db["w"].find()}
        of: dict = {id_: [] for id_ in docs}
        for row in box.rows("w"):
            of[row["docId"]].append(row)
        for id_, rows in of.items():
            kinds = [r["event"] for r in rows]
            assert kinds == ["create"] + ["update"] * (len(rows) - 1), (id_, rows)
            for before, row in zip(rows, rows[1:]):
                assert row["old"] == before["doc"]
            assert rows[-1]["doc"] == docs[id_]
        for made in self.made:
            assert made <= set(docs), "answered 201 and lost"
        for i, k in enumerate(self.last):
            assert k == 0 or docs[f"{i}-{k}"]["n"] == -k, "answered 200 and lost"


FAULTY = {
    "DB_SERVER_SELECTION_TIMEOUT_MS": 2000,
    "DB_HEARTBEAT_FREQUENCY_MS": 500,
    "DB_QUERY_TIMEOUT_MS": 2000,
    "REQUEST_TIMEOUT_MS": 8000,
}


def faulty(servers: Servers, harm, db, ordered: bool) -> None:
    with Instance(servers, FCGI_PROCESSES=2, **FAULTY) as api:
        box = Box(api, db)
        box.subscribe("w", ordered=ordered)
        box.await_watch(api, collection="w")
        load = Load(api)
        load.run(harm)
        wait_until(
            "no transaction is open",
            lambda: box.db.client.admin.command("serverStatus")["transactions"][
                "currentOpen"
            ]
            == 0,
            30,
        )
        load.check(box)


@pytest.mark.parametrize("ordered", [False, True])
def test_killed_children_leave_both_or_none(own, ordered):
    def harm(load: Load) -> None:
        for _ in range(6):
            load.await_more()
            for pid in load.api.app.children()[:1]:
                os.kill(pid, signal.SIGKILL)
        load.await_more()

    with own.client() as db:
        faulty(own, harm, db, ordered)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_killed_mongod_leaves_both_or_none(own, ordered):
    def harm(load: Load) -> None:
        load.await_more()
        own.restart_mongod(kill=True)
        load.await_more()

    with own.client() as db:
        faulty(own, harm, db, ordered)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_stepdown_leaves_both_or_none(own, ordered):
    def harm(load: Load) -> None:
        load.await_more()
        own.stepdown(1)
        load.await_more()

    with own.client() as db:
        faulty(own, harm, db, ordered)


# ---- light mode


def check_light(api: Instance, box: Box) -> None:
    box.subscribe("o", ordered=True)
    box.await_watch(api, collection="o")
    assert api.post("/api/db/o", {"_id": "a", "n": 1}).status == 201
    assert put(api, "/api/db/o/a", {"n": 2}).json()["data"]["n"] == 2
    assert api.request("DELETE", "/api/db/o/a").status == 200
    rows = box.rows("o")
    assert [r["event"] for r in rows] == ["create", "update", "delete"]
    assert [r.get("doc", {}).get("n") for r in rows] == [1, 2, None]
    assert [r.get("old", {}).get("n") for r in rows] == [None, 1, 2]

    def create(i: int) -> None:
        for k in range(10):
            assert api.post("/api/db/o", {"_id": f"{i}-{k}"}).status == 201

    writers(create)
    ids = [r["docId"] for r in box.rows("o")][3:]
    assert sorted(ids) == sorted(f"{i}-{k}" for i in range(WRITERS) for k in range(10))
    status = box.db.client.admin.command("serverStatus")
    assert status.get("transactions", {}).get("totalStarted", 0) == 0


def test_a_standalone_mongod_has_light_mode():
    lone = Servers(replica_set=False)
    try:
        with Instance(lone) as api, lone.client() as db:
            check_light(api, Box(api, db))
            assert "mongo.standalone" in [e["event"] for e in api.events()]
    finally:
        lone.stop()


def test_light_mode_may_be_chosen():
    alone = Servers()
    try:
        with (
            Instance(alone, WEBHOOKS_ENHANCED_DELIVERY="false") as api,
            alone.client() as db,
        ):
            check_light(api, Box(api, db))
    finally:
        alone.stop()
