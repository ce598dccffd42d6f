"""clusters - instances that share one database and one Redis prefix, and what
may happen to them. Ids are a, b, c, ..."""

from __future__ import annotations

import os
import signal
import string
import uuid
from collections.abc import Iterable, Iterator

from bson import Timestamp

from cluster import Instance, Servers, gone, stop_all, wait_until
from history import (  # noqa: F401: the tests find them here
    Change,
    History,
    Term,
    check_cluster,
    check_locks,
    check_terms,
    led_share,
    mark,
)


class Cluster:
    """n instances with workers. Settings are for all of them, those in
    each[id] for one; `web`, `workers` and the like, too. webs: the ids that
    get a web server (None: all), for one is often enough and each costs."""

    def __init__(
        self,
        servers: Servers,
        n: int,
        each: dict[str, dict] | None = None,
        webs: Iterable[str] | None = None,
        **settings,
    ) -> None:
        self.servers = servers
        self.database = f"c{uuid.uuid4().hex[:12]}"
        self.instances: dict[str, Instance] = {}
        self.client = servers.client()
        shared = {
            "workers": True,
            "MONGODB_DATABASE_NAME": self.database,
            "REDIS_KEY_PREFIX": self.database,
            **settings,
        }
        try:
            for name in string.ascii_lowercase[:n]:
                own = {**shared, "CLUSTER_INSTANCE_ID": name}
                if webs is not None and name not in webs:
                    own["web"] = None
                own.update((each or {}).get(name, {}))
                self.instances[name] = Instance(servers, ready=False, **own)
            for instance in self:
                instance.wait_ready(60)
        except BaseException:
            print(self.logs())
            self.stop()
            raise

    def instance_of(self, name: str) -> Instance:
        return self.instances[name]

    __getitem__ = instance_of

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances.values())

    @property
    def ids(self) -> list[str]:
        return list(self.instances)

    @property
    def db(self):
        return self.client[self.database]

    # who leads: asked of MongoDB, by its clock

    def term(self, service: str = "cron") -> dict | None:
        """The document of a term that runs; None when nobody leads."""
        live = {"_id": service, "$expr": {"$gt": ["$until", "$$NOW"]}}
        return self.db["_leader"].find_one(live)

    def leader(self, service: str = "cron") -> str | None:
        doc = self.term(service)
        return doc["holder"] if doc else None

    def wait_leader(
        self,
        service: str = "cron",
        seconds: float = 20,
        among: Iterable[str] | None = None,
    ) -> str:
        """The leader, as soon as there is one (of these ids)."""
        wanted = set(self.ids if among is None else among)
        return wait_until(
            f"one of {sorted(wanted)} leads {service}",
            lambda: (who := self.leader(service)) in wanted and who,
            seconds,
        )

    def others(self, *names: str) -> list[str]:
        return [name for name in self.ids if name not in names]

    def mode(self, name: str) -> str:
        """As the app of an instance shows it; without a web server as its
        workers wrote it down."""
        instance = self[name]
        if not instance.web:
            return (self.db["_instances"].find_one(name) or {}).get("mode", "")
        try:
            reply = instance.get("/api/cluster/status")
        except OSError:
            return ""
        return reply.json()["status"]["mode"] if reply.status == 200 else ""

    def wait_mode(self, mode: str, *names: str, seconds: float = 30) -> None:
        for name in names or self.ids:
            wait_until(
                f"{name} is in mode {mode}",
                lambda n=name: self.mode(n) == mode,
                seconds,
            )

    # what happens to them

    def kill_coordinator(self, name: str) -> int:
        """Its pid, when it has ended."""
        pid = self[name].coordinator_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(f"coordinator {pid} is gone", lambda: gone(pid))
        return pid

    def kill_workers(self, name: str) -> None:
        """The loss of a host: all processes of workers at once. Its app
        lives; start_workers() of the instance is its return."""
        self[name].workers.kill()

    def kill_host(self, name: str) -> None:
        """The app, too."""
        self[name].workers.kill()
        self[name].app.kill()

    def pause_workers(self, name: str) -> None:
        self[name].workers.pause()

    def cont_workers(self, name: str) -> None:
        self[name].workers.cont()

    # what is left to look at

    def mark(self) -> Timestamp:
        return mark(self.servers)

    def history(self, since: Timestamp | None = None) -> History:
        return History(self.servers, self.database, since)

    def check(self, since: Timestamp | None = None) -> History:
        """All checkers on what MongoDB accepted."""
        history = self.history(since)
        for service in ("cron", "maintenance"):
            check_terms(history.terms(service))
        check_locks(history.changes("_locks"))
        check_cluster(history.changes("_cluster"))
        return history

    def logs(self) -> str:
        return "\n".join(f"=== {n}\n{i.logs()}" for n, i in self.instances.items())

    def stop(self) -> None:
        self.client.close()
        stop_all(self)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind, error, _) -> None:
        if error:
            print(self.logs())
        self.stop()
