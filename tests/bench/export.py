"""export - the CSV export of a million documents: its rate against a loop
that reads the same documents by a cursor and drops them, and its memory."""

from __future__ import annotations

import procs
import seed
from cluster import Instance
from load import Download, Side
from report import Line, Report
from rows import Ratio, Row, expect, faster, loop
from world import World

FIELDS = "name,email,age,createdAt"
NAMED = f"/api/db/big?format=csv&fields={FIELDS}"
WHOLE = "/api/db/big?format=csv"
GROWTH_KIB = 16 * 1024
SETTINGS = {"CSV_MAX_EXPORT_RECORDS": seed.BIG, "REQUEST_TIMEOUT_MS": 600_000}


def exporter(world: World) -> Instance:
    """An instance of its own: its memory tells of exports only."""
    return world.keep("export", lambda: world.instance(**SETTINGS))


def checked(instance: Instance, target: str) -> int:
    """The length of one export, whose lines are: a header, the documents, and
    no line end after the last."""
    c = instance.connect(timeout=600)
    c.request("GET", target)
    r = c.getresponse()
    expect(f"status of {target}", r.status, 200)
    size = lines = 0
    while part := r.read(1 << 20):
        size += len(part)
        lines += part.count(b"\n")
    c.close()
    expect(f"line ends of {target}", lines, seed.BIG)
    return size


class Memory:
    """Of the child that serves, from before the first export."""

    def __init__(self) -> None:
        self.child = self.before = 0

    def start(self, instance: Instance) -> None:
        expect("status", instance.get("/api/db/big?limit=10").status, 200)
        (self.child,) = instance.app.children()
        self.before = procs.rss_kib(self.child)

    def report(self, _: World, report: Report) -> None:
        grown = procs.peak_rss_kib(self.child) - self.before
        report.lines.append(
            Line(
                "growth of RSS by all these exports",
                f"{self.before / 1024:.1f} MiB before",
                "-",
                f"{grown / 1024:.1f} MiB",
                f"< {GROWTH_KIB // 1024} MiB",
                grown < GROWTH_KIB,
            )
        )


memory = Memory()


def sides(world: World) -> list[Side]:
    world.need("big")
    instance = exporter(world)
    memory.start(instance)
    out: list[Side] = []
    for name, target in (("CSV with fields=", NAMED), ("CSV of all fields", WHOLE)):
        world.progress.say(f"csv: checking {name}")
        size = checked(instance, target)
        out.append(
            Download(name, world.servers, instance, target, size, seed.BIG)
        )
    out.append(loop(world, "loop: cursor", "scan", "big", threads=1, n=seed.BIG))
    return out


FEWER = "CSV of 1,000,000, fields=; loop of cursor"
ALL = "CSV of 1,000,000, all fields; loop of cursor"

CSV = Row(
    "csv",
    sides,
    [
        Ratio(FEWER, faster, 0.5, True, sides=(0, 2)),
        Ratio(ALL, faster, 0.25, True, sides=(1, 2)),
    ],
    warm_up=False,
    rounds_max=3,
    after=memory.report,
)
