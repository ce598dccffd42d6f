"""rows - what became of deliveries, from the oplog: each row after each write,
and the leases that workers had. Checkers raise AssertionError; they take plain
lists, so that a test can doctor one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bson import Timestamp

from history import Change, History
from servers import Servers, wait_until

STALLS_MAX = 2
KEPT = ("msgId", "body", "sub", "lim", "g", "ord", "max", "ts")


@dataclass
class Lease:
    """`how` it ended: finished, back (it did not run), died (given back for a
    dead worker), over (another one has the row, or its time is up)."""

    row: object
    lim: str
    group: str
    ord: int
    replays: int
    tok: str
    by: str
    begun: datetime
    until: datetime
    run_at: datetime
    ended: datetime | None = None
    how: str = "over"

    @property
    def ordered(self) -> bool:
        return self.group != self.lim

    @property
    def end(self) -> datetime:
        return min(self.until, self.ended or self.until)


def job_changes(
    servers: Servers, database: str, since: Timestamp | None = None
) -> list[Change]:
    return History(servers, database, since, ["_jobs"]).all


def is_open(row: dict) -> bool:
    return row.get("open", False)


def _token(row: dict | None) -> str:
    return ((row or {}).get("lease") or {}).get("tok", "")


# ---- rows


def check_rows(changes: Iterable[Change]) -> None:
    """Each change of a row is one that a row may make."""
    rows: dict[object, dict] = {}
    for c in changes:
        old = rows.get(c.id)
        rows[c.id] = c.doc
        if c.doc is None:
            continue
        if old is not None:
            _check_move(old, c.doc, c.wall)
        assert c.doc["tries"] <= c.doc["max"], f"too many tries: {c.doc}"
        assert c.doc["stalls"] <= STALLS_MAX, f"too many deaths: {c.doc}"
        assert not (_token(c.doc) and not is_open(c.doc)), f"ended, held: {c.doc}"


def _check_move(old: dict, new: dict, wall: datetime) -> None:
    for name in KEPT:
        assert old.get(name) == new.get(name), f"{name} has changed: {old} {new}"
    if new["replays"] != old["replays"]:
        _check_replay(old, new)
        return
    assert is_open(old) or old == new, f"an ended row has changed: {old} {new}"
    had, has = _token(old), _token(new)
    if has and has != had:
        assert is_open(new) and new["st"] == "leased", f"held, not open: {new}"
        free = not had or old["lease"]["until"] <= wall
        assert free, f"a second lease: {old} {new}"
        early = old["runAt"] - wall
        assert early <= timedelta(0), f"{early} too early: {new}"
    assert new["tries"] in (old["tries"], old["tries"] + 1), f"{old} {new}"
    if new["tries"] != old["tries"]:
        assert new.get("fin") == had != "", f"finished without a lease: {old} {new}"
    if new.get("fin") != old.get("fin"):
        assert new.get("fin") == had, f"a late finish was accepted: {old} {new}"


def _check_replay(old: dict, new: dict) -> None:
    assert new["replays"] == old["replays"] + 1, f"{old} {new}"
    assert old["st"] in ("dead", "done"), f"a replay of what runs: {old}"
    assert new["st"] == "waiting" and is_open(new), f"not as new: {new}"
    counts = [new[name] for name in ("tries", "starts", "stalls")]
    assert counts == [0, 0, 0], f"not as new: {new}"
    assert not {"lease", "fin", "endAt", "exp"} & set(new), f"not as new: {new}"


# ---- leases


def leases_of(changes: Iterable[Change]) -> list[Lease]:
    """In the order of their beginning. A lease of which a renewal is seen has
    the later end."""
    rows: dict[object, dict] = {}
    live: dict[object, Lease] = {}
    found: list[Lease] = []
    for c in changes:
        old, new = rows.get(c.id), c.doc
        rows[c.id] = c.doc
        had, has = _token(old), _token(new)
        if had and had == has:
            live[c.id].until = new["lease"]["until"]
            continue
        if had:
            lease = live.pop(c.id)
            lease.ended, lease.how = c.wall, _how(had, old, new, has)
        if has:
            live[c.id] = _lease(c, old)
            found.append(live[c.id])
    return found


def _how(token: str, old: dict, new: dict | None, next_token: str) -> str:
    if new is None or next_token:
        return "over"
    if new.get("fin") == token:
        return "finished"
    if new["stalls"] > old["stalls"]:
        return "died"
    return "back" if new["starts"] < old["starts"] else "over"


def _lease(c: Change, old: dict | None) -> Lease:
    d = c.doc
    return Lease(
        c.id,
        d["lim"],
        d["g"],
        d.get("ord", 0),
        d["replays"],
        d["lease"]["tok"],
        d["lease"]["by"],
        c.wall,
        d["lease"]["until"],
        (old or d)["runAt"],
    )


def check_groups(leases: Iterable[Lease]) -> None:
    """In an ordered group one job runs at a time, and they begin in order; one
    that was given back, because another goes first, did not run."""
    last: dict[str, Lease] = {}
    for lease in leases:
        if not lease.ordered or lease.how == "back":
            continue
        before = last.get(lease.group)
        if before:
            assert before.end <= lease.begun, f"two at a time: {before} {lease}"
            if not lease.replays and not before.replays:
                assert before.ord <= lease.ord, f"out of order: {before} {lease}"
        last[lease.group] = lease


def most_at_once(leases: Iterable[Lease], margin: float = 0) -> int:
    """A lease ends so many seconds before its time is up, if nobody ended it:
    what it is charged for is older."""
    steps = []
    for lease in leases:
        end = min(lease.until - timedelta(seconds=margin), lease.end)
        steps += [(lease.begun, 1), (end, -1)]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def check_caps(leases: Iterable[Lease], cap: int, slots: int) -> None:
    """Without deaths: at most `cap` of a subscriber, `slots` of an instance."""
    by_lim, by_instance = defaultdict(list), defaultdict(list)
    for lease in leases:
        by_lim[lease.lim].append(lease)
        by_instance[lease.by].append(lease)
    for lim, some in by_lim.items():
        most = most_at_once(some, 2)
        assert most <= cap, f"{most} of {lim} at once, not {cap}"
    for name, some in by_instance.items():
        most = most_at_once(some, 2)
        assert most <= slots, f"{most} by {name} at once, not {slots}"


def share_of(leases: Iterable[Lease], lim: str, begin: datetime, end: datetime):
    """Of the time that all spent on jobs between the two, that of this one."""
    spent = defaultdict(timedelta)
    for lease in leases:
        inside = min(lease.end, end) - max(lease.begun, begin)
        spent[lease.lim == lim] += max(timedelta(), inside)
    return spent[True] / (spent[True] + spent[False])


# ---- what is left


def check_rest(db) -> dict[str, int]:
    """All has ended, nothing is held or charged; how many there are by state.
    Each row of the outbox is gone, so each row of a delivery was made."""
    assert not db["_outbox"].find_one()
    assert not db["_jobs"].find_one({"$or": [{"open": True}, {"lease": {"$exists": 1}}]})
    live = {"$expr": {"$anyElementTrue": {"$map": {
        "input": {"$ifNull": ["$fl", []]},
        "as": "f",
        "in": {"$gt": ["$$f.until", "$$NOW"]},
    }}}}
    charged = db["_limits"].find_one(live)
    assert not charged, f"something is charged still: {charged}"
    rows = db["_jobs"].aggregate([{"$group": {"_id": "$st", "n": {"$sum": 1}}}])
    return {row["_id"]: row["n"] for row in rows}


def check_totals(limits: dict | None, rows: Iterable[dict], lost=False) -> None:
    """The totals of a webhook against its rows, of which none was replayed.
    lost: a worker has died, and took along what it had not added yet."""
    rows = list(rows)
    states = [row["st"] for row in rows]
    want = {
        "attempts": sum(row["tries"] for row in rows),
        "delivered": states.count("done"),
        "dead": states.count("dead"),
    }
    want["failed"] = want["attempts"] - want["delivered"]
    poison = sum(row.get("reason") == "poison" for row in rows)
    assert not poison, "their deaths are no attempts"
    got = {name: (limits or {}).get(name, 0) for name in want}
    if lost:
        assert all(got[n] <= want[n] for n in want), f"{got}, there are {want}"
    else:
        assert got == want, f"counted {got}, there are {want}"


def wait_totals(db, hook: str, rows: Iterable[dict], lost=False) -> None:
    """On the path through Redis they are added once a second."""
    rows, said = list(rows), None

    def counted() -> bool:
        nonlocal said
        try:
            check_totals(db["_limits"].find_one(f"webhook:{hook}"), rows, lost)
        except AssertionError as error:
            said = error
            return False
        return True

    try:
        wait_until("all is counted", counted, 10)
    except AssertionError as error:
        raise said or error from None
