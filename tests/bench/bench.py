"""bench - one command, one table of numbers: `make bench`.

    BENCH_ROWS=get,list   only these rows (names below)
    BENCH_ROUNDS=5        rounds of each row
    BENCH_SECONDS=2       of each slice
    BENCH_REQUESTS=200000 of the row "memory" (in full: 1000000)

Each row compares this API with something that does the same work without it,
on the same MongoDB and the same data. Rounds are interleaved (ours, the other,
ours, the other, ...), a ratio is that of two neighbouring slices, and shown is
the median of all rounds with the range in parentheses: judge by the range
whether the machine was quiet. CPU time an operation is steadier than a rate,
for on a busy machine all rates fall. The load generator needs CPU time, too,
and takes it from the servers; the loops need none.

Through nginx means wrk, 1 thread, 32 kept connections, and the shipped
conf/nginx.conf. fcgi-app runs with its default settings and writes a line a
request to a file. "loop" is tests/bench/loop.c: driver and mongod, no HTTP.

    health   GET /health, behind nginx; the same nginx configuration in front
             of trivial.c, 64 threads that block in FCGX_Accept_r() and send a
             fixed body of the same length
    get      GET of a random document of 100,000; loop of the same find, 4
             threads; and the CPU time an operation of fcgi-app and loop alone
    list     list of 10 by an indexed field, 100 of 100,000 match, with the
             exact total; loop of the same find and count, 4 threads
    part     a page that is not full, whose total is known without a count;
             the same with "Prefer: count=none"
    total    list of 10 without a filter, exact total, of 1,000,000; of 1,000
    post     POST; loop of insert, 16 threads. Neither names a write concern:
             the server's default holds for both, and is printed
    locks    lock_bench.c: acquire and release in C, on 1 and on 5 connections of
             as many processes; EVALSHA of "return 1" with one key on the same
             Redis. A pair is two calls, so it is held against half their rate
    locks-http  the same two by HTTP, through nginx on 8 kept connections, new
             names all the time; p99 is that of a request, twice
    events   POST to a collection with one unordered webhook (transaction and
             outbox), workers not running; the same with workers that deliver
             to a local receiver; POST to a collection without one, beside it;
             each against POST to an instance that has no webhook at all
    queue    queue_bench.c: claim and finish of deliveries without requests, 5
             processes, 200 webhooks; findAndModify of a row by _id, likewise
    index    index_bench.c: one call that tells the index in Redis of a delivery
             that is done and claims the next, 5 processes, 200 subscribers; the
             same where each has 40 ordered groups; jobs that come, 50 a call
             and one a call, on one connection. Each against EVALSHA of
             "return 1" on as many connections, and counted in jobs
    deliveries  to nginx that answers 200, from 1, 2, 5 and 10 instances of
             workers with 5 senders each, 10 webhooks, 300 in 1.25 s for each;
             on both claim paths, against each other, against queue_bench.c's
             loop of findAndModify, POST, update with as many processes, and
             against 1 instance. Counted by the receiver between two moments,
             then compared with rows and totals. "workers" has the CPU time of
             all their processes, and commands are those that mongod counts
    e2e      events put into the outbox as requests do, until 1 instance has
             delivered all of them; the same loop, 5 processes
    wake     wake_bench.c: from the call that enqueues until Redis says that one
             of 5 senders that wait has claimed it; and from a request that
             writes to its delivery, which Python receives, on both paths
    refill   the id of the data set is deleted in Redis, 100,000 deliveries wait:
             until a new one is open, and from then until all of them are there
    kill     SIGKILL of a process that waits for a receiver's answer, until the
             same delivery arrives there again from another
    bullmq   deliveries on the path of Redis, and as many jobs at a time through
             BullMQ (rival.py says what is the same and what is not)
    csv      export of 1,000,000 documents with fields= (four of twelve) and
             without (two passes: the columns are those of all documents); loop
             that reads the whole documents by the driver's cursor and drops
             them, in both cases: a projection would cost the server more than
             the bytes it saves, so this is the faster loop. At most 3 rounds,
             no slices. Growth of RSS: the peak after all exports less the
             size before the first
    start    exec of fcgi-app to its first 200, asked each half millisecond on
             its socket, MongoDB up
    memory   PSS of supervisor and child, idle and the most seen under GET and
             lists; growth of the child's RSS between an early and the last
             request

Before get, list and post the server's profiler is asked whether both sides
come to the same commands, plans, and documents looked at.

A row that misses its target says MISSED, and the exit code is still 0:
machines are noisy. It is 1 when something does not work: a wrong answer
before the load, an answer other than 2xx or a lost connection under load, a
loop that does not find what it must, a server process that ended.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / p) for p in ("system", "toxics"))]

from cluster import PATH, ROOT  # noqa: E402
from deliveries import Deliveries, EndToEnd, Kill  # noqa: E402
from export import CSV  # noqa: E402
from idle import Refill, Wake  # noqa: E402
from index_rows import INDEX  # noqa: E402
from load import Failed  # noqa: E402
from report import Progress, Report  # noqa: E402
import rival  # noqa: E402
from rival import BullMQ  # noqa: E402
from rows import ROWS  # noqa: E402
from single import Memory, Start  # noqa: E402
from world import World, setting  # noqa: E402
from writes import EVENTS, QUEUE  # noqa: E402


DELIVERIES = [Deliveries(), EndToEnd(), Wake(), Refill(), Kill(), BullMQ()]
ALL = [*ROWS, EVENTS, QUEUE, INDEX, *DELIVERIES, CSV, Start(), Memory()]


def first_line(*argv: str) -> str:
    got = subprocess.run(argv, capture_output=True, text=True, env={"PATH": PATH})
    return (got.stdout + got.stderr).strip().splitlines()[0]


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)", text, re.M)
    name = model[1] if model else platform.machine()
    return f"{name}, {os.cpu_count()} cores; Linux {platform.release()}"


def versions() -> str:
    mongod = subprocess.check_output([ROOT / "conf/dev/mongod.sh"], text=True)
    parts = [
        "mongod " + first_line(mongod.strip(), "--version").split("version v")[-1],
        "libmongoc " + first_line("pkg-config", "--modversion", "libmongoc-1.0"),
        first_line("nginx", "-v").removeprefix("nginx version: "),
        "Redis " + first_line("redis-server", "--version").split("v=")[1].split()[0],
        first_line("gcc", "--version"),
        rival.versions(),
    ]
    return ", ".join(parts)


def write_concern(world: World) -> str:
    """What holds for a write that names none."""
    with world.servers.client() as client:
        got = client.admin.command("getDefaultRWConcern")
    concern = got["defaultWriteConcern"]
    return f"the server's default, w: {concern['w']}"


def header(world: World) -> list[str]:
    now = datetime.datetime.now(datetime.timezone.utc)
    revision = first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    return [
        f"{now:%Y-%m-%d %H:%M} UTC, revision {revision}",
        machine(),
        versions(),
        f"{world.rounds} interleaved rounds of {world.seconds:g} s a side: "
        "median (range)",
        "default settings; the access log goes to a file",
        f"write concern of POST and of its loop: {write_concern(world)}",
    ]


def chosen() -> list:
    names = setting("ROWS", "")
    if not names:
        return ALL
    wanted = names.split(",")
    known = [row.name for row in ALL]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"bench: no row {unknown[0]!r}; rows: {', '.join(known)}")
    return [row for row in ALL if row.name in wanted]


def measure(rows: list, progress: Progress) -> str:
    world = World(progress)
    report = Report()
    try:
        for row in rows:
            row.run(world, report)
        return report.text(header(world))
    finally:
        progress.end()
        world.stop()


def main() -> int:
    rows = chosen()
    try:
        text = measure(rows, Progress())
    except (Failed, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    (ROOT / "build" / "bench.md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
