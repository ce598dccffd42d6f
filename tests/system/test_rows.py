"""The checkers of rows.py can fail."""

from copy import deepcopy
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from history import Change
from rows import (
    check_caps,
    check_groups,
    check_rest,
    check_rows,
    check_totals,
    leases_of,
    most_at_once,
    share_of,
)

ZERO = datetime(2024, 1, 1, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def row(**more) -> dict:
    base = {"st": "waiting", "open": True, "tries": 0, "max": 2, "starts": 0}
    base |= {"stalls": 0, "replays": 0, "runAt": at(0), "lim": "w", "g": "w"}
    return base | {"msgId": "m", "body": b"b", "sub": "w", "ts": at(0)} | more


def held(tok: str, until: float, **more) -> dict:
    lease = {"tok": tok, "by": "a", "until": at(until)}
    return row(st="leased", lease=lease, **({"starts": 1} | more))


def ended(tok: str, **more) -> dict:
    done = row(st="done", fin=tok, **({"tries": 1, "starts": 1} | more))
    del done["open"]
    return done


def story(*docs, of: str = "j", step: float = 1) -> list[Change]:
    return [Change(None, at(i * step), "_jobs", of, d) for i, d in enumerate(docs)]


GOOD = [row(), held("t", 9), ended("t"), row(replays=1), held("u", 9, replays=1),
        ended("u", replays=1)]


def test_a_good_story_is_good():
    check_rows(story(*GOOD))
    leases = leases_of(story(*GOOD))
    assert [(x.tok, x.how) for x in leases] == [("t", "finished"), ("u", "finished")]
    check_rows(story(row(), held("t", 1), held("u", 9)))  # at 2, after its time
    check_rows(story(row(), held("t", 9), row(stalls=1), held("u", 9, stalls=1)))


@pytest.mark.parametrize(
    "docs",
    [
        [row(), held("t", 9), held("u", 9)],  # two leases
        [row(), held("t", 9), ended("t"), ended("t", tries=2)],
        [row(), held("t", 9), ended("t"), held("u", 9)],
        [row(), held("t", 9), ended("x")],  # by one who did not hold it
        [row(), held("t", 9), row(tries=1)],
        [row(), held("t", 9), row(tries=2, fin="t")],
        [row(runAt=at(2)), held("t", 9)],  # at 1
        [row(), row(body=b"c")],
        [row(), row(msgId="n")],
        [row(), row(tries=3)],
        [row(), row(stalls=3)],
        [row(), row(replays=1)],  # it had not ended
        [row(), held("t", 9), ended("t"), row(replays=2)],
        [row(), held("t", 9), ended("t"), row(replays=1, tries=1)],
        [row(), {**held("t", 9), "open": False}],
    ],
)
def test_a_bad_row_is_seen(docs):
    with pytest.raises(AssertionError):
        check_rows(story(*docs))


def leases(*times, **more):
    """Of one group each: (begin, end, ord)."""
    made = []
    for i, (begin, end, order) in enumerate(times):
        (one,) = leases_of(story(held(f"t{i}", 1000, g="w:d", ord=order, **more)))
        one.begun, one.ended, one.how = at(begin), at(end), "finished"
        made.append(one)
    return made


def test_groups_caps_and_shares():
    good = leases((0, 1, 1), (1, 2, 2), (2, 3, 2))
    check_groups(good)
    check_caps(good, 1, 1)
    together = leases((0, 2, 1), (1, 3, 2))
    for bad in (together, leases((0, 1, 2), (1, 2, 1))):
        with pytest.raises(AssertionError):
            check_groups(bad)
    together[0].how = "back"
    check_groups(together)
    assert most_at_once(together) == 2
    for cap, slots in ((1, 2), (2, 1)):
        with pytest.raises(AssertionError):
            check_caps(together, cap, slots)
    other = deepcopy(together)
    for lease in other:
        lease.lim = "v"
    assert share_of(together + other, "w", at(0), at(3)) == 0.5
    assert share_of(together + other[:1], "w", at(2), at(3)) == 1


def test_rests_and_totals():
    rows = [ended("t"), {**ended("t", tries=2), "st": "dead"}]
    good = {"attempts": 3, "delivered": 1, "failed": 2, "dead": 1}
    check_totals(good, rows)
    for name in good:
        with pytest.raises(AssertionError):
            check_totals(good | {name: 4}, rows)


@pytest.mark.parametrize("left", ["_outbox", "_jobs", "_limits"])
def test_what_is_left_is_seen(left):
    def collection(name):
        return SimpleNamespace(
            find_one=lambda *_: {"_id": 1} if name == left else None,
            aggregate=lambda _: [{"_id": "done", "n": 2}],
        )

    names = ("_outbox", "_jobs", "_limits")
    with pytest.raises(AssertionError):
        check_rest({n: collection(n) for n in names})
    left = ""
    assert check_rest({n: collection(n) for n in names}) == {"done": 2}
