"""No request leaves a cursor open on the server."""


def open_cursors(client) -> int:
    return client.admin.command("serverStatus")["metrics"]["cursor"]["open"]["total"]


def test_search_by_sample_closes_its_cursor(api, db, collection):
    rows = [{"name": f"hello {i}"} for i in range(300)]
    db[api.database][collection].insert_many(rows)
    before = open_cursors(db)
    for _ in range(5):
        reply = api.get(f"/api/db/{collection}?search=hello")
        assert reply.json()["pagination"]["total"] == 300
    assert open_cursors(db) <= before


def test_page_beyond_16_mib_is_whole_and_closes_its_cursor(api, db, collection):
    rows = [{"_id": i, "text": "x" * 1_500_000} for i in range(20)]
    for row in rows:
        db[api.database][collection].insert_one(row)
    before = open_cursors(db)
    reply = api.get(
        f"/api/db/{collection}?limit=15&sort=_id", headers=[("Prefer", "count=none")]
    )
    page = reply.json()
    assert [d["_id"] for d in page["data"]] == list(range(15))
    assert page["pagination"]["hasMore"] is True
    reply = api.get(
        f"/api/db/{collection}?limit=20&sort=_id", headers=[("Prefer", "count=none")]
    )
    assert reply.json()["pagination"]["hasMore"] is False
    assert open_cursors(db) <= before
