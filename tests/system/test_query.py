"""The example table of the query language, end to end: the filter that an
answer shows is the one that was sent to MongoDB."""

import pytest

D, E = "2024-01-01T00:00:00.000Z", "2024-12-31T00:00:00.000Z"
ID11, ID12 = "507f1f77bcf86cd799439011", "507f1f77bcf86cd799439012"
REGEX = [
    ("name=/^jo/", "^jo"),
    ("name=John*", "^John.*$"),
    ("name=*son", "^.*son$"),
    ("name=a.b*", "^a\\.b.*$"),
    ("name=f(x)[1]%2B?*", "^f\\(x\\)\\[1\\]\\+\\?.*$"),
    ('name={"$regex":"jo","$options":"i"}', "jo"),
]
TABLE = [
    ("name=John", {"name": "John"}),
    ("age=30", {"age": 30}),
    ("price=19.99", {"price": 19.99}),
    ("age=-5", {"age": -5}),
    ("zip=007", {"zip": 7}),
    ("active=TRUE", {"active": True}),
    ("deleted=null", {"deleted": None}),
    ("v=1e3", {"v": "1e3"}),
    ("v=", {"v": ""}),
    ("v=12.", {"v": "12."}),
    ("v=%2B5", {"v": "+5"}),
    ("v=0x10", {"v": "0x10"}),
    ("status=active,pending", {"status": {"$in": ["active", "pending"]}}),
    ("name=O'Brien, Pat", {"name": {"$in": ["O'Brien", "Pat"]}}),
    ("age=1,2,3", {"age": {"$in": [1, 2, 3]}}),
    ("age=25..35", {"age": {"$gte": 25, "$lte": 35}}),
    ("age=25..", {"age": {"$gte": 25}}),
    ("age=..35", {"age": {"$lte": 35}}),
    ("age=>25", {"age": {"$gt": 25}}),
    ("age=>=25", {"age": {"$gte": 25}}),
    ("age=<65", {"age": {"$lt": 65}}),
    ("age=<=65", {"age": {"$lte": 65}}),
    ("status=!inactive", {"status": {"$ne": "inactive"}}),
    ("x=!null", {"x": {"$ne": None}}),
    ('age={"$gte":18,"$lt":65}', {"age": {"$gte": 18, "$lt": 65}}),
    ('age={"$gte":"18"}', {"age": {"$gte": 18}}),
    ('c={"$in":["1","2"]}', {"c": {"$in": ["1", "2"]}}),
    ("filter.status=active", {"status": "active"}),
    ('filter.age={"$gte":25,"$lte":40}', {"age": {"$gte": 25, "$lte": 40}}),
    ("address.city=Seattle", {"address.city": "Seattle"}),
    ("total=>100&status=open", {"total": {"$gt": 100}, "status": "open"}),
    (
        'createdAt={"$lt":"2025-09-14T00:00:00.000Z"}',
        {"createdAt": {"$lt": "2025-09-14T00:00:00.000Z"}},
    ),
    (
        "createdAt[$gte]=2024-01-01&createdAt[$lte]=2024-12-31",
        {"createdAt": {"$gte": D, "$lte": E}},
    ),
    ("createdAt=2024-01-01", {"createdAt": D}),
    ("createdAt=>2024-01-01", {"createdAt": {"$gt": D}}),
    (
        "createdAt=2024-01-01..2024-12-31",
        {"createdAt": {"$gte": D, "$lte": E}},
    ),
    ("d=2024-13-01", {"d": "2024-13-01"}),
    (f"_id={ID11}", {"_id": ID11}),
    (f"_id={ID11},{ID12}", {"_id": {"$in": [ID11, ID12]}}),
    (
        'filter={"status":"active","age":{"$gte":18}}',
        {"status": "active", "age": {"$gte": 18}},
    ),
    (
        'filter={"$and":[{"total":{"$gte":100}},{"status":"x"}]}',
        {"$and": [{"total": {"$gte": 100}}, {"status": "x"}]},
    ),
    (
        "status=a&search=dev&fields=name,skills",
        {
            "$and": [
                {"status": "a"},
                {
                    "$or": [
                        {"name": {"$regex": "dev", "$options": "i"}},
                        {"skills": {"$regex": "dev", "$options": "i"}},
                    ]
                },
            ]
        },
    ),
    ("tag=a&tag=b", {"tag": ["a", "b"]}),
    ("total>=100", {"total": {"$gte": 100}}),
    ("v={bad}", {"v": "{bad}"}),
    ("q=$100", {"q": "$100"}),
    ("age>=18&age<=65", {"age": {"$gte": 18, "$lte": 65}}),
    ("age>18", {"age": {"$gt": 18}}),
    ("status!=closed", {"status": {"$ne": "closed"}}),
    (
        'status=a&filter={"status":"b"}',
        {"$and": [{"status": "a"}, {"status": "b"}]},
    ),
    ("age[$gte]=18&age[$lt]=65", {"age": {"$gte": 18, "$lt": 65}}),
    ("$or[0][a]=1&$or[1][b]=2", {"$or": [{"a": 1}, {"b": 2}]}),
    ("user.address.zip=98101&sort=-user.age,name", {"user.address.zip": 98101}),
    ('name={"$regex":"2024"}', {"name": {"$regex": "2024"}}),
    ("n=9007199254740993", {"n": 9007199254740993}),
    (
        "ref=123456789012345678901234",
        {"ref": "123456789012345678901234"},
    ),
    ("t=2024-05-01T10:00:00", {"t": "2024-05-01T10:00:00.000Z"}),
    ("t=2024-05-01T10:00:00%2B02:00", {"t": "2024-05-01T08:00:00.000Z"}),
    ("age=>=10,20", {"age": {"$in": [">=10", 20]}}),
]
TABLE += [
    (query, {"name": {"$regex": regex, "$options": "i"}})
    for query, regex in REGEX
]
BAD = [
    ("age=..", "BAD_QUERY"),
    ("filter=active", "BAD_QUERY"),
    ("fields=name,-age", "BAD_QUERY"),
    ("limit=101", "BAD_QUERY"),
    ("page=ten", "BAD_QUERY"),
    ("sort=a&sort=b", "BAD_QUERY"),
    ("a..b=1", "BAD_QUERY"),
    ("$where=1", "BAD_OPERATOR"),
    ('a={"$where":"1"}', "BAD_OPERATOR"),
    ('age={"$foo":1}', "BAD_OPERATOR"),
    ('a={"$not":{"$where":"1"}}', "BAD_OPERATOR"),
    ("a.$where=1", "BAD_OPERATOR"),
    ('filter={"$expr":{"$gt":["$a","$b"]}}', "BAD_OPERATOR"),
]


@pytest.fixture
def path(api, db):
    db[api.database]["query"].update_one(
        {"_id": 1}, {"$set": {"name": "x"}}, upsert=True
    )
    return "/api/db/query?"


@pytest.mark.parametrize("query,want", TABLE, ids=[q for q, _ in TABLE])
def test_filter_sent_to_mongodb(api, path, query, want):
    reply = api.get(path + query)
    assert reply.status == 200, reply.body
    assert reply.json()["filter"] == want
    assert reply.json()["appliedFilter"] == want


@pytest.mark.parametrize("query,code", BAD, ids=[q for q, _ in BAD])
def test_refused_query(api, path, query, code):
    reply = api.get(path + query)
    assert (reply.status, reply.code()) == (400, code)


def test_text_index_is_used_by_search(api, db, collection):
    rows = db[api.database][collection]
    rows.insert_many([{"_id": 1, "t": "dev ops"}, {"_id": 2, "t": "cook"}])
    rows.create_index([("t", "text")])
    reply = api.get(f"/api/db/{collection}?search=dev").json()
    assert reply["filter"] == {"$text": {"$search": "dev"}}
    assert [d["_id"] for d in reply["data"]] == [1]
    assert reply["pagination"]["total"] == 1


def test_slow_filter_is_a_time_limit(pool, db, collection):
    """A filter that takes MongoDB longer than DB_QUERY_TIMEOUT_MS."""
    api = pool.get("nginx", DB_QUERY_TIMEOUT_MS=100)
    rows = db[api.database][collection]
    text = "a" * 2000
    rows.insert_many([{"t": text, "u": text} for _ in range(10000)])
    query = '?t={"$regex":"(a*)*b"}&u={"$regex":"(a*)*c"}&limit=1'
    reply = api.get(f"/api/db/{collection}{query}")
    assert (reply.status, reply.code()) == (504, "TIME_LIMIT")
