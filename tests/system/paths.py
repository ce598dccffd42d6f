"""paths - the two ways of a worker to its next delivery, through the rows in
MongoDB alone or through an index in Redis, for tests that hold on both: what
servers there are, when a cluster is on its way, and proof that it stayed on it.
"""

from __future__ import annotations

from datetime import datetime, timezone

from index import read_index
from servers import Servers, wait_until

PATHS = ("mongodb", "redis")


class Bare(Servers):
    """There is no Redis."""

    def start_redis(self) -> None:
        pass


def servers_of(path: str, **more) -> Servers:
    return Servers(**more) if path == "redis" else Bare(**more)


def on(path: str) -> dict:
    """Settings."""
    return {} if path == "redis" else {"REDIS_URL": "none"}


def wait_path(db, path: str, n: int = 1, seconds: float = 60) -> None:
    """n instances with workers claim that way."""
    mode = "cluster" if path == "redis" else "single"
    rows = db["_instances"]
    wait_until(
        f"{n} are in mode {mode}",
        lambda: rows.count_documents({"mode": mode}) >= n,
        seconds,
    )


def check_path(servers: Servers, db, path: str, always: bool = True) -> None:
    """What was delivered was claimed that way: through the rows a grant is
    charged in `_limits`, through the index never. always: since there was a
    coordinator; a new one finds Redis usable after a second."""
    started = db["_jobs"].find_one({"starts": {"$gt": 0}})
    charged = db["_limits"].find_one({"grants.0": {"$exists": True}})
    if path == "mongodb":
        told = db["_jobs"].find_one({"enq": {"$exists": True}})
        assert not told, f"without Redis no index knows: {told}"
        return
    assert not (always and charged), f"not claimed through Redis: {charged}"
    known = read_index(servers, db.name).subscribers.values()
    assert any("ls" in k for k in known) or not started


class Breaker:
    """What a path keeps of a webhook that fails."""

    def __init__(self, servers: Servers, db, path: str, hook: str) -> None:
        self.servers, self.path, self.hook = servers, path, hook
        self.limits = db["_limits"]
        self.key = {"_id": f"webhook:{hook}"}
        self.top = f"{db.name}:q:webhook"

    def _redis(self, *words: str) -> str:
        return self.servers.redis_cli(*words).strip()

    def _field(self, name: str) -> int:
        if self.path == "redis":
            return int(self._redis("HGET", f"{self.top}:l:{self.hook}", name) or 0)
        return (self.limits.find_one(self.key) or {}).get(name) or 0

    def is_open(self) -> bool:
        """One at a time."""
        return self._field("pc") == 1

    def fails(self) -> int:
        """In a row."""
        return self._field("fails")

    def running(self) -> int:
        if self.path == "redis":
            return self._field("n")
        return len((self.limits.find_one(self.key) or {}).get("fl") or [])

    def held(self) -> float:
        """Seconds that are left."""
        if self.path == "redis":
            until = self._redis("ZSCORE", f"{self.top}:hold", f"l{self.hook}")
            seconds, micros = self._redis("TIME").split()
            now = int(seconds) + int(micros) / 1e6
            return float(until) / 1000 - now if until else 0
        until = (self.limits.find_one(self.key) or {}).get("hold")
        return (until - datetime.now(timezone.utc)).total_seconds() if until else 0

    def let_go(self) -> None:
        """The hold ends now, and nothing else does."""
        if self.path == "redis":
            self._redis("HSET", f"{self.top}:l:{self.hook}", "h", "1")
            self._redis("ZADD", f"{self.top}:hold", "XX", "1", f"l{self.hook}")
            self._redis("HSET", f"{self.top}:meta", "due", "0")
            return
        now = datetime.now(timezone.utc)
        self.limits.update_one(self.key, {"$set": {"hold": now}})
