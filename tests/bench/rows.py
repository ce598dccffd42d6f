"""rows - what is compared with what. A row makes its sides when its turn
comes, after one answer of each route was checked."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import seed
import shapes
from load import Failed, LockPairs, Loop, Program, Side, Slice, Wrk
from report import Line, Report, number, spread, two_places
from world import PROGRAMS, Trivial, World, loop_program


@dataclass
class Ratio:
    """One line of the results: a figure of two sides, round by round."""

    what: str
    of: Callable[[Slice, Slice], float]
    target: float
    at_least: bool
    shown: Callable[[Slice], float] = lambda s: s.rate
    unit: str = "/s"
    sides: tuple[int, int] = (0, 1)

    def line(self, rounds: Sequence[Sequence[Slice]]) -> Line:
        a, b = self.sides
        values = [self.of(r[a], r[b]) for r in rounds]
        median = statistics.median(values)
        good = median >= self.target if self.at_least else median <= self.target
        shown = [spread([self.shown(r[i]) for r in rounds]) for i in (a, b)]
        sign = ">=" if self.at_least else "<="
        return Line(
            self.what,
            f"{shown[0]} {self.unit}",
            f"{shown[1]} {self.unit}",
            f"{spread(values, two_places)} x",
            f"{sign} {self.target} x",
            good,
        )


@dataclass
class Level:
    """One line of the results: a figure of the first side, held against a
    fixed one."""

    what: str
    shown: Callable[[Slice], float]
    target: float
    at_least: bool
    unit: str
    side: int = 0

    def line(self, rounds: Sequence[Sequence[Slice]]) -> Line:
        values = [self.shown(r[self.side]) for r in rounds]
        median = statistics.median(values)
        good = median >= self.target if self.at_least else median <= self.target
        sign = ">=" if self.at_least else "<="
        value = f"{spread(values)} {self.unit}"
        target = f"{sign} {self.target:,} {self.unit}"
        return Line(self.what, "-", "-", value, target, good)


def faster(a: Slice, b: Slice) -> float:
    return a.rate / b.rate


def longer(a: Slice, b: Slice) -> float:
    return b.rate / a.rate


def server_us(s: Slice) -> float:
    return s.cpu["server"]


def costlier(a: Slice, b: Slice) -> float:
    return server_us(a) / server_us(b)


@dataclass
class Row:
    name: str
    prepare: Callable[[World], list[Side]]
    ratios: list[Ratio | Level]
    warm_up: bool = True
    rounds_max: int = 1000
    after: Callable[[World, Report], None] | None = None

    def run(self, world: World, report: Report) -> None:
        sides = self.prepare(world)
        for side in sides if self.warm_up else ():
            world.progress.say(f"{self.name}: warming up: {side.name}")
            side.slice(1)
        rounds = []
        n = min(world.rounds, self.rounds_max)
        for i in range(n):
            world.progress.say(f"{self.name}: round {i + 1} of {n}")
            rounds.append([side.slice(world.seconds) for side in sides])
        for ratio in self.ratios:
            report.lines.append(ratio.line(rounds))
        for i, side in enumerate(sides):
            report.add_costs(side.name, [r[i] for r in rounds])
        if self.after:
            self.after(world, report)


BY_ID = ("path", f"/api/db/users/{seed.PREFIX}%08x", seed.USERS)
BY_GROUP = ("path", "/api/db/users?group=%d&limit=10", seed.GROUPS)


def expect(what: str, got, expected) -> None:
    if got != expected:
        raise Failed(f"{what}: {got!r}, expected {expected!r}")


def good_json(world: World, target: str, headers=()) -> dict:
    reply = world.app.get(target, headers=headers)
    expect(f"status of {target}", reply.status, 200)
    return reply.json()


def loop(world: World, name: str, mode: str, collection: str, **more) -> Loop:
    where = world.where(collection)
    return Loop(name, world.servers, loop_program(), mode, where, **more)


def wrk(world: World, name: str, target: str = "/", words=(), headers=()) -> Wrk:
    return Wrk(name, world.servers, world.app, target, words, headers)


def health(world: World) -> list[Side]:
    body = world.app.get("/health")
    expect("status of /health", body.status, 200)
    expect("/health", body.json()["mongodb"], "connected")
    n = len(body.body)
    trivial = world.keep("trivial", lambda: Trivial(world.servers, n))
    expect("bytes of the trivial body", len(trivial.get("/health").body), n)
    return [
        wrk(world, "/health", "/health"),
        Wrk("trivial program", world.servers, trivial, "/health"),
    ]


def get(world: World) -> list[Side]:
    world.need("users")
    got = good_json(world, f"/api/db/users/{seed.oid(77)}")
    expect("document by id", got["data"]["email"], "user77@example.com")
    more = {"threads": 4, "prefix": seed.PREFIX, "n": seed.USERS}
    other = loop(world, "loop: find by id", "get", "users", **more)
    target = f"/api/db/users/{seed.oid(78)}"
    shapes.same(
        world, "users", lambda: world.app.get(target), other.once, ["IDHACK"]
    )
    return [wrk(world, "GET by id", words=BY_ID), other]


def page(world: World, target: str, shown: int, total: int) -> None:
    got = good_json(world, target)
    expect(f"documents of {target}", len(got["data"]), shown)
    expect(f"total of {target}", got["pagination"]["total"], total)


def list_rows(world: World) -> list[Side]:
    world.need("users")
    target = "/api/db/users?group=7&limit=10"
    page(world, target, 10, 100)
    more = {"threads": 4, "n": seed.GROUPS}
    other = loop(world, "loop: find and count", "list", "users", **more)
    plans = ["IXSCAN { group: 1 }", "COUNT_SCAN { group: 1 }"]
    shapes.same(world, "users", lambda: world.app.get(target), other.once, plans)
    return [wrk(world, "list of 10 of 100, total", words=BY_GROUP), other]


def part(world: World) -> list[Side]:
    world.need("users")
    page(world, "/api/db/users?team=7&limit=10", 5, 5)
    prefer = ("Prefer", "count=none")
    got = good_json(world, "/api/db/users?team=7&limit=10", headers=[prefer])
    expect("total when nothing is counted", got["pagination"]["total"], None)
    words = ("path", "/api/db/users?team=%d&limit=10", seed.TEAMS)
    return [
        wrk(world, "page of 5 of 5, total", words=words),
        wrk(world, "the same, no total", words=words, headers=[": ".join(prefer)]),
    ]


def total(world: World) -> list[Side]:
    world.need("small", "big")
    page(world, "/api/db/big?limit=10", 10, seed.BIG)
    page(world, "/api/db/small?limit=10", 10, seed.SMALL)
    return [
        wrk(world, "list of 1,000,000, total", "/api/db/big?limit=10"),
        wrk(world, "list of 1,000, total", "/api/db/small?limit=10"),
    ]


def post(world: World) -> list[Side]:
    target = "/api/db/posts"

    def create() -> None:
        reply = world.app.post(target, {"name": "Ann", "tags": ["office"]})
        expect(f"status of POST {target}", reply.status, 201)
        made = reply.json()["data"]
        got = good_json(world, f"{target}/{made['_id']}")
        expect("document created", got["data"], made)

    create()
    more = {"threads": 16, "n": 1}
    other = loop(world, "loop: insert", "insert", "inserts", **more)
    other.once()
    shapes.same_inserts(world, ("posts", create), ("inserts", other.once))
    return [wrk(world, "POST", words=("post", target)), other]


def of_half(a: Slice, b: Slice) -> float:
    """A pair is two calls."""
    return a.rate / (b.rate / 2)


def locks(world: World) -> list[Side]:
    api, program = world.locks, PROGRAMS / "lock_bench"
    return [
        Program(f"{name}, {n}", world.servers, api.env, program, mode, n)
        for n in (1, 5)
        for name, mode in (("lock pair", "lock"), ("EVALSHA", "raw"))
    ]


def locks_http(world: World) -> list[Side]:
    api, target = world.locks, "/api/cluster/locks"
    made = api.post(target, {"key": "bench", "owner": "bench"})
    expect(f"status of POST {target}", made.status, 201)
    held = api.post(target, {"key": "bench"})
    expect("code of a held lock", held.code(), "LOCK_HELD")
    body = {"token": made.json()["token"]}
    gone = api.send("DELETE", f"{target}/bench", body)
    expect(f"status of DELETE {target}", gone.status, 200)
    words = ("locks", target)
    return [LockPairs("lock pair over HTTP", world.servers, api, words=words)]


ROWS = [
    Row(
        "health",
        health,
        [Ratio("/health; a trivial FastCGI program", faster, 1.4, True)],
    ),
    Row(
        "get",
        get,
        [
            Ratio("GET by id; loop of find", faster, 0.65, True),
            Ratio(
                "the same, CPU of fcgi-app; of the loop",
                costlier,
                1.5,
                False,
                server_us,
                "us",
            ),
        ],
    ),
    Row(
        "list",
        list_rows,
        [Ratio("list of 10 of 100, total; loop of find, count", faster, 0.65, True)],
    ),
    Row(
        "part",
        part,
        [Ratio("page that is not full, total; no total", longer, 1.1, False)],
    ),
    Row(
        "total",
        total,
        [Ratio("list of 1,000,000, total; of 1,000", longer, 1.3, False)],
    ),
    Row(
        "post",
        post,
        [Ratio("POST; loop of insert, 16 threads", faster, 0.7, True)],
    ),
    Row(
        "locks",
        locks,
        [
            Ratio("lock pairs; half of EVALSHA, 1 connection", of_half, 0.55, True),
            Ratio(
                "lock pairs; half of EVALSHA, 5 connections",
                of_half,
                0.4,
                True,
                sides=(2, 3),
            ),
            Level("p99 of a pair, 5 connections", lambda s: s.p99_ms, 1, False, "ms", 2),
        ],
    ),
    Row(
        "locks-http",
        locks_http,
        [
            Level("lock pairs over HTTP", lambda s: s.rate, 1000, True, "/s"),
            Level("p99 of both requests", lambda s: s.p99_ms, 10, False, "ms"),
        ],
    ),
]
