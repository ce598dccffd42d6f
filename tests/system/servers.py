"""servers - the processes below the tests: a MongoDB and a Redis that may be
paused, killed, restarted and emptied, each with a free port or a unix socket
in a folder of its own, ended by its process id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymongo

from standstill import took

ROOT = Path(__file__).resolve().parents[2]
MODE = os.environ.get("MODE", "release")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
# of each program of ours; before main the driver greets, on stderr, the file
# that a killed process of the same id has left
BARE = {"PATH": PATH, "MONGOC_DISABLE_SHM": "1"}


class Ports:
    """Free ports, each given once. What the kernel calls free it gives to the
    next who asks, or to a connection, while the server that is to listen there
    starts: so they are below those that the kernel gives, in a block that no
    other process of tests has as long as this one lives."""

    FIRST, BLOCK, BLOCKS = 15000, 200, 80

    def __init__(self) -> None:
        self.name = socket.socket(socket.AF_UNIX)
        self.ports: list[int] = []

    def _reserve(self) -> None:
        for block in random.sample(range(self.BLOCKS), self.BLOCKS):
            try:
                self.name.bind(f"\0sql-free test ports {block}")
            except OSError:
                continue
            first = self.FIRST + block * self.BLOCK
            self.ports = list(range(first, first + self.BLOCK))
            return
        raise AssertionError("no block of ports is free")

    def take(self) -> int:
        if not self.ports:
            self._reserve()
        for _ in range(self.BLOCK):
            port = self.ports.pop(0)
            self.ports.append(port)  # the last to be given again
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise AssertionError("no port is free")


_ports = Ports()


def free_port() -> int:
    return _ports.take()


def wait_until(what: str, check: Callable, seconds: float = 20):
    """The first true value of check(); AssertionError after the time."""
    begun = time.monotonic()
    while True:
        value = check()
        if value:
            return value
        if took(begun) > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def can_connect(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def proc_text(pid: int, name: str) -> str:
    """A file of /proc/PID; empty when the process has gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descendants(pid: int) -> Iterator[int]:
    for child in proc_text(pid, f"task/{pid}/children").split():
        yield int(child)
        yield from descendants(int(child))


def gone(pid: int) -> bool:
    """Ended, also when nobody has waited for it yet."""
    stat = proc_text(pid, "stat")
    return not stat or stat.rsplit(")", 1)[1].split()[0] == "Z"


def interruptible() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so all
    that comes of that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """One program of ours, with its output in a file."""

    def __init__(self, folder: Path, name: str, argv: list, env=None):
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.popen = subprocess.Popen(
                [str(a) for a in argv],
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=interruptible,
            )
        self.pid = self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        if self.running():
            os.kill(self.pid, number)

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def signal_all(self, number: int) -> list[int]:
        """To the program and all below it, the parent first: a parent that
        runs would replace its child. Those that were meant."""
        self.signal(number)
        if not self.running():
            return []
        pids = [self.pid, *descendants(self.pid)]
        for pid in pids[1:]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return pids

    def pause(self) -> None:
        self.signal_all(signal.SIGSTOP)

    def cont(self) -> None:
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, also to all below it: nothing is left when it returns."""
        pids = self.signal_all(signal.SIGSTOP)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.popen.wait()
        wait_until(f"{self.name} is gone", lambda: all(map(gone, pids)))

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM, SIGKILL when that is ignored; the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self.popen.wait()

    def tail(self, lines: int = 20) -> str:
        text = self.err.read_text(errors="replace")
        text += self.out.read_text(errors="replace")
        return f"--- {self.name}\n" + "\n".join(text.splitlines()[-lines:])


class Servers:
    """A one-node replica set (or a lone mongod) and a Redis. Redis keeps its
    data over restart_redis(empty=False) only; with `appendonly` it writes them
    at once, so that they outlive kill(), too."""

    def __init__(
        self,
        cache_gb: float = 0.25,
        appendonly: bool = False,
        redis_env: dict | None = None,
        replica_set: bool = True,
        auth: bool = False,
    ) -> None:
        self.replica_set = replica_set
        self.auth = auth  # access control; of a lone mongod only
        self.cache_gb = cache_gb
        self.appendonly = appendonly
        self.redis_env = redis_env or {}
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
        self.redis_path = self.folder / "redis.sock"
        self.port = free_port()
        self.mongod: Process | None = None
        self.redis: Process | None = None
        try:
            self.start_mongod()
            self.start_redis()
        except BaseException:
            self.stop()
            raise

    @property
    def uri(self) -> str:
        more = "?replicaSet=rs0" if self.replica_set else ""
        return f"mongodb://127.0.0.1:{self.port}/{more}"

    @property
    def redis_url(self) -> str:
        return f"unix:{self.redis_path}"

    def start_mongod(self) -> None:
        mongod = subprocess.check_output([ROOT / "conf/dev/mongod.sh"], text=True)
        data = self.folder / "mongo"
        data.mkdir(exist_ok=True)
        argv = [mongod.strip(), "--dbpath", data, "--port", self.port]
        argv += ["--bind_ip", "127.0.0.1", "--noscripting"]
        argv += ["--replSet", "rs0"] if self.replica_set else []
        argv += ["--auth"] if self.auth else []
        argv += ["--wiredTigerCacheSizeGB", self.cache_gb, "--nounixsocket"]
        self.mongod = Process(self.folder, "mongod", argv)
        wait_until("mongod listens", lambda: can_connect(self.port), 60)
        if not self.replica_set:
            return
        script = ROOT / "conf/dev/replica_set.py"
        subprocess.run([sys.executable, script, str(self.port)], check=True)

    def restart_mongod(self, kill: bool = False) -> None:
        self.mongod.kill() if kill else self.mongod.stop()
        self.start_mongod()

    def stepdown(self, seconds: int) -> None:
        """No primary for so long; then it is elected again."""
        with self.client() as client:
            client.admin.command("replSetStepDown", seconds, force=True)

    def start_redis(self) -> None:
        path = self.redis_path
        path.unlink(missing_ok=True)  # that of a killed one
        argv = ["redis-server", "--port", 0, "--unixsocket", path, "--save", ""]
        argv += ["--maxmemory-policy", "noeviction", "--dir", self.folder]
        argv += ["--enable-debug-command", "yes"]
        argv += ["--appendonly", "yes" if self.appendonly else "no"]
        env = {**os.environ, **self.redis_env}
        self.redis = Process(self.folder, "redis", argv, env)
        wait_until("Redis answers", self.redis_answers, 60)

    def redis_answers(self) -> bool:
        assert self.redis.running(), self.redis.tail()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(1)
            try:
                s.connect(str(self.redis_path))
                s.sendall(b"PING\r\n")
                return s.recv(100).startswith(b"+PONG")
            except OSError:
                return False

    def restart_redis(
        self, empty: bool = True, kill: bool = False, cut: int = 0
    ) -> None:
        """cut: so many bytes are missing at the end of the append-only file."""
        log = self.folder / "appendonlydir"
        dump = self.folder / "dump.rdb"
        if not empty and not self.appendonly:
            self.redis_cli("SAVE")
        self.redis.kill() if kill else self.redis.stop()
        if empty:
            shutil.rmtree(log, ignore_errors=True)
            dump.unlink(missing_ok=True)
        if cut:
            (file,) = log.glob("*.incr.aof")
            os.truncate(file, file.stat().st_size - cut)
        self.start_redis()
        dump.unlink(missing_ok=True)  # only this start was to find it

    def redis_cli(self, *words: str) -> str:
        argv = ["redis-cli", "-s", self.redis_path, *words]
        return subprocess.check_output(argv, text=True)

    def client(self, **more) -> pymongo.MongoClient:
        return pymongo.MongoClient(
            "127.0.0.1", self.port, directConnection=True, tz_aware=True, **more
        )

    def stop(self) -> None:
        for process in (self.redis, self.mongod):
            if process:
                process.signal(signal.SIGCONT)
                process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
