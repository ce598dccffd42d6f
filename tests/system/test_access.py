"""Who may call what: roles, API keys, and what a revoked key can still do."""

import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from access import bearer, key_id, new_key, token
from cluster import ROOT, WEBS, Instance, Servers, wait_until
from standstill import rest

ON = {"AUTH_ENABLED": "true"}
ROW = re.compile(
    r'\{HTTP_(?P<method>[A-Z]+), *"(?P<path>[^"]+)", *\w+, '
    r"*ROLE_(?P<least>[A-Z]+), *(?P<flags>[^}]*)\}"
)
ROLES = ["none", "read", "write", "admin"]
KEY = re.compile(r"sqf_[A-Za-z0-9_-]{43}")


def routes() -> list[dict]:
    text = (ROOT / "fcgi-app/routes.c").read_text()
    rows = [m.groupdict() for m in ROW.finditer(text)]
    assert len(rows) == text.count("{HTTP_") >= 20
    return rows


def ask(api, method, path, auth=(), body=b"{}"):
    headers = list(auth)
    if method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        body = None
    else:
        headers.append(("Content-Type", "application/json"))
    return api.request(method, path, headers, body)


def list_keys(api, key):
    return ask(api, "GET", "/api/auth/keys", bearer(key))


def create(api, key, value):
    headers = [*bearer(key), ("Content-Type", "application/json")]
    return api.request("POST", "/api/auth/keys", headers, value.encode())


@pytest.fixture(scope="module")
def locked(pool):
    """An instance with access on, and a key of each role."""
    api = pool.get("nginx", **ON)
    return api, {role: new_key(api, role) for role in ROLES[1:]}


@pytest.fixture(scope="module")
def all_locked(pool):
    """The same; metrics need a role too."""
    api = pool.get("nginx", METRICS_PUBLIC="false", **ON)
    return api, {role: new_key(api, role) for role in ROLES[1:]}


@pytest.mark.parametrize("row", routes(), ids=lambda r: f"{r['method']} {r['path']}")
def test_every_route_asks_for_its_role(all_locked, row):
    api, keys = all_locked
    path = re.sub(r":[a-z]+", "absent", row["path"])
    least = ROLES.index(row["least"].lower())
    for rank, role in enumerate(ROLES):
        auth = bearer(keys[role]) if rank else []
        reply = ask(api, row["method"], path, auth)
        if rank >= least:
            assert reply.status not in (401, 403), reply.body
        elif rank == 0:
            assert (reply.status, reply.code()) == (401, "UNAUTHORIZED")
        else:
            assert (reply.status, reply.code()) == (403, "FORBIDDEN")
            assert row["least"].lower() in reply.json()["message"]


def test_metrics_are_public_unless_told_otherwise(locked):
    api, _ = locked
    for row in routes():
        if "ROUTE_METRICS" in row["flags"]:
            assert api.get(row["path"]).status not in (401, 403)


def test_head_needs_the_role_of_get(locked):
    api, keys = locked
    reply = ask(api, "HEAD", "/api/auth/keys", bearer(keys["write"]))
    assert (reply.status, reply.body) == (403, b"")
    assert ask(api, "HEAD", "/api/auth/keys").status == 401
    assert ask(api, "HEAD", "/api/auth/keys", bearer(keys["admin"])).status == 200


@pytest.mark.parametrize(
    "header, sent",
    [
        ("{key}", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Basic {key}", False),
        ("Token {key}", False),
        (", Bearer {key}", False),
        ("Bearer {key}, Bearer {key}", True),
        ("Bearer {key} x", True),
        ("Bearer {key}=", True),
        ("Bearer {cut}", True),
        ("Bearer sqf_", True),
        ("Bearer {lower}", True),
        ('Bearer "{key}"', True),
        ("Bearer é", True),
        ("Bearer " + "x" * 7000, True),
    ],
)
def test_malformed_authorization_is_refused(locked, header, sent):
    api, keys = locked
    key = keys["admin"]
    text = header.format(key=key, cut=key[:-1], lower=key.lower())
    reply = ask(api, "GET", "/api/db/x", [("Authorization", text)])
    assert (reply.status, reply.code()) == (401, "UNAUTHORIZED")
    want = 'Bearer error="invalid_token"' if sent else "Bearer"
    assert reply.headers.get_all("WWW-Authenticate") == [want]
    assert key not in reply.body.decode()


def test_scheme_has_no_case_and_blanks_are_allowed(locked):
    api, keys = locked
    for text in ("bearer {}", "BEARER   {}", "Bearer {} "):
        auth = [("Authorization", text.format(keys["admin"]))]
        assert ask(api, "GET", "/api/auth/keys", auth).status == 200


@pytest.mark.parametrize("web", WEBS)
def test_repeated_header_is_refused(pool, web):
    api = pool.get(web, **ON)
    key = new_key(api, "admin")
    twice = bearer(key) + bearer(key)
    # nginx of some versions refuses it itself
    assert ask(api, "GET", "/api/auth/keys", twice).status in (400, 401)


def test_credentials_elsewhere_are_not_read(locked):
    api, keys = locked
    key = keys["admin"]
    for path in (f"/api/auth/keys?token={key}", f"/api/auth/keys?access_token={key}"):
        headers = [("Cookie", f"token={key}"), ("X-Api-Key", key)]
        assert ask(api, "GET", path, headers).status == 401


def test_key_is_created_listed_used_and_revoked(locked, db):
    api, keys = locked
    admin = keys["admin"]
    reply = create(api, admin, '{"name":"Ünï \\u4f60","role":"write"}')
    assert reply.status == 201, reply.body
    assert reply.headers["Cache-Control"] == "no-store"
    made = reply.json()["data"]
    assert set(reply.json()) == {"success", "message", "data"}
    assert set(made) == {
        *("id", "name", "role", "prefix", "createdAt", "expiresAt", "key")
    }
    assert KEY.fullmatch(made["key"]) and made["prefix"] == made["key"][:8]
    assert made["name"] == "Ünï 你" and made["expiresAt"] is None

    at = "/api/db/things"
    assert ask(api, "POST", at, bearer(made["key"]), b'{"a":1}').status == 201
    reply = list_keys(api, admin)
    rows = reply.json()["data"]["keys"]
    assert reply.json()["count"] == len(rows) and "Cache-Control" not in reply.headers
    (row,) = [r for r in rows if r["id"] == made["id"]]
    assert row.pop("lastUsedAt") >= made["createdAt"]
    assert row == {k: v for k, v in made.items() if k != "key"}

    reply = ask(api, "DELETE", f"/api/auth/keys/{made['id']}", bearer(admin))
    assert reply.status == 200 and set(reply.json()) == {"success", "message"}
    reply = ask(api, "DELETE", f"/api/auth/keys/{made['id']}", bearer(admin))
    assert (reply.status, reply.code()) == (404, "KEY_NOT_FOUND")


def test_only_the_digest_of_a_key_is_stored(locked, db):
    api, keys = locked
    made = create(api, keys["admin"], '{"name":"n","role":"read"}').json()["data"]
    table = db[api.database]["_api_keys"]
    row = table.find_one({"name": "n"})
    assert row["hash"] == hashlib.sha256(made["key"].encode()).hexdigest()
    assert made["key"] not in str(row) and row["lastUsedAt"] is None
    index = table.index_information()["hash_1"]
    assert index["unique"] and index["key"] == [("hash", 1)]


@pytest.mark.parametrize(
    "body, fields",
    [
        ("{}", "name role"),
        ('{"name":"","role":"read"}', "name"),
        ('{"name":7,"role":"read"}', "name"),
        ('{"name":"' + "x" * 129 + '","role":"read"}', "name"),
        ('{"name":"a\\nb","role":"read"}', "name"),
        ('{"name":"a\\u0000","role":"read"}', "name"),
        ('{"name":"a","role":"root"}', "role"),
        ('{"name":"a","role":"none"}', "role"),
        ('{"name":"a","role":["admin"]}', "role"),
        ('{"name":"a","role":"read","expiresAt":"soon"}', "expiresAt"),
        ('{"name":"a","role":"read","expiresAt":"2020-01-01"}', "expiresAt"),
        ('{"name":"a","role":"read","expiresAt":4102444800}', "expiresAt"),
    ],
)
def test_what_a_key_needs_is_named(locked, body, fields):
    api, keys = locked
    reply = create(api, keys["admin"], body)
    assert (reply.status, reply.code()) == (400, "VALIDATION_ERROR")
    assert [d["field"] for d in reply.json()["details"]] == fields.split()
    assert "Cache-Control" not in reply.headers


def test_ids_of_keys_are_checked(locked):
    api, keys = locked
    for bad in ("x", "0" * 23, "0" * 25, "g" * 24):
        reply = ask(api, "DELETE", f"/api/auth/keys/{bad}", bearer(keys["admin"]))
        assert (reply.status, reply.code()) == (400, "BAD_ID")


def test_key_ends_at_its_time_though_it_is_remembered(locked):
    api, keys = locked
    end = time.time() + 2.5
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(end))
    text += f".{int(end % 1 * 1000):03d}Z"
    body = f'{{"name":"brief","role":"read","expiresAt":"{text}"}}'
    made = create(api, keys["admin"], body).json()["data"]
    assert made["expiresAt"] == text
    path, auth = "/api/management/collections", bearer(made["key"])
    with ThreadPoolExecutor(8) as threads:
        while time.time() < end + 0.5:
            before = time.time()
            replies = list(threads.map(lambda _: ask(api, "GET", path, auth), range(8)))
            if time.time() < end - 0.1:
                assert {r.status for r in replies} == {200}
            if before > end + 0.1:
                assert {r.status for r in replies} == {401}
    # nobody remembers it by then
    time.sleep(4)
    assert ask(api, "GET", path, auth).status == 401


def test_expiry_that_is_no_date_has_passed(locked, db):
    api, _ = locked
    for expires in ("2999-01-01T00:00:00Z", 4102444800, True, {}, [None]):
        key = new_key(api, "admin")
        one = {"hash": hashlib.sha256(key.encode()).hexdigest()}
        change = {"$set": {"expiresAt": expires}}
        db[api.database]["_api_keys"].update_one(one, change)
        want = 200 if expires == [None] else 401  # MongoDB finds null in it
        assert list_keys(api, key).status == want, expires


def test_key_in_a_path_or_a_referer_is_not_logged(servers):
    for form in ("text", "json"):
        with Instance(servers, LOG_FORMAT=form, **ON) as api:
            key = new_key(api, "admin")
            headers = [*bearer(key), ("Referer", f"https://x.example/?token={key}")]
            reply = api.request("DELETE", f"/api/auth/keys/{key}", headers)
            assert reply.status == 400
            log = wait_until(
                "it is logged",
                lambda: "DELETE" in (t := api.app.out.read_text()) and t,
            )
            assert f"/api/auth/keys/{key[:8]}" in log
            assert key[8:] not in log + api.app.err.read_text()


def test_refusal_by_rate_has_no_challenge(servers):
    limit = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_MAX_REQUESTS": 1}
    with Instance(servers, REDIS_URL="none", **limit, **ON) as api:
        reply = ask(api, "GET", "/api/auth/keys")
        assert reply.status == 401 and "WWW-Authenticate" in reply.headers
        reply = ask(api, "GET", "/api/auth/keys")
        assert reply.status == 429 and "WWW-Authenticate" not in reply.headers
        reply = ask(api, "PATCH", "/api/auth/keys")
        assert reply.status == 429 and "Allow" not in reply.headers


def test_last_use_is_written_once_a_minute(locked, db):
    api, keys = locked
    table = db[api.database]["_api_keys"]
    path = "/api/management/collections"
    one = {"hash": hashlib.sha256(keys["read"].encode()).hexdigest()}

    def used():
        return table.find_one(one)["lastUsedAt"]

    with Instance(api.servers, MONGODB_DATABASE_NAME=api.database, **ON) as other:
        assert ask(other, "GET", path, bearer(keys["read"])).status == 200
        first = used()
        assert first is not None
    with Instance(api.servers, MONGODB_DATABASE_NAME=api.database, **ON) as other:
        assert ask(other, "GET", path, bearer(keys["read"])).status == 200
        assert used() == first
        table.update_one(one, [{"$set": {"lastUsedAt": {"$subtract": ["$$NOW", 61000]}}}])
        older = used()
    with Instance(api.servers, MONGODB_DATABASE_NAME=api.database, **ON) as other:
        assert ask(other, "GET", path, bearer(keys["read"])).status == 200
        assert used() > older


def test_revoked_key_is_dead_on_all_instances_within_5_s(servers, db):
    settings = ON | {"FCGI_THREADS": 4}
    with Instance(servers, **settings) as one:
        name = {"MONGODB_DATABASE_NAME": one.database}
        with Instance(servers, "lighttpd", **settings, **name) as two:
            admin, key = new_key(one, "admin"), new_key(one, "read")
            path = "/api/management/collections"

            def statuses(api, n=24):
                with ThreadPoolExecutor(6) as threads:
                    replies = threads.map(
                        lambda _: ask(api, "GET", path, bearer(key)).status, range(n)
                    )
                    return set(replies)

            assert statuses(one) == statuses(two) == {200}
            at = f"/api/auth/keys/{key_id(one, db, key)}"
            assert ask(two, "DELETE", at, bearer(admin)).status == 200
            revoked = time.monotonic()
            rest(5, revoked)
            assert statuses(one) == statuses(two) == {401}
            assert statuses(one, 40) == statuses(two, 40) == {401}
            assert list_keys(one, admin).status == 200


def test_access_is_never_open_without_mongodb():
    servers = Servers()
    try:
        with Instance(servers, DB_SERVER_SELECTION_TIMEOUT_MS=500, **ON) as api:
            key = new_key(api, "admin")
            path = "/api/auth/keys"
            assert ask(api, "GET", path, bearer(key)).status == 200
            servers.mongod.stop()
            wait_until(
                "MongoDB is known to be away",
                lambda: api.get("/health").json()["mongodb"] == "disconnected",
            )
            for text in (key, "sqf_" + "A" * 43):
                reply = ask(api, "GET", path, bearer(text))
                assert (reply.status, reply.code()) == (503, "DB_UNAVAILABLE")
                assert reply.headers["Retry-After"] == "5"
            assert ask(api, "GET", path).status == 401
            assert ask(api, "GET", path, bearer("nonsense")).status == 401
            assert api.get("/health/live").status == 200
            servers.start_mongod()
            wait_until(
                "the key works again",
                lambda: ask(api, "GET", path, bearer(key)).status == 200,
                30,
            )
    finally:
        servers.stop()


def test_limit_counts_who_calls_and_who_guesses(servers):
    limits = {
        "RATE_LIMIT_ENABLED": "true",
        "RATE_LIMIT_MAX_REQUESTS": 5,
        "RATE_LIMIT_WINDOW_MS": 600000,
        "REDIS_URL": "none",
    }
    path = "/api/auth/keys"
    with Instance(servers, JWT_SECRET="s" * 32, **limits, **ON) as api:
        admin, read = new_key(api, "admin"), new_key(api, "read")

        def statuses(text):
            return [ask(api, "GET", path, bearer(text)).status for _ in range(6)]

        assert statuses(admin) == [200] * 5 + [429]
        assert statuses(read) == [403] * 5 + [429]
        guesses = ["sqf_" + c * 43 for c in "abcdef"]
        replies = [ask(api, "GET", path, bearer(text)) for text in guesses]
        assert [r.status for r in replies] == [401] * 5 + [429]
        # a token of the same subject is the same caller, however it is written
        for n in range(6):
            text = token("HS256", b"s" * 32, jti=str(n))
            assert ask(api, "GET", path, bearer(text)).status == (
                200 if n < 5 else 429
            )
        other = token("HS256", b"s" * 32, sub="bob")
        assert ask(api, "GET", path, bearer(other)).status == 200
        assert api.get("/health").status == 200


def test_keys_that_cannot_be_indexed_are_told(servers):
    with Instance(servers, JWT_SECRET="s" * 32) as api, servers.client() as client:
        twins = [{"name": n, "hash": "same"} for n in "ab"]
        api.app.stop()
        client.drop_database(api.database)  # and what the start has made
        client[api.database]["_api_keys"].insert_many(twins)
        api.env |= ON
        api.start_app()
        api.wait_ready()
        wait_until(
            "it is told",
            lambda: any(e["event"] == "auth.not_prepared" for e in api.events()),
        )
        wait_until(
            "what else is stored is made ready all the same",
            lambda: client[api.database]["_leader"].find_one("cron"),
        )


def test_nobody_can_get_in_is_a_warning(servers):
    def warned(api):
        text = " ".join(api.get("/health").json()["warnings"])
        return "sqlfree keys create" in text

    def told(api):
        return [e for e in api.events() if e["event"] == "auth.no_credentials"]

    with Instance(servers, **ON) as api:
        assert warned(api) and len(told(api)) == 1
        new_key(api, "read")
        wait_until("the warning goes", lambda: not warned(api))
        assert len(told(api)) == 1
    with Instance(servers, JWT_SECRET="s" * 32, **ON) as api:
        assert not warned(api) and not told(api)
    with Instance(servers) as api:
        assert not warned(api) and not told(api)
