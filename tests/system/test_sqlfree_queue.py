"""The program sqlfree: the queue of deliveries and its dead letters."""

import pytest

from cluster import Instance, wait_until
from hooks import LOOPBACK, fire, queue, register, wait_deliveries
from receiver import Receiver


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def api(servers):
    with Instance(servers, workers=True, REDIS_URL="none", **LOOPBACK) as instance:
        yield instance


def figures(api) -> dict:
    got = api.cli("queue", "stats")
    assert got.returncode == 0 and not got.stderr, got.stderr
    head, line = got.stdout.splitlines()
    words = head.replace("OLDEST MS", "OLDEST").split()
    return dict(zip(words, line.split(), strict=True))


def listed(api, *words) -> list[list[str]]:
    got = api.cli("dead-letters", "list", *words)
    assert got.returncode == 0, got.stderr
    head, *lines = got.stdout.splitlines()
    assert head.split() == [
        "DELIVERY", "FAILED", "TRIES", "REPLAYS", "REASON", "EVENT", "COLLECTION",
    ]  # fmt: skip
    return [line.split() for line in lines]


def test_pause_and_resume(api):
    got = api.cli("queue", "pause")
    assert (got.returncode, got.stdout) == (0, "") and "Paused" in got.stderr
    assert figures(api)["PAUSED"] == "yes"
    wait_until("it is seen", lambda: queue(api)["paused"] is True)
    got = api.cli("queue", "resume")
    assert (got.returncode, got.stdout, got.stderr) == (0, "", "Resumed.\n")
    assert figures(api)["PAUSED"] == "no"


def test_what_only_the_index_knows_is_counted(servers, receiver, collection):
    with Instance(servers, workers=True, **LOOPBACK) as api:
        wait_until("it is in use", lambda: queue(api)["mode"] == "cluster")
        limit = {"maxRequestsPerMinute": 1}
        register(api, receiver.url("/ok"), collection, rateLimit=limit)
        fire(api, collection, 3)
        wait_until("one is limited", lambda: figures(api)["LIMITED"] == "1")


def test_dead_letters_are_listed_and_replayed(api, receiver, collection):
    path = f"/{collection}"
    receiver.answer(path, "status/500")
    one = register(api, receiver.url(path), collection)
    fire(api, collection, 3)
    rows = wait_deliveries(api, one, "dead", 3)
    wait_until("they are counted", lambda: figures(api)["DEAD"] == "3")
    lines = listed(api, "--webhook", one)
    assert {line[0] for line in lines} == {row["deliveryId"] for row in rows}
    assert [line[1] for line in lines] == sorted(
        (row["finishedAt"] for row in rows), reverse=True
    )
    for line in lines:
        assert line[2:] == ["1", "0", "exhausted", "create", collection]
    assert listed(api, "--limit", "1") == lines[:1]
    assert listed(api, "--before", "2020-01-01") == []
    receiver.answer(path, "ok")
    got = api.cli("dead-letters", "replay", "--id", lines[0][0])
    assert got.returncode == 0 and got.stdout == ""
    assert got.stderr == "Replayed: 1. Skipped: 0. Remaining: 0.\n"
    wait_deliveries(api, one, "success")
    got = api.cli("dead-letters", "replay", "--webhook", one.upper())
    assert "Replayed: 2." in got.stderr
    wait_deliveries(api, one, "success", 3)
    assert listed(api, "--webhook", one) == []
    assert "Replayed: 0." in api.cli("dead-letters", "replay").stderr


@pytest.mark.parametrize(
    "words, part",
    [
        ("queue", "unknown command queue"),
        ("queue drop", "unknown command queue drop"),
        ("queue pause now", "now"),
        ("queue stats all", "all"),
        ("dead-letters", "unknown command dead-letters"),
        ("dead-letters list --webhook 7", "--webhook: expected"),
        ("dead-letters list --limit 0", "--limit: expected a number from 1 to 100"),
        ("dead-letters list --limit 101", "--limit: expected"),
        ("dead-letters list --limit x", "--limit: expected"),
        ("dead-letters list --before noon", "--before: expected a time"),
        ("dead-letters list --since 2025-09-01", "--since"),
        ("dead-letters replay --since noon", "--since: expected a time"),
        ("dead-letters replay --id 7", "--id: expected the id"),
        ("dead-letters replay --id", "--id: expected a value"),
        ("dead-letters replay --webhook x", "--webhook: expected"),
        ("dead-letters replay all", "all"),
    ],
)
def test_misuse_is_named_and_exits_2(api, words, part):
    got = api.cli(*words.split())
    assert got.returncode == 2 and part in got.stderr and not got.stdout


def test_a_fresh_database_has_an_empty_queue(servers):
    with Instance(servers, web=None) as api, servers.client() as client:
        jobs = client[api.database]["_jobs"]
        wait_until("it is made", lambda: "claim_1" in jobs.index_information())
        got = figures(api)
        assert got.pop("PAUSED") == "no"
        assert set(got.values()) == {"0"}
        assert listed(api) == []
