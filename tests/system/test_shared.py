"""Reads by id and inserts of many clients at a time, which share commands:
each gets its own result, whatever the others ask for."""

import signal
import threading
import time
from collections import Counter

import pytest
from bson import ObjectId

import fastcgi
import standstill
from cluster import Instance, wait_until

CLIENTS = 24


def all_at_once(api, work) -> list:
    """work(number, connection) in as many threads; their results."""
    results: list = [None] * CLIENTS
    start = threading.Barrier(CLIENTS)

    def run(i: int) -> None:
        c = api.connect()
        try:
            start.wait(20)
            results[i] = work(i, c)
        except Exception as error:
            results[i] = error
        finally:
            c.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    errors = [r for r in results if isinstance(r, Exception)]
    assert not errors, errors
    return results


def operations(api) -> int:
    """MongoDB commands that ended well so far."""
    for line in api.get("/metrics").body.decode().splitlines():
        if line.startswith('sqlfree_db_operations_total{outcome="ok"}'):
            return int(line.split()[-1])
    raise AssertionError("no such series")


def test_each_reader_gets_its_own_document(api, db, collection):
    oids = [ObjectId() for _ in range(50)]
    rows = [{"_id": oid, "n": i} for i, oid in enumerate(oids)]
    rows += [{"_id": f"t{i}", "n": 100 + i} for i in range(50)]
    # hex texts: one with a twin that is an ObjectId, one without
    rows += [{"_id": str(oids[0]), "n": -1}, {"_id": "ab" * 12, "n": 7}]
    db[api.database][collection].insert_many(rows)
    wanted = {str(oid): i for i, oid in enumerate(oids)}
    wanted |= {f"t{i}": 100 + i for i in range(50)} | {"ab" * 12: 7}
    ids = list(wanted)

    def read(i: int, c) -> None:
        for k in range(60):
            key = ids[(i * 7 + k * 13) % len(ids)]
            reply = api.get(f"/api/db/{collection}/{key}", on=c)
            assert reply.json()["data"]["n"] == wanted[key]
            if k % 20 == 0:
                missing = api.get(f"/api/db/{collection}/none{i}", on=c)
                assert missing.code() == "DOCUMENT_NOT_FOUND"
                missing = api.get(f"/api/db/no_{collection}/x", on=c)
                assert missing.code() == "COLLECTION_NOT_FOUND"

    before = operations(api)
    all_at_once(api, read)
    asked = CLIENTS * 60 + CLIENTS * 3 * 4
    assert operations(api) - before < asked * 0.9, "nothing was shared"


def test_ids_are_found_under_a_collation_too(api, db, collection):
    rows = db[api.database].create_collection(
        collection, collation={"locale": "en", "strength": 2}
    )
    rows.insert_many([{"_id": f"key{i}", "n": i} for i in range(20)])

    def read(i: int, c) -> None:
        for k in range(30):
            n = (i + k) % 20
            reply = api.get(f"/api/db/{collection}/KEY{n}", on=c)
            assert reply.json()["data"]["n"] == n

    all_at_once(api, read)


def test_large_documents_are_read_together(api, db, collection):
    text = "x" * 3_000_000
    rows = [{"_id": f"k{i}", "n": i, "t": text} for i in range(12)]
    for row in rows:
        db[api.database][collection].insert_one(row)

    def read(i: int, c) -> None:
        for k in range(2):
            n = (i + k) % 12
            data = api.get(f"/api/db/{collection}/k{n}", on=c).json()["data"]
            assert data["n"] == n and len(data["t"]) == len(text)

    all_at_once(api, read)


def test_each_writer_gets_its_own_outcome(api, db, collection):
    rows = db[api.database].create_collection(
        collection, validator={"n": {"$gte": 0}}
    )
    rows.create_index("u", unique=True, name="only_one")

    def write(i: int, c) -> Counter:
        seen: Counter = Counter()
        for k in range(30):
            body = {"_id": f"{i}-{k}", "n": k, "u": f"{i}-{k}"}
            if k % 5 == 1:
                body["n"] = -1
            if k % 5 == 2:
                body["_id"] = f"same{k}"
            if k % 5 == 3:
                body["u"] = f"twin{k}"
            reply = api.post(f"/api/db/{collection}", body, on=c)
            seen[k % 5, reply.status] += 1
            if reply.status == 201:
                data = reply.json()["data"]
                assert (data["_id"], data["u"]) == (body["_id"], body["u"])
            elif k % 5 == 3:
                assert "only_one" in reply.json()["message"]
            elif k % 5 == 1:
                assert reply.code() == "VALIDATION_ERROR"
        return seen

    before = operations(api)
    total: Counter = sum(all_at_once(api, write), Counter())
    each = CLIENTS * 6
    assert total == {
        (0, 201): each,
        (1, 400): each,
        (2, 201): 6,
        (2, 409): each - 6,
        (3, 201): 6,
        (3, 409): each - 6,
        (4, 201): each,
    }
    assert rows.count_documents({}) == 2 * each + 12
    assert operations(api) - before < CLIENTS * 30 * 0.9, "nothing was shared"


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_answered_inserts_are_stored_once_when_mongodb_fails(own, fault):
    """Each POST answered 201 is there, none is there twice, and each that
    was refused may be repeated with the same id."""
    settings = {
        "DB_SERVER_SELECTION_TIMEOUT_MS": 2000,
        "DB_HEARTBEAT_FREQUENCY_MS": 500,
        "DB_QUERY_TIMEOUT_MS": 1000,
    }
    with Instance(own, **settings) as api:
        stop = threading.Event()
        answered: list[list[str]] = [[] for _ in range(CLIENTS)]

        def write(i: int, c) -> None:
            k = 0
            while not stop.is_set() and k < 5000:
                k += 1
                reply = api.post("/api/db/w", {"_id": f"{i}-{k}", "k": k})
                assert reply.status in (201, 409, 503, 504)
                if reply.status == 201:
                    answered[i].append(f"{i}-{k}")

        def harm() -> None:
            wait_until("writers write", lambda: all(len(a) > 5 for a in answered))
            if fault == "kill":
                own.mongod.signal(signal.SIGKILL)
                own.mongod.popen.wait()
                own.start_mongod()
            else:
                own.mongod.signal(signal.SIGSTOP)
                stopped.wait(2.5)
                own.mongod.signal(signal.SIGCONT)
            n = [len(a) for a in answered]
            try:
                wait_until(
                    "writers write again",
                    lambda: all(len(a) > b for a, b in zip(answered, n)),
                    40,
                )
            finally:
                stop.set()

        stopped = threading.Event()
        harmer = threading.Thread(target=harm)
        harmer.start()
        try:
            all_at_once(api, write)
        finally:
            stop.set()
            harmer.join()
        with own.client() as client:
            stored = {d["_id"] for d in client[api.database]["w"].find()}
        lost = {key for keys in answered for key in keys} - stored
        assert not lost, f"answered and lost: {sorted(lost)[:5]}"


def test_nobody_is_held_beyond_its_time_by_a_shared_command(own):
    """Slow bodies leave half of the clients one second when they meet others
    that have all of theirs, while MongoDB takes no write."""
    settings = {"REQUEST_TIMEOUT_MS": 3000, "DB_QUERY_TIMEOUT_MS": 3000}
    body = b'{"a":1}'
    params = fastcgi.pairs(
        fastcgi.params_of(
            "POST",
            "/api/db/late",
            CONTENT_TYPE="application/json",
            CONTENT_LENGTH=str(len(body)),
        )
    )
    with Instance(own, **settings) as api, own.client() as client:
        client[api.database].create_collection("late")
        meet = threading.Barrier(12)
        never = threading.Event()
        took: list[float] = []

        def write(slow: bool) -> None:
            c = fastcgi.Client(api.socket)
            start = time.monotonic()
            if slow:
                c.s.sendall(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, params))
                never.wait(2)
            meet.wait(20)
            if not slow:
                start = time.monotonic()
                c.s.sendall(fastcgi.begin() + fastcgi.stream(fastcgi.PARAMS, params))
            c.s.sendall(fastcgi.stream(fastcgi.STDIN, body))
            while c.s.recv(65536):
                pass
            took.append(standstill.took(start))
            c.s.close()

        threads = [threading.Thread(target=write, args=(i % 2 == 0,)) for i in range(12)]
        client.admin.command("fsync", lock=True)
        try:
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            client.admin.command("fsyncUnlock")
        assert len(took) == 12 and max(took) < 4, sorted(took)


def test_sharing_does_not_double_the_limit_of_an_operation(own):
    with Instance(own, DB_QUERY_TIMEOUT_MS=2000) as api, own.client() as client:
        client[api.database].create_collection("locked")
        client.admin.command("fsync", lock=True)

        def write(_: int, c) -> float:
            begun = time.monotonic()
            reply = api.post("/api/db/locked", {"a": 1}, on=c)
            assert (reply.status, reply.code()) in (
                (504, "TIME_LIMIT"),
                (503, "OVERLOADED"),
            )
            return standstill.took(begun)

        try:
            took = all_at_once(api, write)
        finally:
            client.admin.command("fsyncUnlock")
        assert max(took) < 3.5, sorted(took)
