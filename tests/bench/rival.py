"""rival - the same deliveries through BullMQ (bullmq/post.js), side by side.

As many jobs, at a time, with the same headers and body, signed for each
attempt, to the same receiver through kept connections, and the same number of
tries. What it does not do: BullMQ has its jobs in Redis alone (ours are rows in
MongoDB, and stay there as the log of deliveries; its jobs are removed when they
are done, the cheapest way), and nobody has a limit or a turn of his own. With
"rows" its worker also keeps a row in MongoDB for each delivery, by the npm
package mongodb: findOneAndUpdate before the request, updateOne after it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import hooks
import procs
from cluster import PATH, ROOT, wait_until
from deliveries import compare
from fleet import RAMP_S, REDIS, SENDERS, Fleet
from load import Failed, Slice
from receiver import Receiver, Request
from report import Line, Report
from rows import expect
from world import World

HERE = Path(__file__).resolve().parent
MODULES = ROOT / "build" / "bullmq"
PROCESSES = (1, 2, 5)
JOBS_A_SECOND, ROWS_A_SECOND = 15000, 6000  # more than are done
WARM = 2000
# each client adds its own, and each attempt has others
OWN = {"host", "accept", "connection", "content-length"}
NEW = {"x-delivery-id", "x-attempt-number", "x-delivery-timestamp"}
SIGNED = {"webhook-id", "webhook-timestamp", "webhook-signature"}
NAMES = {"x-webhook-id": "X-Webhook-ID", "content-type": "Content-Type"}


def missing() -> str:
    if not shutil.which("node", path=PATH):
        return "node is missing"
    return "" if (MODULES / "installed").exists() else "BullMQ is missing"


def versions() -> str:
    lacks = missing()
    if lacks:
        return lacks
    node = subprocess.check_output(["node", "--version"], text=True, env={"PATH": PATH})
    package = json.loads((MODULES / "node_modules/bullmq/package.json").read_text())
    return f"node {node.strip()}, BullMQ {package['version']}"


def is_signed(request: Request, secret: str) -> bool:
    h = request.headers
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{h['webhook-id']}.{h['webhook-timestamp']}.".encode() + request.body
    mac = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return h["webhook-signature"] == f"v1,{mac}"


class Rival:
    """Node processes that work on one queue."""

    def __init__(self, world: World, fleet: Fleet):
        self.world, self.fleet = world, fleet
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
        self.script = shutil.copy(HERE / "bullmq" / "post.js", MODULES)
        self.running: list[subprocess.Popen] = []
        self.sample()

    def close(self) -> None:
        for one in self.running:
            one.kill()
            one.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, url: str) -> Path:
        file = self.folder / "what.json"
        file.write_text(json.dumps(self.what | {"url": url}))
        return file

    def sample(self) -> None:
        """What one delivery of ours looks like, and that one of the other's
        looks the same."""
        fleet = self.fleet
        with Receiver() as receiver:
            hook = hooks.register(fleet.api, receiver.url("/ok"), "sample")
            fleet.pause(False)
            made = fleet.api.post(
                "/api/db/sample", {"name": "Ann", "tags": ["office"]}
            )
            expect("status of POST", made.status, 201)
            ours = receiver.wait(1, "/ok")[0]
            row = fleet.db["_webhooks"].find_one({"name": "sample"})
            fixed = set(ours.headers) - OWN - NEW - SIGNED
            self.what = {
                "redis": str(self.world.servers.redis_path),
                "prefix": "bench-bullmq",
                "database": "bench_bullmq_rows",
                "rows": "",
                "secret": row["secret"],
                "headers": {NAMES.get(k, k): ours.headers[k] for k in fixed},
                "body": ours.body.decode(),
            }
            fleet.rest()
            file = self.write(receiver.url("/other"))
            self.fill(file, 1)
            self.start(file, 1)
            self.go()
            other = receiver.wait(1, "/other")[0]
            self.stop()
        expect("id of the webhook", other.headers["x-webhook-id"], hook)
        expect("body", other.body, ours.body)
        names = [set(r.headers) - OWN for r in (other, ours)]
        expect("headers", *names)
        for request in (ours, other):
            expect("signature", is_signed(request, row["secret"]), True)

    def node(self, mode: str, file: Path, n: int) -> list[str]:
        return ["node", self.script, mode, str(file), str(n)]

    def fill(self, file: Path, n: int) -> None:
        env = {"PATH": PATH}
        got = subprocess.run(
            self.node("fill", file, n), env=env, capture_output=True, text=True
        )
        if got.returncode:
            raise Failed(f"BullMQ: {got.stderr}")

    def start(self, file: Path, processes: int) -> None:
        pipe = subprocess.PIPE
        for _ in range(processes):
            argv = self.node("work", file, SENDERS)
            self.running.append(
                subprocess.Popen(argv, env={"PATH": PATH}, stdin=pipe, stdout=pipe)
            )
        for one in self.running:
            expect("BullMQ", one.stdout.readline(), b"ready\n")

    def go(self) -> None:
        for one in self.running:
            one.stdin.write(b"go\n")
            one.stdin.flush()

    def stop(self) -> int:
        """How many were done."""
        told = [json.loads(one.communicate(timeout=60)[0]) for one in self.running]
        self.running.clear()
        expect("failed jobs of BullMQ", sum(t["failed"] for t in told), 0)
        return sum(t["done"] for t in told)

    def stamp(self) -> tuple[float, int, dict[str, int]]:
        servers, sink = self.world.servers, self.fleet.sink
        cpu = {
            "workers": sum(procs.cpu_us(one.pid) for one in self.running),
            "mongod": procs.cpu_us(servers.mongod.pid),
            "redis": procs.cpu_us(servers.redis.pid),
            "load": procs.cpu_us(sink.pid),
        }
        return time.monotonic(), sink.requests(), cpu

    def slice(self, n: int, seconds: float, rows: bool) -> Slice:
        sink = self.fleet.sink
        self.what["rows"] = self.world.servers.uri if rows else ""
        file = self.write(sink.url)
        a_second = ROWS_A_SECOND if rows else JOBS_A_SECOND
        jobs = int(a_second * (seconds + RAMP_S)) + WARM
        self.fill(file, jobs)
        self.start(file, n)
        first = sink.requests()
        self.go()
        # node compiles what is done often
        wait_until("it is warm", lambda: sink.requests() > first + WARM, 120)
        time.sleep(RAMP_S)
        t0, n0, cpu0 = self.stamp()
        time.sleep(seconds)
        t1, n1, cpu1 = self.stamp()
        done = self.stop()
        expect("requests of BullMQ", sink.requests() - first, done)
        if done >= jobs:
            raise Failed("the jobs of BullMQ did not last")
        ops = n1 - n0
        return Slice(ops, t1 - t0, {k: (cpu1[k] - cpu0[k]) / ops for k in cpu0})


class BullMQ:
    name = "bullmq"

    def run(self, world: World, report: Report) -> None:
        lacks = missing()
        if lacks:
            line = Line("deliveries; BullMQ", "-", "-", lacks, "-", True)
            report.lines.append(line)
            return
        world.progress.say("bullmq: preparing")
        with Fleet(world, REDIS, self.name) as fleet:
            rival = Rival(world, fleet)
            try:
                self.measure(world, report, fleet, rival)
            finally:
                rival.close()

    @staticmethod
    def measure(world: World, report: Report, fleet: Fleet, rival: Rival) -> None:
        for n in PROCESSES:
            ours, bare, rows = [], [], []
            for i in range(world.rounds):
                world.progress.say(f"bullmq: round {i + 1}, {n} instances")
                ours.append(fleet.slice(n, world.seconds))
                fleet.shrink(0)
                bare.append(rival.slice(n, world.seconds, False))
                rows.append(rival.slice(n, world.seconds, True))
            words = f"{n} x {SENDERS} at a time"
            report.add_costs(f"deliveries by Redis, {words}", ours)
            for name, other in (("BullMQ", bare), ("BullMQ with rows", rows)):
                compare(report, f"deliveries, {words}; {name}", ours, other, None)
                report.add_costs(f"{name}, {words}", other)
