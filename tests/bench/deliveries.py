"""deliveries - how many a second, from the write on, and how soon after a
process was killed."""

from __future__ import annotations

import os
import signal
import statistics
import time

import delivering
from cluster import Instance, wait_until
from fleet import LIMIT, MONGO, REDIS, SENDERS, Fleet, Path, Taken, add_asked
from load import Program, Slice
from receiver import Receiver
from report import Line, Report, spread, two_places
from rows import expect
from world import PROGRAMS, World
from writes import queue_env

INSTANCES = (1, 2, 5, 10)
BOUND, LINEAR = 0.5, 0.85
EVENTS_A_SECOND = 1000
KILLS, KILL_MS = 20, 50


def loop_of_post(world: World, url: str, n: int) -> Program:
    """What n senders must do at least, without limits, turns, and a log."""
    env = queue_env(world, BENCH_URL=url)
    words = (PROGRAMS / "queue_bench", "post", n)
    return Program(f"loop of POST, {n} processes", world.servers, env, *words)


def compare(report: Report, what: str, ours, other, target: float | None) -> None:
    """Without a target it is only told."""
    values = [a.rate / b.rate for a, b in zip(ours, other)]
    report.lines.append(
        Line(
            what,
            f"{spread([s.rate for s in ours])} /s",
            f"{spread([s.rate for s in other])} /s",
            f"{spread(values, two_places)} x",
            f">= {target:g} x" if target else "-",
            not target or statistics.median(values) >= target,
        )
    )


class Deliveries:
    """Both claim paths, one after the other in each round, so that none of
    the other's processes is there; the loop beside each."""

    name = "deliveries"

    def run(self, world: World, report: Report) -> None:
        world.progress.say("deliveries: preparing")
        redis = Fleet(world, REDIS, self.name)
        mongo = Fleet(world, MONGO, self.name)
        with redis, mongo:
            fleets = (redis, mongo)
            for fleet in fleets:
                fleet.shrink(0)
            rounds = [
                [self.round(world, fleet, i) for fleet in fleets]
                for i in range(world.rounds)
            ]
        for at, n in enumerate(INSTANCES):
            by_path = [[r[which][at] for r in rounds] for which in (0, 1)]
            first = [[r[which][0] for r in rounds] for which in (0, 1)]
            self.add(report, n, by_path, first)

    @staticmethod
    def round(world: World, fleet: Fleet, i: int) -> list[tuple[Taken, Slice]]:
        out = []
        for n in INSTANCES:
            world.progress.say(
                f"deliveries: round {i + 1} of {world.rounds}: "
                f"{n} instances, {fleet.path.name}"
            )
            ours = fleet.slice(n, world.seconds)
            loop = loop_of_post(world, fleet.sink.url, SENDERS * n)
            out.append((ours, loop.slice(world.seconds)))
        fleet.rest()
        fleet.shrink(0)
        return out

    @staticmethod
    def add(report: Report, n: int, by_path, first) -> None:
        words = f"{n} instance{'s' if n > 1 else ''}"
        ours = [[a for a, _ in one] for one in by_path]
        for path, mine, pairs, one in zip((REDIS, MONGO), ours, by_path, first):
            name = f"deliveries by {path.name}, {words}"
            loop = [b for _, b in pairs]
            compare(report, f"{name}; loop of POST", mine, loop, BOUND)
            if n > 1:
                base = [a for a, _ in one]
                compare(report, f"{name}; 1 instance", mine, base, LINEAR)
            add_asked(report, f"{path.name}, {n}", mine)
            report.add_costs(name, mine)
            report.add_costs(f"loop of POST, {SENDERS * n} processes", loop)
        compare(report, f"deliveries, {words}: Redis; MongoDB alone", *ours, 1)


class EndToEnd:
    """From events that requests left in the outbox to their deliveries, by one
    instance: the fan-out is part of it."""

    name = "e2e"

    def run(self, world: World, report: Report) -> None:
        for path in (REDIS, MONGO):
            world.progress.say("e2e: preparing")
            with Fleet(world, path, self.name) as fleet:
                self.measure(world, report, fleet)

    def measure(self, world: World, report: Report, fleet: Fleet) -> None:
        loop = loop_of_post(world, fleet.sink.url, SENDERS)
        fleet.pause(False)
        n = int(EVENTS_A_SECOND * world.seconds)
        ours, other = [], []
        self.slice(fleet, n // 4)
        for i in range(world.rounds):
            world.progress.say(
                f"e2e: round {i + 1} of {world.rounds}, {fleet.path.name}"
            )
            ours.append(self.slice(fleet, n))
            other.append(loop.slice(world.seconds))
        name = f"events to deliveries by {fleet.path.name}"
        compare(report, f"{name}, 5 senders; loop of POST", ours, other, BOUND)
        add_asked(report, f"{fleet.path.name}, from the event", ours)
        report.add_costs(name, ours)

    @staticmethod
    def slice(fleet: Fleet, n: int) -> Taken:
        """n events, until all of them are delivered."""
        fleet.fill(0)
        a = fleet.stamp()
        fleet.write(n)
        wait_until(
            f"{n} are delivered",
            lambda: fleet.sink.requests() >= a.delivered + n,
            120,
        )
        b = fleet.stamp()
        wait_until("all of them end", lambda: not fleet.leased(), 30)
        fleet.check()
        return fleet.between(a, b)


class Kill:
    """The receiver sees when the next try of a delivery arrives whose sender
    was killed."""

    name = "kill"

    def run(self, world: World, report: Report) -> None:
        for path in (REDIS, MONGO):
            took = self.measure(world, path)
            for what, value in (
                ("median", statistics.median(took)),
                ("most", max(took)),
            ):
                report.lines.append(
                    Line(
                        f"SIGKILL to next start by {path.name}, {what} of {KILLS}",
                        "-",
                        "-",
                        f"{value:.1f} ms",
                        f"< {KILL_MS} ms",
                        value < KILL_MS,
                    )
                )

    def measure(self, world: World, path: Path) -> list[float]:
        name = path.database(self.name)
        more = path.settings(world, name) | {"WEBHOOK_TIMEOUT": 20000}
        with Receiver() as receiver:
            api = world.keep(
                name,
                lambda: delivering.instance(world.servers, path.mode, **more),
            )
            hook = delivering.Hook(
                api, receiver, rateLimit={"maxRequestsPerMinute": LIMIT}
            )
            took = []
            for i in range(KILLS):
                world.progress.say(f"kill: {i + 1} of {KILLS}, {path.name}")
                took.append(self.once(api, receiver, hook))
        return took

    @staticmethod
    def once(api: Instance, receiver: Receiver, hook: delivering.Hook) -> float:
        delivering.settled(api)
        receiver.clear()
        receiver.answer(hook.path, "tarpit", "ok")
        hook.insert()
        pid = delivering.sender(api, receiver, hook.wait(1)[0])
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        first, second = hook.wait(2)
        ids = {r.headers["x-delivery-id"] for r in (first, second)}
        expect("deliveries seen", len(ids), 1)
        return (second.t - killed) * 1000
