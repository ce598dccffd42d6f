"""The program sqlfree: who leads, giving that up, and the locks of users."""

import re
import socket
import subprocess
import time
import uuid

import pytest

from cluster import BARE, CLI, Instance, wait_until
from locks import acquire, listing, release, wait_granted
from standstill import took

HOMES = {"redis": {}, "mongo": {"REDIS_URL": "none"}}
STRANGER = "q1w2e3r4t5y6u7i8o9p0a1s2"


@pytest.fixture(scope="module", params=HOMES)
def api(request, servers):
    with Instance(servers, workers=True, **HOMES[request.param]) as instance:
        wait_granted(instance)
        yield instance


@pytest.fixture
def silent():
    """The URI of a MongoDB that accepts and says nothing."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(64)
        yield f"mongodb://127.0.0.1:{s.getsockname()[1]}/"


@pytest.fixture
def key():
    return f"k/{uuid.uuid4().hex[:12]}"


def terms(api) -> dict:
    """service -> words of its line, as `sqlfree leader` prints them."""
    got = api.cli("leader")
    assert got.returncode == 0 and not got.stderr, got.stderr
    head, *lines = got.stdout.splitlines()
    assert head.split() == ["SERVICE", "INSTANCE", "TERM", "SINCE", "LEFT"]
    rows = [line.split() for line in lines]
    return {words[0]: words[1:] for words in rows}


def leads(api, service: str) -> bool:
    return terms(api)[service][0] == api.env["CLUSTER_INSTANCE_ID"]


def test_leader_is_a_line_for_each_service(api):
    wait_until("it leads", lambda: leads(api, "cron") and leads(api, "maintenance"))
    for words in terms(api).values():
        _, term, since, left = words
        assert int(term) >= 1 and re.fullmatch(r"\d{4}-.*T.*Z", since)
        assert re.fullmatch(r"\d+\.\ds", left) and float(left[:-1]) <= 60


def test_resign_gives_up_and_lingers(api):
    wait_until("it leads", lambda: leads(api, "cron"), 60)
    before = int(terms(api)["cron"][1])
    begun = time.monotonic()
    got = api.cli("resign", "--linger", "2s")
    assert got.returncode == 0 and not got.stdout, got.stderr
    assert time.monotonic() - begun >= 2
    assert f"Given up: cron, term {before}." in got.stderr
    words = terms(api)["cron"]
    assert words[:2] == ["-", str(before)] or int(words[1]) > before


def test_stop_hooks_do_not_wait_long_for_mongodb(silent):
    begun = time.monotonic()
    got = subprocess.run(
        [CLI, "resign", "--linger", "1s"],
        env=BARE | {"MONGODB_CONNECTION_STRING": silent, "REDIS_URL": "none"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert got.returncode == 1 and "DB_UNAVAILABLE" in got.stderr
    assert 1 <= time.monotonic() - begun and took(begun) < 12


def test_who_does_not_lead_resigns_at_once(api):
    api.env["CLUSTER_INSTANCE_ID"], own = "nobody", api.env["CLUSTER_INSTANCE_ID"]
    try:
        got = api.cli("resign")
    finally:
        api.env["CLUSTER_INSTANCE_ID"] = own
    assert got.returncode == 0 and got.stderr == "nobody leads nothing.\n"


def test_locks_are_listed_and_released(api, key):
    made = acquire(api, key, ttlMs=60000, owner="Jürgen").json()
    got = api.cli("locks", "list")
    assert got.returncode == 0 and not got.stderr, got.stderr
    (line,) = [row for row in got.stdout.splitlines() if row.startswith(key)]
    assert str(made["fence"]) in line and line.endswith("  Jürgen")
    assert api.env["CLUSTER_INSTANCE_ID"] in line and made["token"] not in got.stdout
    wrong = api.cli("locks", "release", key, "--token", STRANGER)
    assert wrong.returncode == 1 and "LOCK_NOT_HELD" in wrong.stderr
    got = api.cli("locks", "release", key, "--token", made["token"])
    assert (got.returncode, got.stdout, got.stderr) == (0, "", "Released.\n")
    assert key not in listing(api).body.decode()
    again = api.cli("locks", "release", key, "--token", made["token"])
    assert again.returncode == 1 and "LOCK_NOT_FOUND" in again.stderr


def test_owners_do_not_steer_the_terminal(api, key, servers, db):
    """No route takes such an owner; a stranger may have stored it."""
    owner = "\x1b[31mred\x07"
    made = acquire(api, key, ttlMs=60000, owner="plain").json()
    if api.env["REDIS_URL"] == "none":
        rows = db[api.database]["_locks"]
        assert rows.update_one({"_id": key}, {"$set": {"owner": owner}}).modified_count
    else:
        name = f"{api.env['REDIS_KEY_PREFIX']}:l:k:{key}"
        servers.redis_cli("HSET", name, "o", owner)
    got = api.cli("locks", "list")
    assert got.returncode == 0 and "?[31mred?" in got.stdout, got.stderr
    assert "\x1b" not in got.stdout
    assert release(api, key, made["token"]).status == 200


@pytest.mark.parametrize(
    "words, part",
    [
        ("locks", "unknown command locks"),
        ("locks drop a", "unknown command locks drop"),
        ("locks list all", "all"),
        ("locks release", "expected the key"),
        ("locks release .. --token x", "expected the key"),
        ("locks release a", "--token: expected"),
        ("locks release a --token", "--token: expected a value"),
        ("locks release a --token short", "--token: expected"),
        ("leader cron", "cron"),
        ("resign now", "now"),
        ("resign --linger", "--linger: expected a value"),
        ("resign --linger 5", "--linger: expected a span"),
        ("resign --linger 2h", "--linger: expected a span"),
    ],
)
def test_misuse_is_named_and_exits_2(servers, api, words, part):
    got = api.cli(*words.split())
    assert got.returncode == 2 and part in got.stderr and not got.stdout


def test_nobody_leads_a_fresh_database(servers):
    with Instance(servers, web=None) as api:
        for words in terms(api).values():
            assert words == ["-", "0", "-", "-"]
        assert api.cli("resign").returncode == 0
        got = api.cli("locks", "list")
        assert got.returncode == 1 and "UNAVAILABLE" in got.stderr
