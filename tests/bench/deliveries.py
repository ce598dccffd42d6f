"""deliveries - how many a second, and how soon after a process was killed."""

from __future__ import annotations

import os
import signal
import statistics
import time
from types import SimpleNamespace

import delivering
import hooks
import procs
import pymongo
from cluster import Instance, wait_until
from load import Failed, Program, Slice
from receiver import Receiver
from report import Line, Report, spread, two_places
from rows import expect
from sink import Sink
from workers import Workers
from world import PROGRAMS, World
from writes import LOCAL, queue_env

INSTANCES = (1, 2, 5, 10)
SENDERS = 5  # of an instance
WEBHOOKS = 10
LIMIT = 300  # a second for each
RAMP_S = 2.0  # until all of them have begun
BATCH = 2000
SETTINGS = LOCAL | {"WEBHOOK_RATE_LIMIT_WINDOW_MS": 1000}
BOUND, LINEAR = 0.5, 0.85
KILLS, KILL_MS = 20, 50


class Fleet:
    """Instances of workers, as many as wanted, on one database; deliveries that
    wait there while the queue is paused."""

    def __init__(self, world: World, api: Instance, sink: Sink):
        self.world, self.api, self.sink = world, api, sink
        self.client = world.servers.client()
        self.db = self.client[api.database]
        self.running: list[Workers] = []
        self.rows: list[dict] = []

    def grow(self, n: int) -> None:
        """Exactly n of them run, each with all its senders."""
        self.shrink(n)
        while len(self.running) < n:
            name = f"w{len(self.running)}"
            beside = SimpleNamespace(database=self.api.database)
            self.running.append(
                Workers(
                    self.world.servers, name, beside, REDIS_KEY_PREFIX=None, **SETTINGS
                )
            )
        for one in self.running:
            one.wait_started()
            wait_until("all senders run", lambda w=one: self.senders(w), 60)
        names = {one.name for one in self.running}
        wait_until("none other is left", lambda: self.members() == names, 60)

    @staticmethod
    def senders(one: Workers) -> bool:
        return len(one.pids("deliver")) == SENDERS

    def members(self) -> set[str]:
        """The cap in flight follows from their senders."""
        return {row["_id"] for row in self.db["_instances"].find({}, {"_id": 1})}

    def shrink(self, n: int) -> None:
        while len(self.running) > n:
            self.running.pop().__exit__(None, None, None)

    def stop(self) -> None:
        self.shrink(0)
        self.client.close()

    # ---- what is delivered

    def make_rows(self) -> None:
        """One delivery to each webhook as the fan-out makes them: the others
        are copies."""
        for _ in range(WEBHOOKS):
            wish = {"rateLimit": {"maxRequestsPerMinute": LIMIT}}
            hooks.register(self.api, self.sink.url, "watched", **wish)
        self.grow(1)
        self.rest()
        made = self.api.post("/api/db/watched", {"name": "Ann", "tags": ["office"]})
        expect("status of POST", made.status, 201)
        jobs = self.db["_jobs"]
        wait_until(
            "it is fanned out", lambda: jobs.count_documents({}) == WEBHOOKS, 30
        )
        self.rows = list(jobs.find({"st": "waiting", "starts": 0}))
        expect("copied deliveries", len(self.rows), WEBHOOKS)

    def fill(self, n: int) -> None:
        """n rows, the webhooks in turn, all of them due."""
        now = self.db.command("hello")["localTime"]
        jobs = self.db["_jobs"].with_options(write_concern=pymongo.WriteConcern(1))
        for name in ("_jobs", "_limits"):
            self.db[name].delete_many({})
        for at in range(0, n, BATCH):
            batch = []
            for i in range(at, min(at + BATCH, n)):
                row = dict(self.rows[i % WEBHOOKS])
                head, _, _ = row["_id"].split("-")
                row |= {"_id": f"{head}-1700000000000-{i:09d}", "runAt": now}
                batch.append(row | {"ts": now})
            jobs.insert_many(batch, ordered=False)

    def pause(self, on: bool) -> None:
        expect("status of pause", hooks.pause(self.api, on).status, 200)

    def rest(self) -> None:
        """Paused, and nothing is on its way."""
        self.pause(True)
        time.sleep(1)  # by then every program obeys
        try:
            wait_until("nobody has one", lambda: not self.leased(), 30)
        except AssertionError as error:
            logs = "".join(one.process.tail(5) for one in self.running)
            raise Failed(f"{error}: {self.leased()}\n{logs}") from error

    def leased(self) -> list[dict]:
        """A lease that is over says "leased" still, until somebody claims."""
        mine = {"st": "leased", "$expr": {"$gt": ["$lease.until", "$$NOW"]}}
        return list(self.db["_jobs"].find(mine, {"body": 0}).limit(3))

    def delivered(self) -> int:
        return sum(row.get("delivered", 0) for row in self.db["_limits"].find({}))

    def check(self) -> None:
        jobs = self.db["_jobs"]
        done = jobs.count_documents({"st": "done"})
        once = {"st": "done", "tries": 1, "attempts.0.code": 200}
        expect("deliveries at the first try", jobs.count_documents(once), done)
        expect("deliveries in the totals", self.delivered(), done)
        if not jobs.count_documents({"st": "waiting"}):
            raise Failed("the deliveries did not last")

    # ---- one slice

    def stamp(self) -> tuple[float, int, dict, dict]:
        """The time, what is delivered, CPU times, what mongod was asked."""
        status = self.db.command("serverStatus", repl=0, metrics=1)
        cpu = {
            "workers": sum(procs.cpu_us(w.process.pid) for w in self.running),
            "mongod": procs.cpu_us(self.world.servers.mongod.pid),
            "load": procs.cpu_us(self.sink.pid),
        }
        count = status["opcounters"]
        asked = {"reads": count["query"], "updates": count["update"]}
        asked["commands"] = count["command"]  # findAndModify, too
        asked["conflicts"] = status["metrics"]["operation"]["writeConflicts"]
        return time.monotonic(), self.delivered(), cpu, asked

    def slice(self, n: int, seconds: float) -> tuple[Slice, dict[str, float]]:
        self.rest()
        self.fill(int(LIMIT * WEBHOOKS * (seconds + RAMP_S + 3)))
        self.grow(n)
        self.pause(False)
        wait_until("the first is delivered", self.delivered)
        time.sleep(RAMP_S)
        t0, n0, cpu0, asked0 = self.stamp()
        time.sleep(seconds)
        t1, n1, cpu1, asked1 = self.stamp()
        self.rest()
        self.check()
        ops = n1 - n0
        if not ops:
            raise Failed(f"{n} instances: nothing was delivered")
        cpu = {k: (cpu1[k] - cpu0[k]) / ops for k in cpu0}
        asked = {k: (asked1[k] - asked0[k]) / ops for k in asked0}
        return Slice(ops, t1 - t0, cpu), asked


class Deliveries:
    name = "deliveries"

    def run(self, world: World, report: Report) -> None:
        sink = world.keep("sink", Sink)
        api = world.keep(
            "deliveries",
            lambda: Instance(
                world.servers, MONGODB_DATABASE_NAME="bench_deliveries", **SETTINGS
            ),
        )
        fleet = Fleet(world, api, sink)
        try:
            world.progress.say("deliveries: preparing")
            fleet.make_rows()
            self.measure(world, report, fleet)
        finally:
            fleet.stop()

    def measure(self, world: World, report: Report, fleet: Fleet) -> None:
        bounds = [self.bound(world, fleet.sink, n) for n in INSTANCES]
        ours: list[list[Slice]] = []
        asked: list[list[dict]] = []
        other: list[list[Slice]] = []
        for i in range(world.rounds):
            row = []
            other.append([])
            for n, bound in zip(INSTANCES, bounds):
                world.progress.say(
                    f"deliveries: round {i + 1} of {world.rounds}: {n} instances"
                )
                row.append(fleet.slice(n, world.seconds))
                other[-1].append(bound.slice(world.seconds))
            ours.append([s for s, _ in row])
            asked.append([a for _, a in row])
        for at, n in enumerate(INSTANCES):
            self.add(report, at, n, ours, other)
            self.add_asked(report, n, [a[at] for a in asked])

    @staticmethod
    def bound(world: World, sink: Sink, n: int) -> Program:
        env = queue_env(world, BENCH_URL=sink.url)
        words = (PROGRAMS / "queue_bench", "post", SENDERS * n)
        return Program(f"loop: POST, {SENDERS * n} processes", world.servers, env, *words)

    @staticmethod
    def add(report: Report, at: int, n: int, ours, other) -> None:
        mine, bound = [r[at] for r in ours], [r[at] for r in other]
        first = [r[0] for r in ours]
        name = f"deliveries, {n} instance{'s' if n > 1 else ''}"
        for what, against, target in (
            (f"{name}; loop of POST", bound, BOUND),
            (f"{name}; 1 instance", first, LINEAR),
        ):
            if against is first and n == 1:
                continue
            values = [a.rate / b.rate for a, b in zip(mine, against)]
            report.lines.append(
                Line(
                    what,
                    f"{spread([s.rate for s in mine])} /s",
                    f"{spread([s.rate for s in against])} /s",
                    f"{spread(values, two_places)} x",
                    f">= {target} x",
                    statistics.median(values) >= target,
                )
            )
        report.add_costs(name, mine)
        report.add_costs(f"loop of POST, {SENDERS * n} processes", bound)

    @staticmethod
    def add_asked(report: Report, n: int, asked: list[dict]) -> None:
        kinds = list(asked[0])
        value = ", ".join(spread([a[kind] for a in asked]) for kind in kinds)
        what = f"{', '.join(kinds)} a delivery, {n}"
        report.lines.append(Line(what, "-", "-", value, "-", True))


class Kill:
    """The receiver sees when the next try of a delivery arrives whose sender
    was killed."""

    name = "kill"

    def run(self, world: World, report: Report) -> None:
        more = {"WEBHOOK_TIMEOUT": 20000, "MONGODB_DATABASE_NAME": "bench_kill"}
        with Receiver() as receiver:
            api = world.keep("kill", lambda: delivering.instance(world.servers, **more))
            hook = delivering.Hook(
                api, receiver, rateLimit={"maxRequestsPerMinute": LIMIT}
            )
            took = []
            for i in range(KILLS):
                world.progress.say(f"kill: {i + 1} of {KILLS}")
                took.append(self.once(api, receiver, hook))
        for what, value in (
            ("median", statistics.median(took)),
            ("most", max(took)),
        ):
            report.lines.append(
                Line(
                    f"SIGKILL to next start, {what} of {KILLS}",
                    "-",
                    "-",
                    f"{value:.1f} ms",
                    f"< {KILL_MS} ms",
                    value < KILL_MS,
                )
            )

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
