"""rows - what is compared with what. A row makes its sides when its turn
comes, after one answer of each route was checked."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import seed
from load import Failed, Loop, Side, Slice, Wrk
from report import Line, Report, number, spread, two_places
from world import Trivial, World, loop_program


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
    ratios: list[Ratio]

    def run(self, world: World, report: Report) -> None:
        sides = self.prepare(world)
        for side in sides:
            world.progress.say(f"{self.name}: warming up: {side.name}")
            side.slice(1)
        rounds = []
        for i in range(world.rounds):
            world.progress.say(f"{self.name}: round {i + 1} of {world.rounds}")
            rounds.append([side.slice(world.seconds) for side in sides])
        for ratio in self.ratios:
            report.lines.append(ratio.line(rounds))
        for i, side in enumerate(sides):
            report.add_costs(side.name, [r[i] for r in rounds])


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
    words = ("path", f"/api/db/users/{seed.PREFIX}%08x", seed.USERS)
    more = {"threads": 4, "prefix": seed.PREFIX, "n": seed.USERS}
    return [
        wrk(world, "GET by id", words=words),
        loop(world, "loop: find by id", "get", "users", **more),
    ]


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
]
