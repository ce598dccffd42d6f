"""flow - documents that are written all the time to webhooks in order and
without, while a test does harm; afterwards everything is judged: what was
answered against what came, the rows and leases from the oplog, and what is left
in MongoDB and in the index."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from cluster import wait_until
from delivering import Hook, retries
from events import (
    Receipt,
    Written,
    check_bodies,
    check_doubles,
    check_labelled,
    check_nothing_invented,
    check_nothing_lost,
    check_order,
    check_signed,
)
from index import check_index, check_index_empty, wait_index
from rows import (
    check_caps,
    check_groups,
    check_rest,
    check_rows,
    job_changes,
    leases_of,
    wait_totals,
)

SOON = 20  # s, until deliveries go on; 3 and 5 are promised
LEASE = 12  # s: WEBHOOK_TIMEOUT of delivering.FAST and 10


def receipts(receiver, path: str | None = None) -> list[Receipt]:
    return [
        Receipt(r.t, r.path, r.headers, r.body)
        for r in receiver.requests(path)
        if r.complete
    ]


def is_settled(db) -> bool:
    return not db["_outbox"].find_one() and not db["_jobs"].find_one({"open": True})


def wait_settled(db, seconds: float = 60) -> None:
    wait_until("all deliveries have ended", lambda: is_settled(db), seconds)


class Writer:
    """Creates and changes documents of one collection, each `n` greater than
    before; what was answered is kept, what had no answer is counted."""

    def __init__(self, api, collection: str, updates: int) -> None:
        self.api, self.path = api, f"/api/db/{collection}"
        self.updates = updates
        self.written: list[Written] = []
        self.times: list[tuple[float, float]] = []  # begun, seconds
        self.doubtful = 0

    def call(self, method: str, target: str, n: int, event: str):
        """The document and its n; repeated with the next n until it is
        answered 2xx: what had no answer may have been done."""
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, f"{method} {target} fails for a minute"
            asked = time.monotonic()
            try:
                reply = self.api.send(method, target, {"n": n})
            except OSError:
                reply = None
            self.times.append((asked, time.monotonic() - asked))
            if reply and reply.status in (200, 201):
                doc = reply.json()["data"]
                self.written.append(Written(event, doc["_id"], n))
                return doc, n
            self.doubtful += 1
            n += 1
            time.sleep(0.1)

    def one(self) -> None:
        made, n = self.call("POST", self.path, 1, "create")
        for _ in range(self.updates):
            _, n = self.call("PUT", f"{self.path}/{made['_id']}", n + 1, "update")


class Flow:
    """Between enter and exit documents are written by instance a, slower than
    the limits allow deliveries: each write is answered, whatever happens to
    Redis. At the end it is judged; what may be different from the best is set
    before: `paths` that were in use at the same time, `causes` of doubles."""

    def __init__(self, cluster, receiver, cap: int, slots: int) -> None:
        self.cluster, self.receiver = cluster, receiver
        self.cap, self.slots, self.paths = cap, slots, 2
        self.causes: list[tuple[float, float]] = []
        self.deaths = False  # of workers
        self.audits = True  # nobody else writes to the index
        self.seconds = 60.0  # until all has ended
        api = cluster["a"]
        more = {"events": ["create", "update"], "rateLimit": retries(10)}
        first = Hook(api, receiver, "/ok", **more)
        second = Hook(
            api, receiver, "/ok", collection=first.collection, ordered=True, **more
        )
        self.hooks = [first, second]
        self.since = cluster.mark()
        self.writers = [Writer(api, first.collection, 3) for _ in range(2)]
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._write, args=(w,)) for w in self.writers
        ]

    def _write(self, writer: Writer) -> None:
        try:
            while not self._stop.is_set():
                writer.one()
                time.sleep(0.1)
        except BaseException as error:
            self._errors.append(error)

    @property
    def count(self) -> int:
        return sum(hook.count() for hook in self.hooks)

    def goes_on(self, what: str, seconds: float = SOON) -> float:
        """20 more deliveries, of each webhook; seconds that the first took."""
        assert not self._errors, self._errors
        begun = time.monotonic()
        for hook in self.hooks:
            n = hook.count()
            wait_until(
                f"deliveries go on: {what}",
                lambda h=hook, k=n: h.count() >= k + 10,
                seconds,
            )
        first = min(r.t for r in self.receiver.requests() if r.t > begun)
        return first - begun

    def _served(self, path: str, hook: Hook):
        """Changes with each claim on this path."""
        if path == "mongodb":
            row = self.cluster.db["_limits"].find_one(f"webhook:{hook.id}") or {}
            return row.get("grants")
        key = f"{self.cluster.database}:q:webhook:l:{hook.id}"
        return self.cluster.servers.redis_cli("HGET", key, "ls").strip()

    def claims(self, path: str, seconds: float = SOON + 10) -> float:
        """Until something is claimed on this path; seconds that it took."""
        begun = time.monotonic()
        for hook in self.hooks:
            before = self._served(path, hook)
            wait_until(
                f"claims by {path}",
                lambda h=hook, b=before: self._served(path, h) not in ("", None, b),
                seconds,
            )
        took = time.monotonic() - begun
        if path == "redis" and self.audits:
            # but for the moment when a cap is not known to all of it
            servers = self.cluster.servers
            wait_index(servers, self.cluster.database, check_index, SOON)
        return took

    def writes(self, begin: float, end: float) -> list[float]:
        """How long each took that was asked between these."""
        times = [t for writer in self.writers for t in writer.times]
        return sorted(took for at, took in times if begin <= at <= end)

    @contextmanager
    def cause(self):
        """Within it something may come twice."""
        begun = time.monotonic()
        yield
        self.causes.append((begun, time.monotonic()))

    def __enter__(self) -> Flow:
        for thread in self._threads:
            thread.start()
        self.goes_on("at first")
        self.claims("redis")
        return self

    def __exit__(self, kind, error, _) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if not error:
            assert not self._errors, self._errors
            self.judge()
        for hook in self.hooks:
            hook.drop()

    def judge(self) -> None:
        db = self.cluster.db
        wait_settled(db, self.seconds)
        written = [w for writer in self.writers for w in writer.written]
        assert sum(writer.doubtful for writer in self.writers) == 0
        for hook in self.hooks:
            got = receipts(self.receiver, hook.path)
            rows = list(db["_jobs"].find({"sub": hook.id}))
            check_nothing_lost(written, got)
            check_nothing_invented(written, got)
            check_labelled(got)
            check_bodies(got, rows)
            check_signed(got, {hook.id: hook.secret})
            check_doubles(got, self.causes, LEASE)
            if hook.row["ordered"]:
                check_order(got)
            assert {row["st"] for row in rows} == {"done"}
            wait_totals(db, hook.id, rows, self.deaths)
        self.judge_rows()
        self.judge_rest()

    def judge_rows(self) -> None:
        changes = job_changes(self.cluster.servers, self.cluster.database, self.since)
        check_rows(changes)
        leases = leases_of(changes)
        check_groups(leases)
        check_caps(leases, self.cap * self.paths, self.slots)

    def judge_rest(self) -> None:
        wait_until("nothing is charged", self._is_free, LEASE + SOON)
        servers, prefix = self.cluster.servers, self.cluster.database
        wait_index(servers, prefix, check_index, LEASE + SOON)
        wait_index(servers, prefix, check_index_empty, LEASE + SOON)

    def _is_free(self) -> bool:
        try:
            check_rest(self.cluster.db)
        except AssertionError:
            return False
        return True
