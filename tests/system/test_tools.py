"""What other tests rely on: the wrong clock, servers that are restarted, whole
trees of processes paused and killed, and checkers, each shown to fail on a
history that is not right."""

import signal
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from bson import Int64, ObjectId

import history
from clock import WrongClock
from cluster import Instance, Process, gone, wait_until
from history import (
    EPOCH,
    History,
    apply_diff,
    check_cluster,
    check_locks,
    check_terms,
    led_share,
    mark,
)
from locks import (
    Hold,
    ProtectedRegister,
    check_fences,
    check_holds,
    check_journal,
)


def redis_is_ahead(own, seconds: int) -> None:
    def ahead() -> bool:
        shown = int(own.redis_cli("TIME").split()[0])
        return abs(shown - time.time() - seconds) < 60

    wait_until(f"Redis' clock is {seconds} s ahead", ahead)


def test_wrong_clock_of_redis(own, tmp_path):
    clock = WrongClock(tmp_path, 3_600_000)
    own.redis_env = clock.env
    own.restart_redis()
    try:
        redis_is_ahead(own, 3600)
        own.redis_cli("SET", "k", "1", "PX", "600000")
        clock.set(-86_400_000)
        redis_is_ahead(own, -86400)
        left = int(own.redis_cli("PTTL", "k"))
        assert left > 86_400_000, "a step back lengthens it"
        clock.set(7_200_000)
        redis_is_ahead(own, 7200)
        wait_until("a step on ends it", lambda: own.redis_cli("PTTL", "k") == "-2\n")
    finally:
        own.redis_env = {}
        own.restart_redis()


def test_wrong_clock_of_an_instance(servers, tmp_path):
    clock = WrongClock(tmp_path)

    def ahead(api) -> float:
        shown = api.get("/health").json()["timestamp"]
        now = time.strptime(shown[:19], "%Y-%m-%dT%H:%M:%S")
        return time.mktime(now) - time.mktime(time.gmtime())

    with Instance(servers, **clock.env) as api:
        assert api.post("/api/db/a", {"_id": "k"}).status == 201
        assert abs(ahead(api)) < 60
        for hours in (1, -1):
            clock.set(hours * 3_600_000)
            wait_until("its clock moved", lambda: abs(ahead(api) - hours * 3600) < 60)
            assert api.get("/api/db/a/k").status == 200


def test_whole_tree_is_paused_and_killed(tmp_path):
    script = "sh -c 'sleep 300 & wait' & wait"
    tree = Process(tmp_path, "tree", ["sh", "-c", script])
    pids = wait_until("three run", lambda: len(p := tree.signal_all(0)) == 3 and p)

    def states() -> set[str]:
        stats = [open(f"/proc/{p}/stat").read() for p in pids]
        return {text.rsplit(")", 1)[1].split()[0] for text in stats}

    tree.pause()
    wait_until("all are stopped", lambda: states() == {"T"})
    tree.cont()
    wait_until("none is", lambda: "T" not in states())
    tree.kill()
    assert all(gone(pid) for pid in pids)
    assert tree.popen.returncode == -signal.SIGKILL


def test_servers_that_restart(own):
    own.redis_cli("SET", "a", "1")
    own.restart_redis(empty=False)
    assert own.redis_cli("GET", "a") == "1\n"
    own.restart_redis(empty=True, kill=True)
    assert own.redis_cli("DBSIZE") == "0\n"
    own.appendonly = True
    own.restart_redis()
    for i in range(100):
        own.redis_cli("SET", f"k{i}", "1")
    own.restart_redis(empty=False, kill=True)
    assert own.redis_cli("DBSIZE") == "100\n"
    own.restart_redis(empty=False, cut=10)
    assert own.redis_cli("DBSIZE") == "99\n"
    own.appendonly = False
    own.restart_redis()


def test_mongodb_that_steps_down_and_is_killed(own):
    def primary(client) -> bool:
        return client.admin.command("hello")["isWritablePrimary"]

    def term(client) -> int:
        return client.admin.command("replSetGetStatus")["term"]

    with own.client() as client:
        client.test.a.insert_one({"_id": 1})
        before = term(client)
        own.stepdown(1)
        wait_until(
            "it is primary again",
            lambda: term(client) > before and primary(client),
            60,
        )
    own.restart_mongod(kill=True)
    with own.client() as client:
        assert primary(client) and client.test.a.find_one(1)


# Histories: real writes, then a thing in them that must not be


HOUR = timedelta(hours=1)


def write_terms(rows) -> None:
    """Two terms as a coordinator writes them: taken, renewed, resigned."""
    rows.insert_one({"_id": "cron", "term": Int64(0), "until": EPOCH})
    for who in ("a", "b"):
        rows.update_one(
            {"_id": "cron", "$expr": {"$lte": ["$until", "$$NOW"]}},
            [
                {
                    "$set": {
                        "term": {"$add": ["$term", 1]},
                        "holder": who,
                        "tok": f"t{who}",
                        "until": {"$add": ["$$NOW", 4000]},
                        "since": "$$NOW",
                    }
                }
            ],
        )
        mine = {"_id": "cron", "tok": f"t{who}"}
        renewal = {"$set": {"until": {"$add": ["$$NOW", 4000]}}}
        time.sleep(0.05)
        rows.update_one(mine, [renewal])
        rows.update_one(mine, {"$set": {"ask": {"what": "resign", "id": 1}}})
        resignation = {"$set": {"until": EPOCH}, "$unset": {"ask": 1}}
        rows.update_one(mine, resignation)


@pytest.fixture(scope="module")
def terms(servers):
    name = f"h{ObjectId()}"
    with servers.client() as client:
        write_terms(client[name]["_leader"])
        found = History(servers, name).terms()
        client.drop_database(name)
    return found


def test_terms_are_read_from_the_oplog(terms):
    seen = [(t.term, t.holder, t.until > EPOCH) for t in terms]
    assert seen == [
        (0, "", False),
        *[(1, "a", True)] * 3,
        (1, "a", False),
        *[(2, "b", True)] * 3,
        (2, "b", False),
    ]
    check_terms(terms)
    assert led_share(terms, terms[1].wall, terms[4].wall) == 1
    assert led_share(terms, terms[0].wall - HOUR, terms[1].wall) == 0


@pytest.mark.parametrize(
    "place, change, words",
    [
        (6, {"term": 1}, "one by one"),
        (6, {"term": 4}, "one by one"),
        (2, {"holder": "c"}, "two holders"),
        (2, {"tok": "tc"}, "two toks"),
        (5, {"tok": "ta"}, "in two terms"),
        (5, {"holder": ""}, "of nobody"),
        (5, {"since": EPOCH - HOUR}, "overlap"),
    ],
)
def test_check_of_terms_fails(terms, place, change, words):
    wrong = list(terms)
    wrong[place] = replace(wrong[place], **change)
    with pytest.raises(AssertionError, match=words):
        check_terms(wrong)


def test_term_that_begins_before_the_last_ended(terms):
    with pytest.raises(AssertionError, match="overlap"):
        check_terms([t for t in terms if t is not terms[4]])


def test_history_follows_all_kinds_of_writes(servers, collection):
    """Long documents, for short ones are written anew instead of by diff."""
    name = f"h{ObjectId()}"
    with servers.client() as client:
        rows = client[name][collection]
        rows.insert_one({"_id": 1, "pad": "x" * 500, "in": {"a": 1, "b": [1]}})
        rows.insert_one({"_id": 2, "n": 1})
        begin = mark(servers)
        rows.update_one({"_id": 1}, {"$set": {"in.a": 2, "in.b.2": 3, "c": 1}})
        rows.update_one({"_id": 1}, {"$unset": {"c": 1, "in.a": 1}})
        rows.update_one({"_id": 1}, {"$pop": {"in.b": 1}})
        rows.update_one({"_id": 1}, [{"$set": {"in.d": {"e": "$pad"}}}])
        rows.replace_one({"_id": 2}, {"n": 2})
        with client.start_session() as s, s.start_transaction():
            rows.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=s)
            rows.insert_one({"_id": 3}, session=s)
        rows.delete_one({"_id": 2})
        wanted = rows.find_one({"_id": 1})
        found = History(servers, name, begin, [collection])
        whole = History(servers, name, None, [collection])
        client.drop_database(name)
    changes = found.changes(collection)
    assert [c.doc for c in changes if c.id == 1][-1] == wanted
    assert [c.doc for c in changes if c.id == 2] == [{"_id": 2, "n": 2}, None]
    assert [c.doc for c in changes if c.id == 3] == [{"_id": 3}]
    assert len(whole.all) == len(found.all) + 2
    assert len({c.ts for c in whole.all}) >= 8


def test_diff_of_arrays():
    diff = {"sa": {"a": True, "l": 2, "u0": 9, "s1": {"i": {"y": 2}}}}
    old = {"a": [1, {"x": 1}, 3]}
    assert apply_diff(old, diff) == {"a": [9, {"x": 1, "y": 2}]}
    assert old == {"a": [1, {"x": 1}, 3]}


def lock_history(*rows) -> list:
    """(name, token, fence, at, until, data set) in seconds."""
    return [
        history.Change(
            None,
            EPOCH,
            "_locks",
            name,
            {
                "tok": tok,
                "fence": fence,
                "at": EPOCH + timedelta(seconds=at),
                "until": EPOCH + timedelta(seconds=until),
                "ds": ds,
            },
        )
        for name, tok, fence, at, until, ds in rows
    ]


def test_check_of_locks():
    first = ("k", "t1", 5, 10, 20, "d")
    renewed = ("k", "t1", 5, 10, 30, "d")
    check_locks(
        lock_history(
            first,
            renewed,
            ("other", "t2", 4, 12, 20, "d"),
            ("k", "t3", 7, 30, 40, "d"),
            ("k", "t3", 7, 30, 0, "d"),
            ("k", "t4", 8, 31, 41, "d"),
            ("k", "t5", 9, 32, 41, "another data set"),
            ("k", "", 9, 32, 0, "another data set"),
            ("k", "t6", 10, 33, 41, "another data set"),
        )
    )
    for second, words in (
        (("k", "t2", 7, 29, 40, "d"), "held lock was granted"),
        (("k", "t2", 4, 31, 40, "d"), "must grow"),
        (("k", "t2", 5, 31, 40, "d"), "given twice"),
        (("other", "t2", 5, 31, 40, "d"), "given twice"),
        (("k", "t1", 6, 31, 40, "d"), "changed under"),
        (("k", "", 6, 31, 40, "d"), "changed under"),
    ):
        with pytest.raises(AssertionError, match=words):
            check_locks(lock_history(first, renewed, second))


def test_check_of_the_cluster_rows():
    def changes(*rows) -> list:
        return [
            history.Change(None, EPOCH, "_cluster", doc["_id"], doc) for doc in rows
        ]

    def data(term: int, dataset: str) -> dict:
        return {"_id": "redis", "term": term, "dataset": dataset}

    def fence(v: int) -> dict:
        return {"_id": "fence", "v": v}

    right = [data(0, ""), fence(0), data(1, "d1"), fence(9), data(1, "d2")]
    check_cluster(changes(*right))
    for wrong in (data(0, "d3"), data(2, "d1"), fence(8)):
        with pytest.raises(AssertionError):
            check_cluster(changes(*right, wrong))


def hold(fence: int, asked: float, end: float, key: str = "k") -> Hold:
    return Hold(key, fence, asked, asked + 0.1, end)


def test_check_of_holds():
    right = [hold(1, 0, 1), hold(2, 1, 2), hold(3, 1.5, 2, "other")]
    right += [hold(4, 1.6, 1.65)]  # its time was over before the reply came
    check_holds(right)
    check_fences(right)
    with pytest.raises(AssertionError, match="overlap"):
        check_holds([hold(2, 1, 2), hold(1, 0, 1.2)])


def test_check_of_fences():
    check_fences([hold(2, 0, 1), hold(1, 0.05, 1, "at the same time")])
    with pytest.raises(AssertionError, match="must grow"):
        check_fences([hold(2, 0, 1), hold(1, 0.2, 1, "asked for later")])
    with pytest.raises(AssertionError, match="twice"):
        check_fences([hold(2, 0, 1), hold(2, 2, 3)])


def test_protected_register(servers, db, collection):
    rows = db.registers[collection]
    one, two = ProtectedRegister(rows), ProtectedRegister(rows)
    assert one.write(5, "a", "one") and two.write(6, "b", "two")
    assert not one.write(5, "late", "one") and one.refused == 1
    assert two.write(6, "c", "two") and two.read() == "c"
    journal = one.journal()
    rows.drop()
    assert [e["value"] for e in journal] == ["a", "b", "c"]
    check_journal(journal)
    with pytest.raises(AssertionError, match="applied after"):
        check_journal(journal[::-1])
    with pytest.raises(AssertionError, match="two writers"):
        check_journal([*journal, {**journal[-1], "by": "one"}])
