"""What the MongoDB server refuses by itself, and by which code."""

import pytest
from pymongo.errors import (
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    WriteError,
)

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
