"""What MongoDB itself refuses, and what is stored."""

import pytest
from bson.int64 import Int64
from pymongo.errors import OperationFailure


def test_validator_is_a_validation_error(api, db, collection):
    db[api.database].create_collection(
        collection, validator={"age": {"$type": "int"}}
    )
    reply = api.post(f"/api/db/{collection}", {"age": "x"})
    assert (reply.status, reply.code()) == (400, "VALIDATION_ERROR")
    assert api.post(f"/api/db/{collection}", {"age": 1}).status == 201


def test_unique_index_is_named_but_not_its_value(api, db, collection):
    db[api.database][collection].create_index(
        [("mail", 1)], unique=True, name="mail_unique"
    )
    secret = "secret@example.com"
    assert api.post(f"/api/db/{collection}", {"mail": secret}).status == 201
    reply = api.post(f"/api/db/{collection}", {"mail": secret})
    assert (reply.status, reply.code()) == (409, "DUPLICATE_KEY")
    assert "mail_unique" in reply.json()["message"]
    assert secret not in reply.body.decode()


def test_number_types_are_stored_as_documented(api, db, collection):
    body = (
        b'{"i":1,"l":2147483648,"d":1.5,"z":-0,"e":1e2,"f":1e10,'
        b'"b":9223372036854775808,"w":1.0}'
    )
    headers = [("Content-Type", "application/json")]
    reply = api.request("POST", f"/api/db/{collection}", headers, body)
    assert reply.status == 201, reply.body
    types = {
        name: db[api.database][collection].count_documents(
            {name: {"$type": kind}}
        )
        for name, kind in {
            "i": "int",
            "l": "long",
            "d": "double",
            "z": "double",
            "e": "int",
            "f": "double",
            "b": "double",
            "w": "int",
            "createdAt": "date",
            "_id": "objectId",
        }.items()
    }
    assert set(types.values()) == {1}, types


def test_dates_in_filters_match_stored_dates(api, collection):
    api.post(f"/api/db/{collection}", {"a": 1})
    reply = api.get(f"/api/db/{collection}?createdAt=>2020-01-01").json()
    assert reply["pagination"]["total"] == 1


def test_management_list_shows_the_newest_update(api, db, collection):
    rows = db[api.database][collection]
    made = api.post(f"/api/db/{collection}", {"a": 1}).json()["data"]
    rows.insert_one({"a": 2})
    reply = api.get("/api/management/collections").json()
    names = [c["name"] for c in reply["collections"]]
    assert names == sorted(names) and reply["count"] == len(names)
    mine = reply["collections"][names.index(collection)]
    assert mine["type"] == "collection" and mine["options"] == {}
    assert mine["stats"] == {
        "documentCount": 2,
        "lastUpdated": made["updatedAt"],
    }


def test_document_over_16_mib_is_refused(pool, collection):
    api = pool.get("nginx", JSON_LIMIT="9mb")
    at = f"/api/db/{collection}"
    text = "x" * (8 << 20)
    assert api.post(at, {"_id": "k", "a": text}).status == 201
    reply = api.send("PUT", f"{at}/k", {"b": text})
    assert (reply.status, reply.code()) == (413, "DOCUMENT_TOO_LARGE")


def test_body_limit_is_exact(api, collection):
    at, limit = f"/api/db/{collection}", 10 << 20
    headers = [("Content-Type", "application/json")]
    for extra, status in ((-1, 201), (0, 201), (1, 413)):
        body = b'{"a":"' + b"x" * (limit + extra - 8) + b'"}'
        assert len(body) == limit + extra
        reply = api.request("POST", at, headers, body)
        assert reply.status == status, reply.body[:200]
    assert reply.code() == "BODY_TOO_LARGE"


def test_deep_json_is_bounded(api, collection):
    headers = [("Content-Type", "application/json")]
    for levels, status in ((98, 201), (101, 400)):
        inner = b"[" * (levels - 1) + b"]" * (levels - 1)
        body = b'{"a":' + inner + b"}"
        reply = api.request("POST", f"/api/db/{collection}", headers, body)
        assert reply.status == status, (levels, reply.body)
    assert reply.code() == "BAD_JSON"


def test_csv_of_many_rows_streams(api, db, collection):
    rows = db[api.database][collection]
    n = 30000
    rows.insert_many([{"_id": i, "t": "x" * 50} for i in range(n)])
    reply = api.get(f"/api/db/{collection}?format=csv&fields=_id,t&sort=_id")
    lines = reply.body.decode().split("\n")
    assert reply.status == 200 and "Content-Length" not in reply.headers
    assert len(lines) == n + 1
    assert lines[-1] == f'{n - 1},"{"x" * 50}"'


def test_server_side_scripting_is_off(db, collection):
    with pytest.raises(OperationFailure):
        list(db.test[collection].find({"$where": "1"}))


def test_int64_ids_are_found_by_filter(api, db, collection):
    db[api.database][collection].insert_one({"_id": Int64(2**60)})
    reply = api.get(f"/api/db/{collection}?_id={2**60}").json()
    assert reply["data"] == [{"_id": 2**60}]
