"""Locks over HTTP, in both homes: their life, what is refused, waiting, and
what is left of them when their home is away."""

import concurrent.futures
import contextlib
import json
import re
import signal
import threading
import time
import uuid
from datetime import datetime
from urllib.parse import quote

import pytest

import fastcgi
from access import bearer, new_key
from cluster import Instance, wait_until
from clusters import Cluster
from locks import PATH, acquire, cleanup, listing, release, renew, wait_granted
from proxy import Proxy
from standstill import took

HOMES = {"redis": {}, "mongo": {"REDIS_URL": "none"}}
TOKEN = re.compile(r"[0-9A-Za-z]{24}")
STRANGER = "q1w2e3r4t5y6u7i8o9p0a1s2"
WAITERS = 2  # of 8 threads
LONG = 60000  # ms: longer than any test


@pytest.fixture(scope="module", params=HOMES)
def api(request, servers):
    settings = HOMES[request.param]
    with Instance(servers, workers=True, FCGI_THREADS=8, **settings) as instance:
        wait_granted(instance)
        yield instance


@pytest.fixture
def key():
    return f"k{uuid.uuid4().hex[:12]}"


def taken(api, key: str, **body) -> dict:
    reply = acquire(api, key, **body)
    assert reply.status == 201, reply.body
    return reply.json()


def told(reply) -> tuple[int, str]:
    return reply.status, reply.code()


def row(api, key: str) -> dict | None:
    reply = listing(api)
    assert reply.status == 200, reply.body
    assert reply.json()["count"] == len(reply.json()["locks"])
    rows = [r for r in reply.json()["locks"] if r["key"] == key]
    assert len(rows) <= 1
    return rows[0] if rows else None


def at(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_life(api, key):
    reply = acquire(api, key, ttlMs=LONG, owner="Jürgen's job")
    assert reply.status == 201, reply.body
    assert reply.headers["Cache-Control"] == "no-store"
    got = reply.json()
    assert TOKEN.fullmatch(got["token"]) and 0 < got["fence"] < 2**53
    life = at(got["expiresAt"]) - at(got["timestamp"])
    assert abs(life.total_seconds() * 1000 - LONG) < 5000
    shown = row(api, key)
    assert shown["instanceId"] == api.env["CLUSTER_INSTANCE_ID"]
    assert shown["owner"] == "Jürgen's job" and shown["isOwned"] is True
    assert shown["fence"] == got["fence"] and 0 < shown["ttl"] <= LONG
    assert "token" not in shown and got["token"] not in listing(api).body.decode()

    held = acquire(api, key)
    assert told(held) == (409, "LOCK_HELD")
    who = held.json()["holder"]
    assert who["owner"] == "Jürgen's job"
    assert who["instanceId"] == api.env["CLUSTER_INSTANCE_ID"]
    left = held.json()["retryAfterMs"]
    assert 0 < left <= LONG
    assert int(held.headers["Retry-After"]) == -(-left // 1000)

    renewed = renew(api, key, got["token"], 2 * LONG)
    assert renewed.status == 200, renewed.body
    assert renewed.json()["fence"] == got["fence"]
    assert row(api, key)["ttl"] > LONG
    assert release(api, key, got["token"]).json()["released"] is True
    assert row(api, key) is None
    assert told(release(api, key, got["token"])) == (404, "LOCK_NOT_FOUND")
    assert told(renew(api, key, got["token"], LONG)) == (404, "LOCK_NOT_FOUND")
    assert taken(api, key)["fence"] > got["fence"]


def test_lock_that_ended_is_never_revived(api, key):
    got = taken(api, key, ttlMs=100)
    wait_until("it has ended", lambda: row(api, key) is None)
    assert told(renew(api, key, got["token"], LONG)) == (404, "LOCK_NOT_FOUND")
    assert told(release(api, key, got["token"])) == (404, "LOCK_NOT_FOUND")
    assert row(api, key) is None
    again = taken(api, key, ttlMs=LONG)
    assert again["fence"] > got["fence"] and again["token"] != got["token"]
    assert told(renew(api, key, got["token"], 100)) == (409, "LOCK_NOT_HELD")
    assert row(api, key)["ttl"] > 100


def test_stranger_changes_nothing(api, key):
    got = taken(api, key, ttlMs=LONG)
    before = row(api, key)
    tokens = [STRANGER, got["token"][:-1], got["token"] + "x", "-", "a" * 5000]
    tokens += [got["token"].swapcase(), got["token"] + "\0", "ü" * 12]
    for token in tokens:
        assert told(renew(api, key, token, 100)) == (409, "LOCK_NOT_HELD"), token
        assert told(release(api, key, token)) == (409, "LOCK_NOT_HELD"), token
    after = row(api, key)
    assert before["ttl"] - 30000 < after.pop("ttl") <= before.pop("ttl")
    assert after == before
    assert release(api, key, got["token"]).status == 200


def test_defaults_are_those_of_the_settings(api, key):
    got = taken(api, key)
    assert got["ttlMs"] == 30000 and got["owner"] is None
    assert row(api, key)["owner"] is None
    assert acquire(api, key).json()["holder"]["owner"] is None
    assert taken(api, key + "x", owner=None, ttlMs=None, waitMs=None)["owner"] is None


GOOD_KEYS = ["a", "a/b:c@d.e-f_g", "x" * 200, "..a", "0"]
GOOD_KEYS += ["A" * 100 + "/" + "b" * 99, "a//b", "/a", "a/", "a/../b"]
BAD_KEYS = ["", "x" * 201, "x" * 1024, "a b", "ü", "a\0b", "a\nb", "*", ".", ".."]
BAD_KEYS += [None, 7, [], {}, True]
BAD_NUMBERS = [99, 3600001, 0, -1, 1.5, "1000", True, [], {}, 1e300, 2**63, -(2**63)]


@pytest.mark.parametrize("name", GOOD_KEYS, ids=range(len(GOOD_KEYS)))
def test_name_is_good(api, name):
    got = taken(api, name, ttlMs=LONG)
    assert row(api, name)["fence"] == got["fence"]
    assert renew(api, name, got["token"], LONG).json()["key"] == name
    assert release(api, name, got["token"]).json()["key"] == name


def wrong_fields(reply) -> list[str]:
    assert told(reply) == (400, "VALIDATION_ERROR"), reply.body
    assert at(reply.json()["timestamp"])
    return [d["field"] for d in reply.json()["details"]]


def test_bad_input_is_refused_and_changes_nothing(api, key):
    for name in BAD_KEYS:
        assert wrong_fields(acquire(api, name)) == ["key"], name
    for number in BAD_NUMBERS:
        assert wrong_fields(acquire(api, key, ttlMs=number)) == ["ttlMs"], number
    for number in (-1, 30001, 0.5, "0", [], 2**64):
        assert wrong_fields(acquire(api, key, waitMs=number)) == ["waitMs"], number
    for owner in (7, [], {}, "a\nb", "a\x7fb", "a\0b", "x" * 257):
        assert wrong_fields(acquire(api, key, owner=owner)) == ["owner"], owner
    assert wrong_fields(api.post(PATH, {})) == ["key"]
    assert told(api.post(PATH, [key])) == (400, "VALIDATION_ERROR")
    assert told(api.post(PATH, key)) == (400, "BAD_JSON")
    assert row(api, key) is None

    got = taken(api, key, ttlMs=LONG)
    target, token = f"{PATH}/{key}", got["token"]
    for number in [*BAD_NUMBERS, None]:
        assert wrong_fields(renew(api, key, token, number)) == ["ttlMs"], number
    for other in ("", None, 7, [token], {"a": token}):
        assert wrong_fields(renew(api, key, other, 1000)) == ["token"], other
        assert wrong_fields(release(api, key, other)) == ["token"], other
    assert wrong_fields(api.send("PUT", target, {})) == ["token", "ttlMs"]
    assert wrong_fields(api.request("DELETE", target)) == ["token"]
    assert wrong_fields(api.request("DELETE", f"{target}?token=")) == ["token"]
    for name in ("x" * 201, "x" * 1024, "a b", "ü"):
        assert wrong_fields(renew(api, name, token, 1000)) == ["key"], name
        assert wrong_fields(release(api, name, token)) == ["key"], name
    shown = row(api, key)
    assert shown["fence"] == got["fence"] and shown["ttl"] > 1000
    assert release(api, key, token).status == 200


def test_methods_are_told(api):
    reply = api.request("PATCH", PATH)
    assert told(reply) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert api.request("HEAD", PATH).status == 200
    assert at(reply.json()["timestamp"])


def test_token_is_in_no_log(api, key):
    seen, secrets = [], []
    for form in ("body", "query", "wrong"):
        token = taken(api, key)["token"]
        secrets.append(token)
        if form == "wrong":
            seen.append(renew(api, key, token, 1).body.decode())
            seen.append(api.request("DELETE", f"{PATH}/nope?token={token}").body.decode())
        if form == "body":
            assert release(api, key, token).status == 200
        else:
            target = f"{PATH}/{key}?token={token}"
            headers = [("Referer", f"http://x.example{target}")]
            reply = api.request("DELETE", target, headers)
            assert reply.status == 200, reply.body
            seen.append(reply.body.decode())
    last = f"/health/{uuid.uuid4().hex}"
    api.get(last)
    wait_until("the log is written", lambda: last in api.app.out.read_text())
    for process in (api.app, api.web, api.workers):
        seen += [process.out.read_text(), process.err.read_text()]
    assert key in "".join(seen)
    for secret in secrets:
        assert not any(secret in text for text in seen)


def test_many_locks_are_listed_whole(api, key):
    n = 300
    made = {f"{key}/{i}" for i in range(n)}
    with contextlib.closing(api.connect()) as on:
        for name in made:
            assert acquire(api, name, on=on, ttlMs=LONG).status == 201
    rows = listing(api).json()["locks"]
    assert made <= {r["key"] for r in rows}
    assert len({r["fence"] for r in rows}) == len(rows)


def test_entries_without_a_lock_are_cleaned_up(api, servers, db, key):
    if api.env["REDIS_URL"] == "none":
        old = datetime(2020, 1, 1)
        entry = {"_id": key, "tok": STRANGER, "inst": "x", "fence": 1, "until": old}
        db[api.database]["_locks"].insert_one(entry)
    else:
        index = f"{api.env['REDIS_KEY_PREFIX']}:l:idx"
        servers.redis_cli("ZADD", index, str(2**42), key)
    reply = cleanup(api)
    assert reply.status == 200 and reply.json()["cleaned"] >= 1, reply.body
    if api.env["REDIS_URL"] == "none":
        assert db[api.database]["_locks"].find_one(key) is None
    else:
        assert servers.redis_cli("ZSCORE", index, key).strip() == ""
    assert row(api, key) is None


# ---- waiting


class Waiter(threading.Thread):
    """One who waits for a lock on a connection of its own; when refused at
    once, as others wait already, it asks again."""

    def __init__(self, api: Instance, key: str, ms: int) -> None:
        super().__init__(daemon=True)
        self.on = api.connect(60)
        self.key, self.ms, self.api = key, ms, api
        self.begun = time.monotonic()
        self.reply = self.took = None
        self.gone = False
        self.start()

    def run(self) -> None:
        end = self.begun + self.ms / 1000
        while not self.gone:
            left = int((end - time.monotonic()) * 1000)
            try:
                body = {"ttlMs": LONG, "waitMs": max(left, 0)}
                self.reply = acquire(self.api, self.key, self.on, **body)
            except OSError:
                break
            if self.reply.status != 409 or time.monotonic() > end:
                break
            time.sleep(0.01)
        self.took = time.monotonic() - self.begun

    def leave(self) -> None:
        self.gone = True
        self.on.sock.shutdown(2)
        self.on.close()


def waits(api, key: str) -> bool:
    """A waiter is taken: its LOCK_HELD does not come at once. Who asks has
    taken a place of those who wait, and leaves them the time to have it back."""
    begun = time.monotonic()
    assert told(acquire(api, key, waitMs=1000)) == (409, "LOCK_HELD")
    waited = time.monotonic() - begun > 0.9
    if waited:
        time.sleep(0.5)
    return waited


def none_is_left(api, key: str) -> bool:
    """All places are taken, by others: those get their turn first."""
    time.sleep(0.3)
    return not waits(api, key)


def test_waiter_gets_what_is_released(api, key):
    token = taken(api, key, ttlMs=LONG)["token"]
    waiter = Waiter(api, key, 30000)
    with pytest.raises(AssertionError):
        wait_until("it has an answer", lambda: waiter.took, 1)
    assert release(api, key, token).status == 200
    waiter.join(20)
    assert waiter.reply and waiter.reply.status == 201
    assert waiter.took < 15, "it does not sleep through"


def test_waiter_gets_what_ends(api, key):
    first = taken(api, key, ttlMs=1500)
    waiter = Waiter(api, key, 30000)
    waiter.join(25)
    assert waiter.reply and waiter.reply.status == 201
    assert waiter.took < 20
    assert waiter.reply.json()["fence"] > first["fence"]


def test_wait_ends_with_its_time(api, key):
    taken(api, key, ttlMs=LONG)
    waiter = Waiter(api, key, 1000)
    waiter.join(20)
    assert told(waiter.reply) == (409, "LOCK_HELD")
    assert 0.9 < waiter.took < 10
    assert waiter.reply.json()["retryAfterMs"] > 0


def test_wait_ends_with_the_request(servers, key):
    settings = {"REQUEST_TIMEOUT_MS": 2000, "REDIS_URL": "none"}
    with Instance(servers, workers=True, **settings) as api:
        wait_granted(api)
        taken(api, key, ttlMs=LONG)
        begun = time.monotonic()
        assert told(acquire(api, key, waitMs=30000)) == (409, "LOCK_HELD")
        assert 1 < time.monotonic() - begun < 10


def test_waiters_are_a_quarter_and_the_others_are_served(api, key):
    token = taken(api, key, ttlMs=LONG)["token"]
    waiters = [Waiter(api, key, 30000) for _ in range(WAITERS)]
    wait_until("no more wait", lambda: none_is_left(api, key))
    for _ in range(50):
        assert told(acquire(api, key, waitMs=30000)) == (409, "LOCK_HELD")
        assert api.get("/api/db/none").status == 404
    assert took(waiters[0].begun) < 25, "none of them waited"
    assert all(w.took is None for w in waiters)
    # who need not wait gets a lock whatever others do
    assert taken(api, key + "/free", waitMs=30000)
    while waiters:
        assert release(api, key, token).status == 200
        wait_until("one has it", lambda: any(w.took for w in waiters))
        (first,) = [w for w in waiters if w.took]
        assert first.reply.status == 201
        token = first.reply.json()["token"]
        waiters.remove(first)


def test_waiter_is_never_in_the_way_of_the_release(servers, key):
    with Instance(servers, workers=True, FCGI_THREADS=2, REDIS_URL="none") as api:
        wait_granted(api)
        token = taken(api, key, ttlMs=LONG)["token"]
        waiter = Waiter(api, key, 20000)
        time.sleep(0.5)  # it is there, or has its answer
        assert release(api, key, token).status == 200
        waiter.join()
        assert waiter.reply.status in (201, 409)


def test_client_that_goes_away_waits_no_longer(api, key):
    token = taken(api, key, ttlMs=LONG)["token"]
    waiters = [Waiter(api, key, 30000) for _ in range(WAITERS)]
    wait_until("no more wait", lambda: none_is_left(api, key))
    for waiter in waiters:
        waiter.leave()
    wait_until("their places are free", lambda: waits(api, key), 15)
    assert took(waiters[0].begun) < 28
    assert release(api, key, token).status == 200
    assert acquire(api, key).status == 201, "it was granted to nobody"


def test_web_server_that_aborts_is_waited_for_no_longer(api, key):
    """Its connection lives on; nobody wants the answer."""
    taken(api, key, ttlMs=LONG)
    body = json.dumps({"key": key, "waitMs": 30000}).encode()
    begun = time.monotonic()
    with fastcgi.Client(api.socket) as c:
        c.send(fastcgi.request(fastcgi.params_of("POST", PATH), body, keep=True))
        c.s.settimeout(1)
        with pytest.raises(TimeoutError):
            c.s.recv(1)
        c.s.settimeout(60)
        c.send(fastcgi.record(fastcgi.ABORT))
        assert not c.answer().ended
    assert took(begun) < 20


def test_waiters_do_not_hold_up_the_end(servers, key):
    with Instance(servers, workers=True, REDIS_URL="none") as api:
        wait_granted(api)
        taken(api, key, ttlMs=LONG)
        waiter = Waiter(api, key, 30000)
        with pytest.raises(AssertionError):
            wait_until("it has an answer", lambda: waiter.took, 1)
        waiter.gone = True  # after this answer
        begun = time.monotonic()
        assert api.app.stop() == 0
        assert took(begun) < 15
        waiter.join(20)
        assert told(waiter.reply) == (409, "LOCK_HELD")


def test_contenders_hold_it_one_after_the_other(api, key):
    """Ten clients, fifty turns: each turn reads and writes one cell."""
    cell = []

    def turn(_) -> int:
        with contextlib.closing(api.connect()) as on:
            while True:
                reply = acquire(api, key, on, ttlMs=LONG, waitMs=5000)
                if reply.status == 201:
                    break
                assert told(reply) == (409, "LOCK_HELD")
                time.sleep(0.02)
            got = reply.json()
            seen = len(cell)
            time.sleep(0.002)
            assert len(cell) == seen
            cell.append(got["fence"])
            assert release(api, key, got["token"], on).status == 200
            return got["fence"]

    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        fences = list(threads.map(turn, range(50)))
    assert cell == sorted(cell) and sorted(fences) == cell
    assert len(set(cell)) == 50


# ---- more than one instance, and access


@pytest.mark.parametrize("home", HOMES)
def test_instances_share_their_locks(servers, key, home):
    with Cluster(servers, 2, **HOMES[home]) as cluster:
        a, b = cluster["a"], cluster["b"]
        for instance in cluster:
            wait_granted(instance)
        got = taken(a, key, ttlMs=LONG)
        assert row(a, key)["isOwned"] is True
        seen = row(b, key)
        assert seen["isOwned"] is False and seen["instanceId"] == "a"
        held = acquire(b, key)
        assert told(held) == (409, "LOCK_HELD")
        assert held.json()["holder"]["instanceId"] == "a"
        # it is the token that counts, not the way
        assert renew(b, key, got["token"], LONG).json()["fence"] == got["fence"]
        assert release(b, key, got["token"]).status == 200
        assert taken(b, key)["fence"] > got["fence"]


def five(api, key: str, headers=()) -> list:
    """Each of the five routes once."""
    more = [("Content-Type", "application/json")]
    body = json.dumps({"key": key, "token": STRANGER, "ttlMs": 1000}).encode()
    lock = f"{PATH}/{quote(key, safe='')}"
    return [
        api.request("GET", PATH, headers),
        api.request("POST", PATH, [*headers, *more], body),
        api.request("PUT", lock, [*headers, *more], body),
        api.request("DELETE", lock, [*headers, *more], body),
        api.request("POST", f"{PATH}/cleanup", headers),
    ]


def test_roles(servers, key):
    with Instance(servers, workers=True, AUTH_ENABLED="true", REDIS_URL="none") as api:
        keys = {role: new_key(api, role) for role in ("read", "write", "admin")}
        admin = bearer(keys["admin"])
        wait_until(
            "locks can be had", lambda: api.get(PATH, headers=admin).status == 200
        )
        assert [r.status for r in five(api, key)] == [401] * 5
        for role in ("read", "write"):
            got = [told(r) for r in five(api, key, bearer(keys[role]))[1:]]
            assert got == [(403, "FORBIDDEN")] * 4
            assert api.get(PATH, headers=bearer(keys[role])).status == 200
        statuses = [r.status for r in five(api, key, admin)]
        assert statuses == [200, 201, 409, 409, 200]


# ---- the home away


def unavailable(api, key: str, code: str) -> bool:
    """All five routes refuse, each within a second; here three are allowed."""
    for _ in range(5):
        begun = time.monotonic()
        for reply in five(api, key):
            seconds, begun = took(begun), time.monotonic()
            if told(reply) != (503, code):
                return False
            assert reply.headers["Retry-After"] == "5"
            assert at(reply.json()["timestamp"])
            assert seconds < 3
    return True


@pytest.fixture
def mine(own):
    with Instance(own, workers=True) as instance:
        wait_granted(instance)
        yield instance


def test_long_list_of_a_slow_redis_ends_in_time(own, key):
    """Each page comes in time, all of them do not."""
    with Proxy(own.redis_path) as proxy:
        with Instance(own, workers=True, REDIS_URL=proxy.redis_url) as slow:
            wait_granted(slow)
            with contextlib.closing(slow.connect()) as on:
                for i in range(4000):
                    reply = acquire(slow, f"{key}/{i}", on=on, ttlMs=60 * LONG)
                    assert reply.status == 201
                proxy.delay(150)
                begun = time.monotonic()
                reply = listing(slow, on=on)
                assert took(begun) < 5, "20 pages take 6 s"
                assert told(reply) == (503, "REDIS_UNAVAILABLE")
                proxy.delay(0)
                wait_granted(slow)


def test_redis_away_means_no_locks(own, mine, key):
    before = taken(mine, key, ttlMs=LONG)
    own.redis.signal(signal.SIGKILL)
    own.redis.popen.wait()
    try:
        wait_until(
            "no route works", lambda: unavailable(mine, key, "REDIS_UNAVAILABLE")
        )
        assert mine.get("/api/db/none").status == 404
        with own.client() as client:
            assert client[mine.database]["_locks"].count_documents({}) == 0
    finally:
        own.start_redis()
    # it came back empty: granted again, and the greater fence counts
    wait_granted(mine)
    assert taken(mine, key)["fence"] > before["fence"]


def test_redis_that_hangs_means_no_locks(own, mine, key):
    got = taken(mine, key, ttlMs=LONG)
    own.redis.signal(signal.SIGSTOP)
    try:
        wait_until(
            "no route works", lambda: unavailable(mine, key, "REDIS_UNAVAILABLE")
        )
    finally:
        own.redis.signal(signal.SIGCONT)
    # it kept its data
    wait_granted(mine)
    assert row(mine, key)["fence"] == got["fence"]
    assert release(mine, key, got["token"]).status == 200


def test_fences_grow_over_the_loss_of_all_data(own, mine, key):
    last = 0
    for _ in range(3):
        got = taken(mine, key, ttlMs=LONG)
        assert got["fence"] > last
        last = got["fence"]
        own.redis_cli("FLUSHALL")
        wait_until("it is not there", lambda: renew_says(mine, key, got) != 200)
        wait_granted(mine)
        assert told(release(mine, key, got["token"])) == (404, "LOCK_NOT_FOUND")


def renew_says(api, key: str, got: dict) -> int:
    return renew(api, key, got["token"], LONG).status


def test_scripts_forgotten_by_redis_are_sent_again(own, mine, key):
    got = taken(mine, key, ttlMs=LONG)
    own.redis_cli("SCRIPT", "FLUSH")
    assert renew(mine, key, got["token"], LONG).status == 200
    own.redis_cli("SCRIPT", "FLUSH")
    assert release(mine, key, got["token"]).status == 200
    own.redis_cli("SCRIPT", "FLUSH")
    assert acquire(mine, key).status == 201


@pytest.mark.parametrize("home", HOMES)
def test_mongodb_that_hangs_holds_nobody_for_long(own, key, home):
    with Instance(own, workers=True, AUTH_ENABLED="true", **HOMES[home]) as api:
        admin = bearer(new_key(api, "admin"))
        wait_until(
            "locks can be had", lambda: api.get(PATH, headers=admin).status == 200
        )
        own.mongod.signal(signal.SIGSTOP)
        try:
            end = time.monotonic() + 6
            seen = set()
            while time.monotonic() < end:
                begun = time.monotonic()
                reply = api.get(PATH, headers=admin)
                assert took(begun) < 6, "about 2 s at most"
                seen.add(reply.status)
                time.sleep(0.2)
            assert 503 in seen
        finally:
            own.mongod.signal(signal.SIGCONT)
        wait_until(
            "locks can be had again",
            lambda: api.get(PATH, headers=admin).status == 200,
            60,
        )
