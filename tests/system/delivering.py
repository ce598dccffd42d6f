"""delivering - what tests of deliveries share: an instance with workers on one
claim path or the other, webhooks by the API, and which process is sending."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
import uuid
from pathlib import Path

from cluster import Instance, gone, wait_until
from paths import on, wait_path

SETTINGS = {
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "WEBHOOKS_RETRY_DELAY": 100,
    "WEBHOOKS_RETRY_MAX_DELAY": 1000,
}

# of clusters: limits that are in nobody's way; a fiftieth of the window is what
# a worker has from its grant until it sends, which is short on a busy machine
FAST = SETTINGS | {
    "WEBHOOK_RATE_LIMIT_WINDOW_MS": 5000,
    "WEBHOOKS_RATE_LIMIT_PER_MINUTE": 300,
    "WEBHOOK_TIMEOUT": 2000,
    "WEBHOOK_CONNECT_TIMEOUT": 1000,
    "RATE_LIMIT_ENABLED": "false",
}


def retries(n: int, ms: int = 100, **more) -> dict:
    """rateLimit of a webhook."""
    limit = {"maxRetries": n, "baseDelayMs": ms, "maxDelayMs": 1000}
    return limit | {"maxRequestsPerMinute": 300} | more


def instance(servers, path: str = "mongodb", **settings) -> Instance:
    """It claims that way when this returns."""
    settings = SETTINGS | on(path) | settings
    api = Instance(servers, workers=True, **settings)
    try:
        with servers.client() as client:
            wait_path(client[api.database], path)
    except BaseException:
        print(api.logs())
        api.stop()
        raise
    return api


class Hook:
    """A webhook on a collection of its own, and its path at the receiver."""

    def __init__(self, api: Instance, receiver, mode: str = "/ok", **more):
        self.api, self.receiver = api, receiver
        self.collection = f"c{uuid.uuid4().hex[:12]}"
        self.path = f"{mode}/{self.collection}"
        body = {
            "name": "hook",
            "url": receiver.url(self.path),
            "collection": self.collection,
            "events": ["create"],
        }
        made = api.post("/api/webhooks", body | more)
        assert made.status == 201, made.body
        self.row = made.json()["data"]
        self.id, self.secret = self.row["_id"], self.row["secret"]

    def insert(self, **doc) -> str:
        reply = self.api.post(f"/api/db/{self.collection}", doc or {"a": 1})
        assert reply.status == 201, reply.body
        return reply.json()["data"]["_id"]

    def put(self, doc: str, **values) -> None:
        reply = self.api.send("PUT", f"/api/db/{self.collection}/{doc}", values)
        assert reply.status == 200, reply.body

    def change(self, **members) -> None:
        reply = self.api.send("PUT", f"/api/webhooks/{self.id}", members)
        assert reply.status == 200, reply.body

    def drop(self) -> None:
        """What waits is cancelled."""
        reply = self.api.request("DELETE", f"/api/webhooks/{self.id}")
        assert reply.status in (200, 404), reply.body

    def wait(self, n: int, seconds: float = 20):
        """The first n requests that came."""
        return self.receiver.wait(n, self.path, seconds)

    def count(self) -> int:
        return len(self.receiver.requests(self.path))

    def jobs(self, db) -> list[dict]:
        rows = db[self.api.database]["_jobs"]
        return list(rows.find({"sub": self.id}, {"body": 0}).sort("ts"))

    def wait_state(self, db, state: str, n: int = 1, seconds: float = 20) -> dict:
        """The first of n deliveries in that state."""

        def found():
            rows = [j for j in self.jobs(db) if j["st"] == state]
            return len(rows) >= n and rows

        return wait_until(f"{n} are {state}", found, seconds)[0]

    def is_signed(self, request, secret: str | None = None) -> bool:
        """One of the signatures is by the secret."""
        h = request.headers
        key = base64.b64decode((secret or self.secret).removeprefix("whsec_"))
        text = f"{h['webhook-id']}.{h['webhook-timestamp']}.".encode() + request.body
        want = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest())
        return f"v1,{want.decode()}" in h.get("webhook-signature", "").split(" ")


def _inode(port: int, peer: int) -> str:
    """Of the socket of loopback that has this port and is connected to peer."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = f":{port:04X}", f":{peer:04X}"
    return next(
        (
            p[9]
            for p in map(str.split, rows)
            if p[1].endswith(ends[0]) and p[2].endswith(ends[1])
        ),
        "",
    )


def _sockets(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found = set()
    try:
        for fd in os.listdir(folder):
            try:
                name = os.readlink(f"{folder}/{fd}")
            except OSError:
                continue
            if name.startswith("socket:["):
                found.add(name[8:-1])
    except OSError:
        pass
    return found


def sender(api: Instance, receiver, request) -> int:
    """The pid of the deliver process that has sent this one."""

    def find() -> int:
        inode = _inode(request.peer, receiver.port)
        pids = api.worker_pids("deliver")
        return next((pid for pid in pids if inode and inode in _sockets(pid)), 0)

    return wait_until("somebody has this connection", find, 5)


def wait_gone(pid: int, seconds: float = 20) -> None:
    wait_until(f"{pid} is gone", lambda: gone(pid), seconds)


def settled(api, number: int = 5) -> list[int]:
    """The deliver processes, once none of them is younger than a second: one
    that dies young is not replaced at once."""
    since, before = time.monotonic(), None

    def old():
        nonlocal since, before
        pids = api.worker_pids("deliver")
        if pids != before:
            since, before = time.monotonic(), pids
        return len(pids) == number and time.monotonic() - since > 1.1 and pids

    return wait_until("all are old enough", old, 40)
