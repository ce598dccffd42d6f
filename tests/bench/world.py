"""world - the servers, data and instances of one run, made at first use."""

from __future__ import annotations

import os
from pathlib import Path

import seed
from cluster import ROOT, Instance, Process, Servers, stop_all, wait_until
from load import Failed
from report import Progress

MODE = os.environ.get("MODE", "release")
PROGRAMS = ROOT / "build" / MODE / "tests" / "bench"
TRIVIAL_THREADS = 64
CACHE_GB = 1
DATABASE = "bench"


def setting(name: str, default: str) -> str:
    return os.environ.get(f"BENCH_{name}") or default


class Trivial(Instance):
    """The same web server with the same configuration, but trivial.c behind
    it."""

    def __init__(self, servers: Servers, body_bytes: int):
        self.body_bytes = body_bytes
        super().__init__(servers)

    def start_app(self) -> None:
        argv = [PROGRAMS / "trivial", self.socket, TRIVIAL_THREADS, self.body_bytes]
        self.app = Process(self.folder, "trivial", argv)


class World:
    db = DATABASE

    def __init__(self, progress: Progress):
        self.progress = progress
        self.rounds = int(setting("ROUNDS", "5"))
        self.seconds = float(setting("SECONDS", "2"))
        self.instances: dict[str, Instance] = {}
        self.filled: set[str] = set()
        progress.say("starting MongoDB and Redis")
        self.servers = Servers(cache_gb=CACHE_GB)

    def keep(self, name: str, make) -> Instance:
        if name not in self.instances:
            self.instances[name] = make()
        return self.instances[name]

    @property
    def app(self) -> Instance:
        """An instance with default settings."""
        return self.keep("app", self.instance)

    @property
    def locks(self) -> Instance:
        """One with workers, whose locks can be had."""
        return self.keep("locks", self.lock_instance)

    def lock_instance(self) -> Instance:
        instance = self.instance(workers=True)
        wait_until(
            "locks can be had",
            lambda: instance.get("/api/cluster/locks").status == 200,
            60,
        )
        return instance

    def instance(self, web: str | None = "nginx", **settings) -> Instance:
        settings["MONGODB_DATABASE_NAME"] = self.db
        return Instance(self.servers, web, ready=web is not None, **settings)

    def need(self, *collections: str) -> None:
        for name in collections:
            if name in self.filled:
                continue
            self.progress.say(f"filling {name}")
            seed.FILLERS[name](self.servers.port, self.db)
            self.filled.add(name)

    def where(self, collection: str) -> tuple[str, str]:
        return (self.db, collection)

    def stop_instances(self) -> None:
        instances = list(self.instances.values())
        self.instances.clear()
        try:
            stop_all(instances)
        except AssertionError as error:
            raise Failed(str(error)) from error

    def stop(self) -> None:
        try:
            self.stop_instances()
        finally:
            self.servers.stop()


def loop_program() -> Path:
    return PROGRAMS / "loop"
