"""cluster - real servers for the tests: MongoDB, Redis (both in servers.py), and
instances of the API behind a web server. Each has a free port or a unix socket
and a folder of its own; each is ended by its process id. Waits are for events,
never for a fixed time."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from servers import (  # noqa: F401: the tests find them here
    BARE,
    MODE,
    PATH,
    ROOT,
    Process,
    Servers,
    can_connect,
    free_port,
    gone,
    proc_text,
    wait_until,
)
from standstill import lately, took

APP = ROOT / "build" / MODE / "fcgi-app"
WORKERS = ROOT / "build" / MODE / "workers"
CLI = ROOT / "build" / MODE / "sqlfree"
WEBS = ("nginx", "lighttpd")
ASAN = "detect_leaks=1:quarantine_size_mb=4"
REPORTS = ("AddressSanitizer", "LeakSanitizer", "runtime error:")


def replace_once(text: str, pattern: str, new: str) -> str:
    text, n = re.subn(pattern, lambda _: new, text, flags=re.M)
    assert n == 1, f"{pattern}: found {n} times in the shipped file"
    return text


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
    """fcgi-app, and before it a web server with the shipped configuration;
    beside it `workers` when asked for.

    Settings are keyword arguments named as in the environment; None unsets
    one. The folder's path is short: a unix socket's has a limit."""

    def __init__(
        self,
        servers: Servers,
        web: str | None = "nginx",
        ready: bool = True,
        edit_web: Callable[[str], str] = str,
        workers: bool = False,
        **settings,
    ):
        self.servers = servers
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
        self.socket = self.folder / "app.sock"
        self.web_name = web
        self.edit_web = edit_web
        self.port = free_port()
        self.database = f"t{self.folder.name[2:]}"
        if workers:  # a prefix has one database, or they would open its data
            settings = {"REDIS_KEY_PREFIX": self.database, **settings}
        self.env = self._env(servers, settings)
        self.database = self.env.get("MONGODB_DATABASE_NAME", self.database)
        self.app = self.web = self.workers = None
        self.workers_code: int | None = None
        try:
            if workers:
                self.start_workers()
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
        env = BARE | {
            "FCGI_LISTEN": f"unix:{self.socket}",
            "FCGI_SOCKET_MODE": "0666",
            "MONGODB_URI": servers.uri,
            "MONGODB_DATABASE_NAME": self.database,
            "REDIS_URL": servers.redis_url,
            "CLUSTER_INSTANCE_ID": self.folder.name,
            "DRAIN_DELAY_MS": "0",
            "ASAN_OPTIONS": ASAN,
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        env.update({k: v if v is None else str(v) for k, v in settings.items()})
        return {k: v for k, v in env.items() if v is not None}

    def start_app(self) -> None:
        self.app = Process(self.folder, "fcgi-app", [APP], self.env)

    def start_workers(self) -> None:
        assert WORKERS.exists(), f"{WORKERS} is missing: make"
        self.workers = Process(self.folder, "workers", [WORKERS], self.env)

    def stop_workers(self) -> int:
        """As an operator does: it must end by itself within its grace."""
        grace = int(self.env.get("SHUTDOWN_GRACE_MS", 25000)) / 1000
        self.workers.cont()
        self.workers_code = self.workers.stop(grace + 15)
        return self.workers_code

    def worker_pids(self, role: str) -> list[int]:
        """The children of workers' supervisor that carry this name."""
        if not self.workers or not self.workers.running():
            return []
        return [
            pid
            for pid in self.workers.children()
            if proc_text(pid, "comm") == role and not gone(pid)
        ]

    def coordinator_pid(self) -> int:
        return wait_until(
            "there is a coordinator", lambda: self.worker_pids("coordinator")
        )[0]

    def start_web(self) -> None:
        conf = self.folder / f"{self.web_name}.conf"
        text = self.edit_web((ROOT / "conf" / conf.name).read_text())
        root = os.geteuid() == 0
        if self.web_name == "nginx":
            text = replace_once(text, r"listen 8080;", f"listen 127.0.0.1:{self.port};")
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
        self.web = web = Process(self.folder, self.web_name, argv)
        wait_until(
            f"{self.web_name} listens",
            lambda: can_connect(self.port) or not web.running(),
            60,
        )

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
        """sqlfree with this instance's settings. To who is not run for half a
        second a server is away: then it is asked once more."""
        begun = time.monotonic()
        while True:
            done = subprocess.run(
                [CLI, *words],
                env=self.env,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=60,
            )
            away = "UNAVAILABLE" in done.stderr and lately()
            if not away or took(begun) > 10:
                return done

    def events(self, of: Process | None = None) -> list[dict]:
        """The log lines that are JSON objects: of the app, or of another."""
        lines = (of or self.app).err.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logs(self) -> str:
        all_three = (self.web, self.app, self.workers)
        return "\n".join(p.tail() for p in all_three if p)

    def stop(self) -> None:
        """Web server first. A sanitizer's report fails the caller, and so do
        workers that ran till now and do not end well."""
        found = ""
        if self.web:
            self.web.signal(signal.SIGCONT)
            self.web.stop()
        if self.workers and self.workers.running():
            code = self.stop_workers()
            if code != 0:
                found = f"workers: exit code {code}\n{self.workers.tail(60)}"
        if self.app:
            self.app.signal(signal.SIGCONT)
            self.app.stop()
        for process in (self.app, self.workers):
            text = process.err.read_text(errors="replace") if process else ""
            if any(word in text for word in REPORTS):
                found += text[-8000:]
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
