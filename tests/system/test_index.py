"""The checkers of index.py can fail."""

from copy import deepcopy

import pytest

from index import Index, check_complete, check_index, check_index_empty, read_index
from paths import check_path


def job(m: str = "w", g: str = "w") -> dict:
    return {"g": g, "m": m, "sc": "1", "o": "1"}


def whole() -> Index:
    """Of w one waits, one is delayed, one runs; of the ordered o a group is in
    turn, another is held by what runs; of h all is held, and f is at its cap."""
    index = Index(meta={"cap": "2"})
    index.jobs = {"w1": job(), "w2": job(), "w3": job(), "o1": job("o", "o:1")}
    index.jobs |= {"o2": job("o", "o:2"), "o3": job("o", "o:2"), "h1": job("h", "h")}
    index.jobs |= {f"f{i}": job("f", "f") for i in range(3)}
    index.waiting = {"w": {"w1": "1"}, "o:1": {"o1": "1"}, "o:2": {"o3": "1"}}
    index.waiting |= {"h": {"h1": "1"}, "f": {"f2": "1"}}
    index.eligible = {"o": {"o:1": "1"}}
    index.delayed = {"w2": "9"}
    index.active = {"w3": "9", "o2": "9", "f0": "9", "f1": "9"}
    index.hold = {"go:2": "9", "lh": "9"}
    index.ready = {"w": "1", "o": "1"}
    index.subscribers = {"w": {"n": "1"}, "o": {"n": "1"}, "f": {"n": "2"}}
    return index


def test_a_good_index_is_good():
    check_index(whole())
    check_complete(whole(), [{"_id": "w1"}, {"_id": "f0"}])
    check_index_empty(Index(hold={"lh": "1"}, subscribers={"w": {"n": "0"}}))


@pytest.mark.parametrize(
    "harm",
    [
        lambda i: i.jobs.update(x=job()),  # nowhere
        lambda i: i.delayed.update(w1="1"),  # twice
        lambda i: i.active.update(x="1"),  # no job
        lambda i: i.waiting["w"].update(x="1"),
        lambda i: i.waiting.update(x=i.waiting.pop("w")),  # of another group
        lambda i: i.eligible.clear(),
        lambda i: i.eligible["o"].update({"o:2": "1"}),  # held
        lambda i: i.hold.pop("go:2"),
        lambda i: i.eligible.update(x={"x:1": "1"}),
        lambda i: i.ready.pop("w"),
        lambda i: i.ready.update(h="1"),  # held
        lambda i: i.ready.update(f="1"),  # at its cap
        lambda i: i.ready.update(x="1"),  # of nothing
        lambda i: i.hold.pop("lh"),
        lambda i: i.subscribers["w"].update(n="2"),
        lambda i: i.subscribers.pop("f"),
        lambda i: i.subscribers.update(x={"n": "1"}),
        lambda i: i.meta.update(cap="3"),
        lambda i: i.subscribers["w"].update(pc="1"),  # its breaker is open
    ],
)
def test_a_bad_index_is_seen(harm):
    index = whole()
    harm(index)
    with pytest.raises(AssertionError):
        check_index(index)


@pytest.mark.parametrize(
    "harm",
    [
        lambda i: i.jobs.update(x=job()),
        lambda i: i.waiting.update(w={"x": "1"}),
        lambda i: i.active.update(x="1"),
        lambda i: i.delayed.update(x="1"),
        lambda i: i.ready.update(w="1"),
        lambda i: i.eligible.update(o={"o:1": "1"}),
        lambda i: i.hold.update(gx="1"),
        lambda i: i.subscribers.update(w={"n": "1"}),
    ],
)
def test_what_is_left_in_the_index_is_seen(harm):
    index = Index()
    harm(index)
    with pytest.raises(AssertionError):
        check_index_empty(index)


def test_what_is_not_known_is_seen():
    with pytest.raises(AssertionError):
        check_complete(whole(), [{"_id": "w1"}, {"_id": "x"}])


def test_it_is_read_as_it_is(servers):
    """Kinds that are none of ours are not ours."""
    top = "readme:q:webhook"
    cli = servers.redis_cli
    cli("HSET", f"{top}:j:a:b", "g", "w", "m", "w")
    cli("ZADD", f"{top}:w:w", "1.5", "a:b")
    cli("ZADD", f"{top}:dly", "2", "c")
    cli("SET", f"{top}:act", "x")
    cli("HSET", f"{top}:meta", "cap", "2")
    index = read_index(servers, "readme")
    want = deepcopy(index)
    want.jobs, want.waiting = {"a:b": {"g": "w", "m": "w"}}, {"w": {"a:b": "1.5"}}
    want.delayed, want.active, want.meta = {"c": "2"}, {}, {"cap": "2"}
    assert index == want
    assert read_index(servers, "nobody") == Index()


def test_another_path_is_seen(servers):
    with servers.client() as client:
        db = client["pathless"]
        check_path(servers, db, "redis")
        check_path(servers, db, "mongodb")
        db["_jobs"].insert_one({"starts": 1, "enq": "x"})
        for path in ("redis", "mongodb"):  # not in the index; known to one
            with pytest.raises(AssertionError):
                check_path(servers, db, path)
        servers.redis_cli("HSET", "pathless:q:webhook:l:w", "ls", "1")
        check_path(servers, db, "redis")
        db["_limits"].insert_one({"grants": [1]})
        with pytest.raises(AssertionError):
            check_path(servers, db, "redis")
        check_path(servers, db, "redis", always=False)
