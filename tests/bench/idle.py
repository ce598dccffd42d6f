"""idle - how soon a delivery begins when senders have nothing else to do, and
how long the index of the queue takes to come back from the rows."""

from __future__ import annotations

import statistics
import time

import hooks
from cluster import wait_until
from fleet import LIMIT, MONGO, REDIS, Fleet, Path
from load import Failed, Program
from receiver import Receiver
from report import Line, Report, number, spread
from rows import expect
from world import PROGRAMS, World

WAKE_MS = 5
WRITES, WRITE_GAP_S = 150, 0.02
REFILL_ROWS, REFILL_S = 100_000, 10


def level(report: Report, what: str, value: str, target: str = "-", good=True) -> None:
    report.lines.append(Line(what, "-", "-", value, target, good))


def percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class Wake:
    name = "wake"

    def run(self, world: World, report: Report) -> None:
        world.progress.say("wake: preparing")
        with Fleet(world, REDIS, self.name) as fleet:
            fleet.pause(False)
            self.claims(world, report, fleet)
            self.writes(world, report, fleet)
        with Fleet(world, MONGO, self.name) as fleet:
            fleet.pause(False)
            self.writes(world, report, fleet)

    @staticmethod
    def claims(world: World, report: Report, fleet: Fleet) -> None:
        words = (PROGRAMS / "wake_bench", "wake", 1)
        env = fleet.running[0].env | {"BENCH_HOOK": fleet.hooks[0]}
        program = Program("enqueue to claim", world.servers, env, *words)
        redis = world.servers.redis_cli
        redis("CONFIG", "SET", "notify-keyspace-events", "Kz")
        try:
            took = []
            for i in range(world.rounds):
                world.progress.say(f"wake: round {i + 1} of {world.rounds}")
                took.append(program.slice(2 * world.seconds))
        finally:
            redis("CONFIG", "SET", "notify-keyspace-events", "")
        what = "enqueue to claim, idle senders"
        level(report, f"{what}, median", f"{spread([s.p50_ms for s in took])} ms")
        p99 = [s.p99_ms for s in took]
        good = statistics.median(p99) <= WAKE_MS
        level(report, f"{what}, p99", f"{spread(p99)} ms", f"<= {WAKE_MS} ms", good)

    @staticmethod
    def writes(world: World, report: Report, fleet: Fleet) -> None:
        """From the request that writes to the request that tells of it."""
        took: dict[int, float] = {}
        with Receiver() as receiver:
            wish = {"rateLimit": {"maxRequestsPerMinute": LIMIT}}
            hooks.register(fleet.api, receiver.url("/ok"), "written", **wish)
            for i in range(WRITES):
                world.progress.say(f"wake: write {i + 1} of {WRITES}")
                time.sleep(WRITE_GAP_S)
                took[i] = time.monotonic()
                made = fleet.api.post("/api/db/written", {"n": i})
                expect("status of POST", made.status, 201)
                receiver.wait(i + 1, "/ok", 30)
            for request in receiver.requests("/ok"):
                n = request.json["data"]["document"]["n"]
                took[n] = (request.t - took[n]) * 1000
        ms = list(took.values())
        what = f"write to its delivery by {fleet.path.name}, idle"
        value = f"{number(percentile(ms, 50))}, {number(percentile(ms, 99))} ms"
        level(report, f"{what}, median and p99", value)


class Refill:
    """The data set is taken away: it is opened anew and filled from the rows,
    while nothing is delivered."""

    name = "refill"

    def run(self, world: World, report: Report) -> None:
        world.progress.say("refill: preparing")
        with Fleet(world, REDIS, self.name) as fleet:
            fleet.fill(REFILL_ROWS)
            opened, filled = [], []
            for i in range(min(world.rounds, 3)):
                world.progress.say(f"refill: round {i + 1}")
                a, b = self.once(world, fleet)
                opened.append(a)
                filled.append(b)
            fleet.drop()
        level(report, "Redis data lost, until a new data set is open",
              f"{spread(opened)} s", "<= 5 s", statistics.median(opened) <= 5)
        level(report, f"refill of {REFILL_ROWS:,} rows", f"{spread(filled)} s",
              f"<= {REFILL_S} s", statistics.median(filled) <= REFILL_S)

    @staticmethod
    def once(world: World, fleet: Fleet) -> tuple[float, float]:
        """Until it is open, and from then on until the last row is there."""
        before = fleet.dataset()
        t0 = time.monotonic()
        world.servers.redis_cli("DEL", f"{fleet.database}:dataset")
        wait_until("a data set is open", lambda: fleet.dataset() != before, 30)
        t1 = time.monotonic()
        wait_until("the index knows all rows", fleet.indexed, 120)
        t2 = time.monotonic()
        jobs = world.servers.redis_cli("ZCARD", f"{fleet.database}:q:webhook:r")
        if not int(jobs):
            raise Failed("the index has no subscriber that can be served")
        return t1 - t0, t2 - t1
