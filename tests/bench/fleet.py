"""fleet - instances of workers, as many as wanted, on one database and one
claim path, and deliveries that wait there while the queue is paused."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import bson
import hooks
import procs
import pymongo
from cluster import Instance, wait_until
from load import Failed, Slice
from report import Line, Report, spread
from rows import expect
from sink import Sink
from workers import Workers
from world import World

SENDERS = 5  # of an instance
WEBHOOKS = 10
LIMIT = 300  # in a window, for each; the window is a quarter of a second longer
RAMP_S = 2.0  # until all of them have begun
BATCH = 2000
SETTINGS = {
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "WEBHOOK_RATE_LIMIT_WINDOW_MS": 1000,
}


@dataclass
class Path:
    """Where workers find their next delivery."""

    name: str
    redis: bool

    @property
    def mode(self) -> str:
        """As tests/system/paths.py calls it."""
        return "redis" if self.redis else "mongodb"

    def settings(self, world: World, database: str) -> dict:
        """The prefix in Redis is named like the database."""
        url = world.servers.redis_url if self.redis else "none"
        return SETTINGS | {
            "MONGODB_DATABASE_NAME": database,
            "REDIS_URL": url,
            "REDIS_KEY_PREFIX": database,
        }

    def database(self, row: str) -> str:
        return f"bench_{row}_{self.mode}"


REDIS, MONGO = Path("Redis", True), Path("MongoDB alone", False)


@dataclass
class Stamp:
    """A moment: what was delivered, CPU times, what was asked of servers."""

    t: float
    delivered: int
    cpu: dict[str, int]
    asked: dict[str, float]


@dataclass
class Taken(Slice):
    asked: dict[str, float] = field(default_factory=dict)  # a delivery


class Fleet:
    def __init__(self, world: World, path: Path, row: str):
        self.world, self.path = world, path
        self.database = path.database(row)
        self.settings = path.settings(world, self.database)
        self.sink: Sink = world.keep("sink", Sink)
        self.api: Instance = world.keep(
            self.database, lambda: Instance(world.servers, **self.settings)
        )
        self.client = world.servers.client()
        self.db = self.client[self.database]
        self.running: list[Workers] = []
        self.hooks: list[str] = []
        self.rows: list[dict] = []
        self.events: list[dict] = []
        self.numbers = itertools.count()
        self.before = 0
        self.make_rows()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_) -> None:
        self.shrink(0)
        self.client.close()

    # ---- who runs

    def grow(self, n: int) -> None:
        """Exactly n of them run, each with all its senders, on the path."""
        self.shrink(n)
        while len(self.running) < n:
            name = f"w{len(self.running)}"
            beside = SimpleNamespace(database=self.database)
            self.running.append(
                Workers(self.world.servers, name, beside, **self.settings)
            )
        for one in self.running:
            one.wait_started()
            wait_until("all senders run", lambda w=one: self.senders(w), 60)
            one.wait_mode("cluster" if self.path.redis else "single", 60)
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

    # ---- what is delivered

    def make_rows(self) -> None:
        """A delivery and an event of each webhook as they are made: the
        others are copies."""
        for i in range(WEBHOOKS):
            wish = {"rateLimit": {"maxRequestsPerMinute": LIMIT}}
            hook = hooks.register(self.api, self.sink.url, f"watched{i}", **wish)
            self.hooks.append(hook)
            made = self.api.post(
                f"/api/db/watched{i}", {"name": "Ann", "tags": ["office"]}
            )
            expect("status of POST", made.status, 201)
        self.events = list(self.db["_outbox"].find({}))
        expect("copied events", len(self.events), WEBHOOKS)
        self.pause(True)
        self.grow(1)
        jobs = self.db["_jobs"]
        wait_until(
            "they are fanned out", lambda: jobs.count_documents({}) == WEBHOOKS, 30
        )
        self.rows = list(jobs.find({"st": "waiting", "starts": 0}))
        expect("copied deliveries", len(self.rows), WEBHOOKS)

    def fill(self, n: int) -> None:
        """n rows wait, the webhooks in turn, all of them due, and the claim
        path knows them."""
        now = self.db.command("hello")["localTime"]
        jobs = self.db["_jobs"].with_options(write_concern=pymongo.WriteConcern(1))
        jobs.delete_many({"st": {"$ne": "waiting"}})
        self.before = self.totals()
        left = n - jobs.count_documents({})
        while left > 0:
            batch = [self.copy(now) for _ in range(min(left, BATCH))]
            jobs.insert_many(batch, ordered=False)
            left -= len(batch)
        if self.path.redis:
            wait_until("the index knows all of them", self.indexed, 120)

    def drop(self) -> None:
        """Nothing waits any more."""
        self.db["_jobs"].delete_many({"st": "waiting"})

    def copy(self, now) -> dict:
        i = next(self.numbers)
        row = self.rows[i % WEBHOOKS] | {"runAt": now, "ts": now}
        row.pop("enq", None)
        head, _, _ = row["_id"].split("-")
        return row | {"_id": f"{head}-1700000000000-{i:09d}"}

    def dataset(self) -> str:
        return self.db["_cluster"].find_one("redis")["dataset"]

    def indexed(self) -> bool:
        other = {"q": "webhook", "open": True, "enq": {"$ne": self.dataset()}}
        return self.db["_jobs"].find_one(other, {"_id": 1}) is None

    def event(self, now) -> dict:
        i = next(self.numbers)
        more = {"_id": bson.ObjectId(), "docId": bson.ObjectId(), "ts": now}
        return self.events[i % WEBHOOKS] | more | {"part": i * 7 % 1024}

    def write(self, n: int) -> None:
        """n events as requests leave them: in the outbox, and a hint."""
        now = self.db.command("hello")["localTime"]
        outbox = self.db["_outbox"]
        for at in range(0, n, 500):
            batch = [self.event(now) for _ in range(min(500, n - at))]
            outbox.insert_many(batch, ordered=False)
            if self.path.redis:
                ids = [str(e["_id"]) for e in batch]
                self.world.servers.redis_cli("RPUSH", f"{self.database}:ev", *ids)

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

    def totals(self) -> int:
        return sum(row.get("delivered", 0) for row in self.db["_limits"].find({}))

    def check(self) -> None:
        """Whatever ended since the last fill() was delivered at the first try,
        and is counted."""
        jobs = self.db["_jobs"]
        ended = jobs.count_documents({"st": {"$ne": "waiting"}})
        once = {"st": "done", "tries": 1, "attempts.0.code": 200}
        if jobs.count_documents(once) != ended:
            other = {"$nor": [{"st": "waiting"}, once]}
            found = list(jobs.find(other, {"body": 0}).limit(3))
            raise Failed(f"not delivered at the first try: {found}")
        wait_until(
            f"{ended} deliveries are in the totals",
            lambda: self.totals() - self.before == ended,
            30,
        )

    # ---- what it costs

    def stamp(self) -> Stamp:
        servers = self.world.servers
        status = self.db.command("serverStatus", repl=0, metrics=1)
        cpu = {
            "workers": sum(procs.cpu_us(w.process.pid) for w in self.running),
            "mongod": procs.cpu_us(servers.mongod.pid),
            "redis": procs.cpu_us(servers.redis.pid),
            "load": procs.cpu_us(self.sink.pid),
        }
        count = status["opcounters"]
        asked = {"reads": count["query"], "updates": count["update"]}
        asked["commands"] = count["command"]  # findAndModify, too
        asked["conflicts"] = status["metrics"]["operation"]["writeConflicts"]
        if self.path.redis:
            asked |= self.scripts()
        return Stamp(time.monotonic(), self.sink.requests(), cpu, asked)

    def scripts(self) -> dict[str, float]:
        """Calls of scripts in Redis, and the microseconds spent in them."""
        text = self.world.servers.redis_cli("INFO", "commandstats")
        calls = us = 0
        for line in text.splitlines():
            name, _, rest = line.strip().partition(":")
            if name in ("cmdstat_evalsha", "cmdstat_eval"):
                pairs = dict(p.split("=") for p in rest.split(","))
                calls += int(pairs["calls"])
                us += int(pairs["usec"])
        return {"scripts": calls, "us in them": us}

    def between(self, a: Stamp, b: Stamp) -> Taken:
        ops = b.delivered - a.delivered
        if ops <= 0:
            raise Failed(f"{self.path.name}: nothing was delivered")
        cpu = {k: (b.cpu[k] - a.cpu[k]) / ops for k in a.cpu}
        asked = {k: (b.asked[k] - a.asked[k]) / ops for k in a.asked}
        return Taken(ops, b.t - a.t, cpu, asked=asked)

    def slice(self, n: int, seconds: float) -> Taken:
        """Deliveries of n instances, all at work."""
        self.rest()
        self.grow(n)
        self.fill(int(LIMIT * WEBHOOKS * (seconds + RAMP_S + 3)))
        first = self.sink.requests()
        self.pause(False)
        wait_until("the first is delivered", lambda: self.sink.requests() > first)
        time.sleep(RAMP_S)
        a = self.stamp()
        time.sleep(seconds)
        b = self.stamp()
        if not self.db["_jobs"].find_one({"st": "waiting"}):
            raise Failed("the deliveries did not last")
        self.rest()
        self.check()
        return self.between(a, b)


def add_asked(report: Report, what: str, slices: list[Taken]) -> None:
    """A line that says what of the servers a delivery asks."""
    kinds = list(slices[0].asked)
    value = ", ".join(spread([s.asked[kind] for s in slices]) for kind in kinds)
    report.lines.append(
        Line(f"{', '.join(kinds)} a delivery, {what}", "-", "-", value, "-", True)
    )
