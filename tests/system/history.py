"""history - what MongoDB accepted, write after write: the oplog is the record
that no program of ours can colour. Checkers raise AssertionError; they take
plain lists, so that a test can doctor one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from bson import Timestamp

from servers import Servers

EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass
class Change:
    """A document as it is after one write; None: removed."""

    ts: Timestamp
    wall: datetime  # the server's clock at the write
    collection: str
    id: object
    doc: dict | None


@dataclass
class Term:
    """A term document after one write; until = EPOCH: free or resigned."""

    ts: Timestamp
    wall: datetime
    term: int
    holder: str
    tok: str
    until: datetime
    since: datetime | None


def apply_diff(old, diff: dict):
    """What an oplog entry of version 2 makes of a document or an array."""
    array = isinstance(old, list)
    new = list(old) if array else dict(old)
    if array and "l" in diff:
        del new[diff["l"] :]
    for key, value in diff.items():
        if array and key in ("a", "l"):
            continue
        if not array and key in ("u", "i"):
            new.update(value)
        elif not array and key == "d":
            for name in value:
                new.pop(name, None)
        else:
            place = int(key[1:]) if array else key[1:]
            if array and place >= len(new):
                new += [None] * (place + 1 - len(new))
            new[place] = value if key[0] == "u" else apply_diff(new[place], value)
    return new


def entries(servers: Servers, database: str) -> Iterator[dict]:
    """The entries of one database, those of transactions singly."""
    ours = {"$regex": f"^{database}\\."}
    inner = {"ns": "admin.$cmd", "o.applyOps.ns": ours}
    with servers.client() as client:
        oplog = client.local["oplog.rs"]
        for entry in oplog.find({"$or": [{"ns": ours}, inner]}).sort("$natural"):
            operations = entry["o"].get("applyOps") if entry["op"] == "c" else None
            for one in operations or [entry]:
                if one["ns"].startswith(f"{database}."):
                    yield {**one, "ts": entry["ts"], "wall": entry["wall"]}


class History:
    """The changes of some collections of a database, in order. `since` (from
    mark()) leaves out what was before; it is followed from the first write in
    any case, for an entry of the oplog says what changed only."""

    COLLECTIONS = ("_leader", "_cluster", "_locks")

    def __init__(
        self,
        servers: Servers,
        database: str,
        since: Timestamp | None = None,
        collections: Iterable[str] = COLLECTIONS,
    ) -> None:
        self.all: list[Change] = []
        wanted = set(collections)
        state: dict[tuple, dict] = {}
        for entry in entries(servers, database):
            collection = entry["ns"].partition(".")[2]
            if collection not in wanted or entry["op"] not in "iud":
                continue
            key = entry.get("o2", entry["o"])["_id"]
            place = (collection, repr(key))
            doc = self._after(entry, state.get(place))
            state[place] = doc
            if since is None or entry["ts"] > since:
                change = Change(entry["ts"], entry["wall"], collection, key, doc)
                self.all.append(change)

    @staticmethod
    def _after(entry: dict, old: dict | None) -> dict | None:
        if entry["op"] == "d":
            return None
        if "diff" in entry["o"] and "$v" in entry["o"]:
            return apply_diff(old or {}, entry["o"]["diff"])
        return entry["o"]

    def changes(self, collection: str) -> list[Change]:
        return [c for c in self.all if c.collection == collection]

    def terms(self, service: str = "cron") -> list[Term]:
        found = []
        for c in self.changes("_leader"):
            if c.id == service and c.doc:
                d = c.doc
                until = d.get("until")
                found.append(
                    Term(
                        c.ts,
                        c.wall,
                        int(d.get("term", 0)),
                        d.get("holder") or "",
                        d.get("tok") or "",
                        until if isinstance(until, datetime) else EPOCH,
                        d.get("since"),
                    )
                )
        return found


def mark(servers: Servers) -> Timestamp:
    """Now, for History(since=)."""
    with servers.client() as client:
        oplog = client.local["oplog.rs"]
        return oplog.find().sort("$natural", -1).next()["ts"]


def check_terms(terms: list[Term]) -> None:
    """Terms grow one by one; a term has one holder and one token; a new one
    begins after the time of the one before, or after its resignation."""
    before: Term | None = None
    for t in terms:
        if before is None:
            before = t
            continue
        step = t.term - before.term
        assert step in (0, 1), f"terms must grow one by one: {before} {t}"
        if step == 0:
            for name in ("holder", "tok"):
                was, now = getattr(before, name), getattr(t, name)
                assert now in (was, ""), f"two {name}s in a term: {before} {t}"
                if was and not now:  # a resigned term has had one all the same
                    setattr(t := Term(**vars(t)), name, was)
        else:
            begun = t.since or t.wall
            assert t.holder and t.tok, f"a term of nobody: {t}"
            assert t.tok != before.tok, f"a token in two terms: {before} {t}"
            assert before.until <= begun, f"terms overlap: {before} {t}"
        before = t


def led_share(terms: list[Term], begin: datetime, end: datetime) -> float:
    """The share of the server's time from begin to end that was led."""
    led = timedelta()
    for i, t in enumerate(terms):
        last = terms[i + 1].wall if i + 1 < len(terms) else end
        start, stop = max(t.wall, begin), min(t.until, last, end)
        led += max(timedelta(), stop - start)
    return led / (end - begin)


def check_locks(changes: list[Change]) -> None:
    """The locks in MongoDB: a grant needs a free lock (of this data set), and
    its fence is new and above all earlier ones of its name."""
    held: dict[object, dict] = {}
    fences: dict[int, str] = {}
    for c in changes:
        if c.doc is None:
            continue
        old, new = held.get(c.id), c.doc
        if old and new["tok"] in (old["tok"], ""):  # renewed, released
            same = old["fence"] == new["fence"]
            assert same, f"a fence changed under its token: {old} {new}"
        else:
            owner = fences.setdefault(int(new["fence"]), new["tok"])
            assert owner == new["tok"], f"a fence given twice: {new}"
            if old:
                grows = new["fence"] > old["fence"]
                assert grows, f"fences must grow: {old} {new}"
                free = old["until"] <= new["at"] or old.get("ds") != new.get("ds")
                assert free, f"a held lock was granted: {old} {new}"
        held[c.id] = new


def check_cluster(changes: list[Change]) -> None:
    """_cluster: terms and the last fence never fall, no data set returns."""
    last: dict[object, int] = {}
    seen: list[str] = []
    for c in changes:
        if c.doc is None or c.id not in ("redis", "fence"):
            continue
        value = int(c.doc["term" if c.id == "redis" else "v"])
        assert value >= last.get(c.id, 0), f"{c.id} fell to {value}: {c}"
        last[c.id] = value
        dataset = c.doc.get("dataset", "") if c.id == "redis" else ""
        if dataset and dataset not in seen[-1:]:
            assert dataset not in seen, f"a data set returned: {c}"
            seen.append(dataset)
