"""index - what the index of deliveries in Redis holds at one moment, read by one
script, and what must be true of it at any moment. Checkers raise
AssertionError; they take a plain Index, so that a test can doctor one."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field

from servers import ROOT, Servers, wait_until

# every key below a prefix with its type and its members, as flat lists
DUMP = """
local read = {
    zset = function(k) return redis.call('ZRANGE', k, 0, -1, 'WITHSCORES') end,
    hash = function(k) return redis.call('HGETALL', k) end,
    list = function(k) return redis.call('LRANGE', k, 0, -1) end,
    string = function(k) return {redis.call('GET', k)} end,
    set = function(k) return redis.call('SMEMBERS', k) end,
}
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
    local kind = redis.call('TYPE', key).ok
    local f = read[kind]
    out[#out + 1] = {key, kind, f and f(key) or {}}
end
return cjson.encode(out)
"""


@functools.cache
def digest(script: str) -> str:
    """Of a script, as EVALSHA names it."""
    text = subprocess.check_output([ROOT / "sql-free-schemas/embed.sh"], text=True)
    found = re.search(rf'\[LUA_{script.upper()}\] = {{STR_INIT\("(\w{{40}})"', text)
    assert found, f"there is no script {script}"
    return found[1]


def pairs(flat: list) -> dict[str, str]:
    flat = flat or []
    return dict(zip(flat[::2], flat[1::2]))


@dataclass
class Index:
    """Names as in keyspace.md: `waiting` by group, `eligible` by subscriber."""

    jobs: dict[str, dict] = field(default_factory=dict)
    waiting: dict[str, dict] = field(default_factory=dict)
    eligible: dict[str, dict] = field(default_factory=dict)
    subscribers: dict[str, dict] = field(default_factory=dict)
    delayed: dict[str, str] = field(default_factory=dict)
    active: dict[str, str] = field(default_factory=dict)
    ready: dict[str, str] = field(default_factory=dict)
    hold: dict[str, str] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: dict) -> None:
        single = {"dly": "delayed", "act": "active", "r": "ready"}
        single |= {"hold": "hold", "meta": "meta"}
        several = {"j": "jobs", "w": "waiting", "e": "eligible", "l": "subscribers"}
        kind, _, rest = name.partition(":")
        if name in single:
            setattr(self, single[name], value)
        elif rest and kind in several:
            getattr(self, several[kind])[rest] = value


def read_index(servers: Servers, prefix: str, queue: str = "webhook") -> Index:
    """One moment."""
    top = f"{prefix}:q:{queue}:"
    index = Index()
    text = servers.redis_cli("EVAL", DUMP, "0", top)
    for key, kind, flat in json.loads(text) or []:
        if kind in ("zset", "hash"):
            index.put(key.removeprefix(top), pairs(flat))
    return index


def ordered(job: dict) -> bool:
    return job["g"] != job["m"]


def check_index(index: Index) -> None:
    """Every job is in one place, and every place is of a job; a group and a
    subscriber are in turn exactly when they have something to run, and may."""
    seats: dict[str, list[str]] = {}
    for group, jobs in index.waiting.items():
        for job in jobs:
            seats.setdefault(job, []).append(f"w:{group}")
    for name in ("delayed", "active"):
        for job in getattr(index, name):
            seats.setdefault(job, []).append(name)
    for job in index.jobs:
        assert len(seats.get(job, [])) == 1, f"{job} is in {seats.get(job)}"
    strange = set(seats) - set(index.jobs)
    assert not strange, f"no jobs: {sorted(strange)[:5]}"
    for job, (place,) in seats.items():
        if place.startswith("w:"):
            group = index.jobs[job]["g"]
            assert place == f"w:{group}", f"{job} of {group} is in {place}"
    _check_turns(index)


def _check_turns(index: Index) -> None:
    groups: dict[str, set[str]] = {}
    some: dict[str, bool] = {}
    for group, jobs in index.waiting.items():
        job = index.jobs[next(iter(jobs))]
        if not ordered(job):
            some[job["m"]] = True
        elif f"g{group}" not in index.hold:
            groups.setdefault(job["m"], set()).add(group)
            some[job["m"]] = True
    for lim in set(groups) | set(index.eligible):
        here, want = set(index.eligible.get(lim, {})), groups.get(lim, set())
        assert here == want, f"groups of {lim} in turn {here}, not {want}"
    flying: dict[str, int] = {}
    for job in index.active:
        m = index.jobs[job]["m"]
        flying[m] = flying.get(m, 0) + 1
    for lim in set(some) | set(index.ready) | set(flying) | set(index.subscribers):
        n = int(index.subscribers.get(lim, {}).get("n") or 0)
        assert n == flying.get(lim, 0), f"{lim} has {flying.get(lim, 0)}, not {n}"
        ready = some.get(lim, False) and f"l{lim}" not in index.hold
        ready = ready and n < cap_of(index, lim)
        assert ready == (lim in index.ready), f"{lim} is in turn: {not ready}"


def cap_of(index: Index, lim: str) -> int:
    """In flight at once; one is what there is before the leader has said more,
    of an open breaker, and of what has no subscriber."""
    own = int(index.subscribers.get(lim, {}).get("pc") or 0)
    cap = int(index.meta.get("cap") or 1)
    return min(cap, own) if own else cap


def check_index_empty(index: Index) -> None:
    left = {
        name: getattr(index, name)
        for name in ("jobs", "waiting", "eligible", "delayed", "active", "ready")
    }
    left = {name: value for name, value in left.items() if value}
    left |= {"hold": h for h in [index.hold] if any(k[0] == "g" for k in h)}
    flying = {lim: s for lim, s in index.subscribers.items() if int(s.get("n") or 0)}
    assert not left and not flying, f"left in the index: {left} {flying}"


def check_complete(index: Index, rows: Iterable[dict]) -> None:
    """Each open row is known."""
    missing = {row["_id"] for row in rows} - set(index.jobs)
    assert not missing, f"{len(missing)} are not known: {sorted(missing)[:5]}"


def wait_index(servers: Servers, prefix: str, check, seconds: float = 20):
    """Until check(index) is content; its own words after the time."""
    said = None

    def content() -> bool:
        nonlocal said
        try:
            check(read_index(servers, prefix))
        except (AssertionError, subprocess.CalledProcessError) as error:
            said = error
            return False
        return True

    try:
        wait_until("the index is as it must be", content, seconds)
    except AssertionError as error:
        raise said or error from None
