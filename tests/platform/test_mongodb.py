"""What the MongoDB server refuses by itself, and by which code."""

import uuid

import pytest
from bson import Binary
from pymongo.errors import (
    CursorNotFound,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    WriteError,
)

from servers import Servers

# documented is 100; mongod itself draws the line later
NESTING_PROMISED, NESTING_MAX = 100, 180
DOCUMENT_BYTES = 16 * 1024 * 1024


@pytest.fixture
def table(db, collection):
    yield db["platform"][collection]
    db["platform"].drop_collection(collection)


def nested(depth: int) -> dict:
    out: dict = {}
    for _ in range(depth):
        out = {"a": out}
    return out


def test_p26_deep_nesting_is_refused(table):
    table.insert_one(nested(NESTING_PROMISED))
    table.insert_one(nested(NESTING_MAX))
    with pytest.raises(WriteError) as e:
        table.insert_one(nested(NESTING_MAX + 1))
    assert e.value.code == 15


def test_p26_document_over_16_mib_is_refused(table):
    table.insert_one({"_id": 1, "a": "x" * (DOCUMENT_BYTES - 1024)})
    with pytest.raises((DocumentTooLarge, WriteError)):
        table.insert_one({"a": "x" * DOCUMENT_BYTES})
    # an update grows it on the server, where no client can look first
    with pytest.raises(WriteError) as e:
        table.update_one({"_id": 1}, {"$set": {"b": "x" * 2048}})
    assert e.value.code == 17419


def test_p26_duplicate_key_is_11000(table):
    table.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError) as e:
        table.insert_one({"_id": 1})
    assert e.value.code == 11000


def test_p26_maxtimems_is_50(db):
    slow = [
        {"$documents": [{"a": 1}]},
        {"$set": {"a": {"$range": [0, 3000]}}},
        {"$unwind": "$a"},
        {"$set": {"b": {"$range": [0, 3000]}}},
        {"$unwind": "$b"},
        {"$group": {"_id": "$b", "n": {"$sum": "$a"}}},
    ]
    with pytest.raises(ExecutionTimeout) as e:
        list(db["platform"].aggregate(slow, maxTimeMS=20))
    assert e.value.code == 50


def test_p27_noscripting_refuses_where(table):
    table.insert_one({"a": 1})
    with pytest.raises(OperationFailure, match="globalScriptEngine"):
        list(table.find({"$where": "true"}))


def test_p27_noscripting_refuses_function_in_an_expression(table):
    table.insert_one({"a": 1})
    body = {"body": "function() { return 1; }", "args": [], "lang": "js"}
    with pytest.raises(OperationFailure, match="javascript engine"):
        list(table.aggregate([{"$set": {"b": {"$function": body}}}]))


@pytest.fixture
def guarded():
    """Two users that may read and write, and do nothing else: a client each."""
    lone = Servers(replica_set=False, auth=True)
    try:
        with lone.client() as first:
            first.admin.command("createUser", "root", pwd="x", roles=["root"])
        with lone.client(username="root", password="x") as root:
            for name in ("own", "other"):
                role = {"role": "readWrite", "db": "platform"}
                root.admin.command("createUser", name, pwd="x", roles=[role])
        with (
            lone.client(username="own", password="x") as own,
            lone.client(username="other", password="x") as other,
        ):
            yield lone, own, other
    finally:
        lone.stop()


def test_killSessions_is_for_ones_own_without_a_privilege(guarded):
    """By another connection of the same user; unknown ones do not matter."""
    lone, own, other = guarded
    table = own["platform"]["t"]
    table.insert_many([{"n": n} for n in range(9)])
    with own.start_session() as session:
        unknown = {"id": Binary(uuid.uuid4().bytes, 4)}
        command = {"killSessions": [unknown, {"id": session.session_id["id"]}]}
        cursor = table.find(session=session, batch_size=2)
        next(cursor)
        other["platform"].command(command)
        for _ in range(3):
            next(cursor)
        with lone.client(username="own", password="x") as again:
            again["platform"].command(command)
        with pytest.raises(CursorNotFound):
            list(cursor)
