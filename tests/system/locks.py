"""locks - clients of the lock routes, a register in MongoDB that locks
protect, and checkers of what both saw. Body members are named as in the
contract: acquire(api, "k", ttlMs=1000, waitMs=500, owner="me")."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote

from pymongo.errors import DuplicateKeyError

from cluster import Instance, Reply, wait_until
from standstill import lately, took

PATH = "/api/cluster/locks"


def wait_granted(api: Instance, seconds: float = 60) -> None:
    """Until locks can be had: after a start, and after a loss."""
    wait_until("locks can be had", lambda: listing(api).status == 200, seconds)


def patient(ask: Callable[[], Reply]) -> Reply:
    """503 says that the home of the locks is away. To who is not run for half
    a second it is, so then it is asked once more."""
    begun = time.monotonic()
    while True:
        reply = ask()
        if reply.status != 503 or not lately() or took(begun) > 10:
            return reply
        time.sleep(0.1)


def acquire(api: Instance, key: str, on=None, **body) -> Reply:
    return patient(lambda: api.post(PATH, {"key": key, **body}, on=on))


def renew(api: Instance, key: str, token: str, ttlMs: int, on=None) -> Reply:
    body = {"token": token, "ttlMs": ttlMs}
    target = f"{PATH}/{quote(key, safe='')}"
    return patient(lambda: api.send("PUT", target, body, on=on))


def release(api: Instance, key: str, token: str, on=None) -> Reply:
    target = f"{PATH}/{quote(key, safe='')}"
    return patient(lambda: api.send("DELETE", target, {"token": token}, on=on))


def listing(api: Instance, on=None) -> Reply:
    return patient(lambda: api.get(PATH, on=on))


def cleanup(api: Instance, on=None) -> Reply:
    return patient(lambda: api.post(f"{PATH}/cleanup", {}, on=on))


@dataclass
class Hold:
    """A lock as its client may believe in it, by its monotonic clock: from the
    grant's reply until the time to live after the request, or until its
    release was sent. It may have ended before it began."""

    key: str
    fence: int
    asked: float
    begin: float
    end: float
    token: str = ""
    api: Instance | None = None

    def live(self) -> bool:
        return time.monotonic() < self.end

    def renew(self, ttlMs: int, on=None) -> bool:
        sent = time.monotonic()
        reply = renew(self.api, self.key, self.token, ttlMs, on)
        if reply.status != 200:
            return False
        assert reply.json()["fence"] == self.fence
        self.end = sent + ttlMs / 1000
        return True

    def release(self, on=None) -> bool:
        """True: it was held until now. Not held any more, whatever it says."""
        self.end = min(self.end, time.monotonic())
        return release(self.api, self.key, self.token, on).status == 200


def take(api: Instance, key: str, on=None, **body) -> Hold | None:
    """A hold; None when it was not granted, for whatever reason. With waitMs
    the time to live counts from before the wait: let it be the longer."""
    asked = time.monotonic()
    reply = acquire(api, key, on, **body)
    begin = time.monotonic()
    if reply.status != 201:
        return None
    got = reply.json()
    end = asked + got["ttlMs"] / 1000
    return Hold(key, got["fence"], asked, begin, end, got["token"], api)


def check_holds(holds: Iterable[Hold]) -> None:
    """No two clients believed in the same lock at the same time."""
    last: dict[str, Hold] = {}
    for hold in sorted(holds, key=lambda h: h.begin):
        if hold.end <= hold.begin:
            continue
        before = last.get(hold.key)
        assert (
            not before or before.end <= hold.begin
        ), f"holds overlap by {before.end - hold.begin} s: {before} {hold}"
        last[hold.key] = hold


def check_fences(holds: Iterable[Hold]) -> None:
    """No fence twice; one asked for when another was known is the greater,
    whatever their keys are."""
    holds = list(holds)
    fences = [h.fence for h in holds]
    assert len(set(fences)) == len(fences), "a fence was given twice"
    known = sorted(holds, key=lambda h: h.begin)
    greatest, i = None, 0
    for hold in sorted(holds, key=lambda h: h.asked):
        while i < len(known) and known[i].begin < hold.asked:
            if not greatest or known[i].fence > greatest.fence:
                greatest = known[i]
            i += 1
        assert (
            not greatest or greatest.fence < hold.fence
        ), f"fences must grow: {greatest} {hold}"


class ProtectedRegister:
    """What a lock protects: it takes a write only when its fence is not below
    that of the last one taken. Its document holds the journal of them."""

    def __init__(self, collection, name: str = "register") -> None:
        self.rows, self.name = collection, name
        self.refused = 0  # by this object
        try:
            row = {"_id": name, "fence": 0, "value": None, "journal": []}
            collection.insert_one(row)
        except DuplicateKeyError:
            pass  # another client's

    def write(self, fence: int, value, by: str = "") -> bool:
        entry = {"fence": fence, "value": value, "by": by}
        found = self.rows.find_one_and_update(
            {"_id": self.name, "fence": {"$lte": fence}},
            {
                "$set": {"fence": fence, "value": value},
                "$push": {"journal": entry},
            },
        )
        self.refused += found is None
        return found is not None

    def read(self):
        return self.rows.find_one(self.name)["value"]

    def journal(self) -> list[dict]:
        """The accepted writes as they were applied."""
        return self.rows.find_one(self.name)["journal"]


def check_journal(journal: list[dict]) -> None:
    """Accepted writes are ordered by fence; a fence is one writer's."""
    last, writers = 0, {}
    for entry in journal:
        fence = entry["fence"]
        assert fence >= last, f"fence {fence} was applied after {last}"
        writer = writers.setdefault(fence, entry["by"])
        assert writer == entry["by"], f"two writers with fence {fence}: {entry}"
        last = fence
