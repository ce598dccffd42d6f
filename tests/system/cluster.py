"""cluster - real servers for the tests: MongoDB, Redis, and instances of the
API behind a web server. Each has a free port or a unix socket and a folder of
its own; each is ended by its process id. Waits are for events, never for a
fixed time."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pymongo

ROOT = Path(__file__).resolve().parents[2]
MODE = os.environ.get("MODE", "release")
APP = ROOT / "build" / MODE / "fcgi-app"
CLI = ROOT / "build" / MODE / "sqlfree"
WEBS = ("nginx", "lighttpd")
REPORTS = ("AddressSanitizer", "LeakSanitizer", "runtime error:")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what: str, check: Callable, seconds: float = 20):
    """The first true value of check(); AssertionError after the time."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def can_connect(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def replace_once(text: str, pattern: str, new: str) -> str:
    text, n = re.subn(pattern, lambda _: new, text, flags=re.M)
    assert n == 1, f"{pattern}: found {n} times in the shipped file"
    return text


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
    """A one-node replica set and a Redis."""

    def __init__(self, cache_gb: float = 0.25) -> None:
        self.cache_gb = cache_gb
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
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
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    @property
    def redis_url(self) -> str:
        return f"unix:{self.folder}/redis.sock"

    def start_mongod(self) -> None:
        mongod = subprocess.check_output([ROOT / "conf/dev/mongod.sh"], text=True)
        data = self.folder / "mongo"
        data.mkdir(exist_ok=True)
        argv = [mongod.strip(), "--dbpath", data, "--port", self.port]
        argv += ["--bind_ip", "127.0.0.1", "--replSet", "rs0", "--noscripting"]
        argv += ["--wiredTigerCacheSizeGB", self.cache_gb, "--nounixsocket"]
        self.mongod = Process(self.folder, "mongod", argv)
        wait_until("mongod listens", lambda: can_connect(self.port), 60)
        script = ROOT / "conf/dev/replica_set.py"
        subprocess.run([sys.executable, script, str(self.port)], check=True)

    def start_redis(self) -> None:
        path = self.folder / "redis.sock"
        argv = ["redis-server", "--port", 0, "--unixsocket", path, "--save", ""]
        argv += ["--maxmemory-policy", "noeviction", "--dir", self.folder]
        self.redis = Process(self.folder, "redis", argv)
        wait_until("Redis listens", path.exists)

    def redis_cli(self, *words: str) -> str:
        argv = ["redis-cli", "-s", self.folder / "redis.sock", *words]
        return subprocess.check_output(argv, text=True)

    def client(self) -> pymongo.MongoClient:
        return pymongo.MongoClient(
            "127.0.0.1", self.port, directConnection=True, tz_aware=True
        )

    def stop(self) -> None:
        for process in (self.redis, self.mongod):
            if process:
                process.signal(signal.SIGCONT)
                process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)

    def code(self) -> str:
        return self.json().get("code", "") if self.body else ""


SAFE = "/%?&=+[]$:,;@!*'()~-._"


class Instance:
    """fcgi-app, and before it a web server with the shipped configuration.

    Settings are keyword arguments named as in the environment; None unsets
    one. The folder's path is short: a unix socket's has a limit."""

    def __init__(
        self,
        servers: Servers,
        web: str | None = "nginx",
        ready: bool = True,
        edit_web: Callable[[str], str] = str,
        **settings,
    ):
        self.servers = servers
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
        self.socket = self.folder / "app.sock"
        self.web_name = web
        self.edit_web = edit_web
        self.port = free_port()
        self.database = f"t{self.folder.name[2:]}"
        self.env = self._env(servers, settings)
        self.app = self.web = None
        try:
            self.start_app()
            if web:
                self.start_web()
            if ready:
                self.wait_ready()
        except BaseException as error:
            text = self.logs()
            self.stop()
            raise AssertionError(f"{error}\n{text}") from error

    def _env(self, servers: Servers, settings: dict) -> dict:
        env = {
            "PATH": PATH,
            "FCGI_LISTEN": f"unix:{self.socket}",
            "FCGI_SOCKET_MODE": "0666",
            "MONGODB_URI": servers.uri,
            "MONGODB_DATABASE_NAME": self.database,
            "REDIS_URL": servers.redis_url,
            "CLUSTER_INSTANCE_ID": self.folder.name,
            "DRAIN_DELAY_MS": "0",
            "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=4",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        env.update({k: v if v is None else str(v) for k, v in settings.items()})
        return {k: v for k, v in env.items() if v is not None}

    def start_app(self) -> None:
        self.app = Process(self.folder, "fcgi-app", [APP], self.env)

    def start_web(self) -> None:
        conf = self.folder / f"{self.web_name}.conf"
        text = self.edit_web((ROOT / "conf" / conf.name).read_text())
        root = os.geteuid() == 0
        if self.web_name == "nginx":
            text = replace_once(
                text, r"listen 8080;", f"listen 127.0.0.1:{self.port};"
            )
            text = replace_once(
                text, r"server unix:[^;]*;", f"server unix:{self.socket};"
            )
            more = "daemon off; user root;" if root else "daemon off;"
            argv = ["nginx", "-p", self.folder, "-c", conf, "-g", more]
        else:
            text = replace_once(
                text,
                r"^server.port = .*",
                f'server.port = {self.port}\nserver.bind = "127.0.0.1"',
            )
            text = replace_once(
                text, r'"socket" => "[^"]*"', f'"socket" => "{self.socket}"'
            )
            text = replace_once(
                text,
                r"^server.document-root = .*",
                f'server.document-root = "{self.folder}"',
            )
            argv = ["lighttpd", "-D", "-f", conf]
        conf.write_text(text)
        argv[0] = shutil.which(argv[0], path=PATH)
        assert argv[0], f"{self.web_name} is not installed"
        self.web = Process(self.folder, self.web_name, argv)

    def wait_ready(self, seconds: float = 20) -> None:
        probe = self.env.get("MOUNT_PREFIX", "")
        probe += self.env.get("HEALTH_ENDPOINT", "/health") + "/ready"

        def ready() -> bool:
            assert self.app.running(), "fcgi-app ended"
            try:
                return not self.web or self.get(probe).status == 200
            except OSError:
                return False

        wait_until("the socket is there", self.socket.exists, seconds)
        wait_until("the instance is ready", ready, seconds)

    def connect(self, timeout: float = 30) -> http.client.HTTPConnection:
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        c.connect()
        return c

    def dial(self, timeout: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def request(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        on: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """What an URL may not hold is percent-encoded; all else is sent as
        written."""
        c = on or self.connect()
        headers = list(headers)
        try:
            target = urllib.parse.quote(target, safe=SAFE)
            c.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers:
                c.putheader(name, value)
            names = {name.lower() for name, _ in headers}
            if body is not None and not names & {
                "content-length",
                "transfer-encoding",
            }:
                c.putheader("Content-Length", str(len(body)))
            c.endheaders(body)
            r = c.getresponse()
            return Reply(r.status, r.headers, r.read())
        finally:
            if not on:
                c.close()

    def get(self, target: str, **kw) -> Reply:
        return self.request("GET", target, **kw)

    def send(self, method: str, target: str, value, **kw) -> Reply:
        headers = [("Content-Type", "application/json")]
        body = json.dumps(value).encode()
        return self.request(method, target, headers, body, **kw)

    def post(self, target: str, value, **kw) -> Reply:
        return self.send("POST", target, value, **kw)

    def raw(self, data: bytes, timeout: float = 30) -> bytes:
        """Sends bytes as they are; all that comes back till the end."""
        with self.dial(timeout) as s:
            s.sendall(data)
            return read_all(s)

    def cli(self, *words) -> subprocess.CompletedProcess:
        """sqlfree with this instance's settings."""
        return subprocess.run(
            [CLI, *words],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def events(self) -> list[dict]:
        """The log lines that are JSON objects."""
        lines = self.app.err.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logs(self) -> str:
        return "\n".join(p.tail() for p in (self.web, self.app) if p)

    def stop(self) -> None:
        """Web server first. A sanitizer's report fails the caller."""
        found = ""
        for process in (self.web, self.app):
            if process:
                process.signal(signal.SIGCONT)
                process.stop()
        if self.app:
            text = self.app.err.read_text(errors="replace")
            if any(word in text for word in REPORTS):
                found = text[-8000:]
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not found, found

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, kind, error, _) -> None:
        if error:
            print(self.logs())
        self.stop()


def stop_all(instances: Iterable[Instance]) -> None:
    """Stops each, whatever another says; what they said fails the caller."""
    errors = []
    for instance in instances:
        try:
            instance.stop()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


def read_all(s: socket.socket) -> bytes:
    got = b""
    while True:
        try:
            part = s.recv(65536)
        except ConnectionError:
            return got
        if not part:
            return got
        got += part
