"""workers - the program workers alone, without an app and a web server: for
tests of what it does by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cluster import (
    ASAN,
    BARE,
    REPORTS,
    WORKERS,
    Process,
    gone,
    proc_text,
    wait_until,
)


class Workers:
    """One instance. Settings are keyword arguments; None unsets one. It joins
    the database of `beside`, or has one of its own."""

    def __init__(self, servers, name: str = "a", beside=None, **settings) -> None:
        assert WORKERS.exists(), f"{WORKERS} is missing: make"
        self.servers = servers
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
        self.database = beside.database if beside else f"w{self.folder.name[2:]}"
        self.client = servers.client()
        env = BARE | {
            "MONGODB_URI": servers.uri,
            "MONGODB_DATABASE_NAME": self.database,
            "REDIS_URL": servers.redis_url,
            "REDIS_KEY_PREFIX": self.database,
            "CLUSTER_INSTANCE_ID": name,
            "DB_RECONNECT_INITIAL_DELAY": "100",
            "ASAN_OPTIONS": ASAN,
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        env.update({k: v if v is None else str(v) for k, v in settings.items()})
        self.env = {k: v for k, v in env.items() if v is not None}
        self.process = Process(self.folder, "workers", [WORKERS], self.env)

    @property
    def db(self):
        return self.client[self.database]

    def row(self) -> dict:
        """The heartbeat; empty without one."""
        return self.db["_instances"].find_one(self.name) or {}

    def dataset(self) -> str:
        return (self.db["_cluster"].find_one("redis") or {}).get("dataset", "")

    def held(self) -> str:
        """The id that Redis holds."""
        return self.servers.redis_cli("GET", f"{self.database}:dataset").strip()

    def term(self, service: str) -> int | None:
        """Of this instance, while it runs."""
        doc = self.db["_leader"].find_one(
            {"_id": service, "$expr": {"$gt": ["$until", "$$NOW"]}}
        )
        return doc["term"] if doc and doc["holder"] == self.name else None

    def wait_mode(self, mode: str, seconds: float = 40) -> None:
        wait_until(
            f"{self.name} is in mode {mode}",
            lambda: self.row().get("mode") == mode,
            seconds,
        )

    def wait_started(self) -> None:
        wait_until(f"{self.name} has a heartbeat", self.row, 40)

    def pids(self, role: str) -> list[int]:
        """Of the children that carry this name and run."""
        return [
            pid
            for pid in self.process.children()
            if proc_text(pid, "comm") == role and not gone(pid)
        ]

    def coordinator(self) -> int:
        """Its pid: of one that runs."""
        return wait_until(
            "there is a coordinator",
            lambda: next(iter(self.pids("coordinator")), 0),
        )

    def wait_replaced(self, pid: int) -> int:
        """The pid of the coordinator that came after this one."""
        return wait_until(
            f"coordinator {pid} is replaced",
            lambda: (new := self.coordinator()) != pid and new,
            60,
        )

    def exit_code(self, seconds: float = 60) -> int:
        return self.process.popen.wait(seconds)

    def events(self) -> list[dict]:
        """All of stderr: every line is a JSON object."""
        text = self.process.err.read_text(errors="replace")
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines()]

    def has_event(self, event: str, text: str = "") -> bool:
        return any(
            e["event"] == event and text in e.get("reason", "") for e in self.events()
        )

    def switch(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [WORKERS, *words],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind, error, _) -> None:
        self.process.cont()
        self.process.stop()
        text = self.process.tail(80)
        if error:
            print(text)
        self.client.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not any(word in text for word in REPORTS), text


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(f"{pid} is gone", lambda: gone(pid))
