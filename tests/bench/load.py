"""load - one slice of load: who makes it, and the CPU time of all it costs.
Nothing here runs at the same time as another load."""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

import procs
from cluster import PATH, Instance, Servers

HERE = Path(__file__).resolve().parent
CONNECTIONS = 32


class Failed(Exception):
    """Something does not work: no figure would mean anything."""


@dataclass
class Slice:
    ops: int
    seconds: float
    cpu: dict[str, float]  # microseconds an operation, by kind of process
    p99_ms: float = 0  # of one operation, where the load tells
    p50_ms: float = 0

    @property
    def rate(self) -> float:
        return self.ops / self.seconds


def children_us() -> float:
    """CPU time of the programs that we ran and that ended."""
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (u.ru_utime + u.ru_stime) * 1e6


def run(argv: list, env: dict | None = None) -> str:
    words = [str(a) for a in argv]
    env = env or {"PATH": PATH}
    got = subprocess.run(words, capture_output=True, text=True, env=env)
    if got.returncode:
        raise Failed(f"{' '.join(words)}\n{got.stdout}{got.stderr}")
    return got.stdout


class Side:
    """One of the things compared: its load, and whose CPU time counts."""

    def __init__(self, name: str, servers: Servers, instance: Instance | None = None):
        self.name = name
        self.watched = {"mongod": servers.mongod.pid, "redis": servers.redis.pid}
        if instance:
            self.watched["server"] = instance.app.pid
            self.watched["nginx"] = instance.web.pid
            if instance.workers:
                self.watched["workers"] = instance.workers.pid
        self.maker = "load" if instance else "server"

    def prepare(self, seconds: float) -> None:
        """What the load needs to be there; not measured."""

    def load(self, seconds: float) -> dict:
        """{ops, seconds, errors}; "server" is then the loop itself."""
        raise NotImplementedError

    def clear(self, ops: int) -> None:
        """Looks at what the load has left, and takes it away; not measured."""

    def slice(self, seconds: float) -> Slice:
        self.prepare(seconds)
        before = {k: procs.cpu_us(pid) for k, pid in self.watched.items()}
        families = [procs.family(pid) for pid in self.watched.values()]
        made = children_us()
        got = self.load(seconds)
        # a restart may be hidden from clients, but takes its CPU time along
        if families != [procs.family(pid) for pid in self.watched.values()]:
            raise Failed(f"{self.name}: a server process ended under load")
        used = {k: procs.cpu_us(pid) - before[k] for k, pid in self.watched.items()}
        used[self.maker] = got.get("cpu_us", children_us() - made)
        if got["errors"] or not got["ops"]:
            raise Failed(f"{self.name}: {got}")
        ops = got["ops"]
        self.clear(ops)
        cpu = {k: v / ops for k, v in used.items()}
        took = [got.get(name, 0) for name in ("p99_ms", "p50_ms")]
        return Slice(ops, got["seconds"], cpu, *took)


class Wrk(Side):
    """wrk, with one thread, on an instance."""

    connections = CONNECTIONS

    def __init__(self, name, servers, instance, target="/", words=(), headers=()):
        super().__init__(name, servers, instance)
        self.url = f"http://127.0.0.1:{instance.port}{target}"
        self.words, self.headers = list(words), list(headers)

    def load(self, seconds: float) -> dict:
        # wrk counts whole seconds
        argv = ["wrk", "-t", 1, "-c", self.connections, "-d", f"{round(seconds) or 1}s"]
        argv += ["-s", HERE / "load.lua"]
        for header in self.headers:
            argv += ["-H", header]
        out = run([*argv, self.url, "--", *self.words])
        return json.loads(out.splitlines()[-1])


class LockPairs(Wrk):
    """Acquire and release over HTTP: a pair is one operation. Its p99 is that
    of two requests, each as slow as the slowest of a hundred."""

    connections = 8

    def load(self, seconds: float) -> dict:
        got = super().load(seconds)
        return got | {"ops": got["ops"] // 2, "p99_ms": 2 * got["p99_ms"]}


class Program(Side):
    """A program of ours that prints its result: MODE PROCESSES SECONDS, on
    the servers and settings of env. Where `seed` names a mode, that one makes
    before each slice what it needs to be there."""

    def __init__(self, name, servers, env, program: Path, mode, processes, seed=""):
        super().__init__(name, servers)
        self.env, self.argv, self.seed = env, [program, mode, processes], seed

    def prepare(self, seconds: float) -> None:
        if self.seed:
            run([self.argv[0], self.seed, 1, seconds], self.env)

    def load(self, seconds: float) -> dict:
        return json.loads(run([*self.argv, seconds], self.env))


class Loop(Side):
    """loop.c: driver and server alone."""

    def __init__(self, name, servers, program: Path, mode: str, where, **more):
        super().__init__(name, servers)
        self.argv = [program, mode, servers.uri, *where]
        self.threads = more.get("threads", 4)
        self.tail = [more.get("prefix", "-"), more["n"]]

    def load(self, seconds: float) -> dict:
        out = run([*self.argv, self.threads, seconds, *self.tail])
        return json.loads(out)

    def once(self) -> None:
        """One operation, by one thread."""
        run([*self.argv, 1, 0, *self.tail])


class Download(Side):
    """One client that reads an answer of known length to its end; counted are
    its documents."""

    def __init__(self, name, servers, instance, target: str, size: int, docs: int):
        super().__init__(name, servers, instance)
        self.url = f"http://127.0.0.1:{instance.port}{target}"
        self.size, self.docs = size, docs

    def load(self, seconds: float) -> dict:
        form = "%{http_code} %{size_download} %{time_total}"
        out = run(["curl", "-sS", "-o", "/dev/null", "-w", form, self.url])
        status, size, took = out.split()
        wrong = status != "200" or int(size) != self.size
        return {"ops": self.docs, "seconds": float(took), "errors": int(wrong)}
