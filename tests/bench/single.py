"""single - rows that compare with a fixed figure: the time to start, and
memory idle, under load, and after many requests."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import contextmanager

import fastcgi
import procs
import seed
from cluster import Instance
from load import Failed, Wrk
from report import Line, Report, spread
from rows import BY_GROUP, BY_ID
from world import World, setting

START_MS = 100
IDLE_MIB, LOADED_MIB = 20, 40
GROWTH_KIB = 1024
SETTLE_S = 2  # threads and connections of a start are made by then
SAMPLE_S = 0.25


def until_200(instance: Instance, target: str, seconds: float = 20) -> None:
    params = fastcgi.params_of("GET", target)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if fastcgi.ask(instance.socket, params).status == 200:
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.0005)
    raise Failed(f"{target}: no 200 within {seconds} s of the start")


class Start:
    """From exec to the first 200: of the readiness probe, of a document."""

    name = "start"

    def run(self, world: World, report: Report) -> None:
        world.need("small")
        document = f"/api/db/small/{seed.oid(7)}"
        targets = {"first 200 of /health/ready": "/health/ready"}
        targets["first 200 of GET by id"] = document
        # without a web server, whose own retries would be measured
        instance = world.keep("start", lambda: world.instance(web=None))
        for what, target in targets.items():
            world.progress.say(f"start: {what}")
            took = [self.once(instance, target) for _ in range(world.rounds)]
            self.add(report, what, took)

    @staticmethod
    def once(instance: Instance, target: str) -> float:
        instance.app.stop()
        start = time.monotonic()
        instance.start_app()
        until_200(instance, target)
        return (time.monotonic() - start) * 1000

    @staticmethod
    def add(report: Report, what: str, took: list[float]) -> None:
        good = statistics.median(took) < START_MS
        value = f"{spread(took)} ms"
        report.lines.append(
            Line(f"start to {what}", "-", "-", value, f"< {START_MS} ms", good)
        )


class Memory:
    """PSS of supervisor and child, idle and the most under load; the growth
    of the child's RSS after it has served for a while."""

    name = "memory"

    def __init__(self) -> None:
        self.requests = int(setting("REQUESTS", "200000"))
        self.early = min(100_000, self.requests // 2)

    def run(self, world: World, report: Report) -> None:
        world.need("users")
        # another instance would share pages, and so halve what counts here
        world.stop_instances()
        instance = world.app
        time.sleep(SETTLE_S)
        idle = procs.pss_kib(instance.app.pid)
        with sampled(instance) as samples:
            rss = self.load(world, instance)
        self.add(report, "PSS idle", idle, IDLE_MIB)
        self.add(report, "PSS, most under load", max(samples), LOADED_MIB)
        what = f"growth of RSS, {self.early:,} to {self.requests:,} requests"
        value, target = f"{rss:,} KiB", f"< {GROWTH_KIB:,} KiB"
        report.lines.append(Line(what, "-", "-", value, target, rss < GROWTH_KIB))

    def load(self, world: World, instance: Instance) -> int:
        words = ("path", *BY_ID[1:], *BY_GROUP[1:])
        mix = Wrk("GET by id and lists", world.servers, instance, words=words)
        (child,) = instance.app.children()
        served = early_rss = 0
        while served < self.requests:
            if served >= self.early and not early_rss:
                early_rss = procs.rss_kib(child)
            world.progress.say(f"memory: {served:,} of {self.requests:,} requests")
            served += mix.slice(world.seconds).ops
        return procs.rss_kib(child) - early_rss

    @staticmethod
    def add(report: Report, what: str, kib: int, most_mib: int) -> None:
        value = f"{kib / 1024:.1f} MiB"
        good = kib < most_mib * 1024
        report.lines.append(Line(what, "-", "-", value, f"< {most_mib} MiB", good))


@contextmanager
def sampled(instance: Instance):
    """The list that PSS is added to, again and again, until the end."""
    samples: list[int] = [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            samples.append(procs.pss_kib(instance.app.pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
