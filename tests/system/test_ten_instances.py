"""Ten instances and a Redis: all is delivered while it is killed in the middle;
and without faults nothing comes twice. DELIVERIES: how many without faults;
`make acceptance` takes 100000, which is some minutes."""

import os
import threading
import time
import uuid

import pytest
from receiver import Receiver

from cluster import wait_until
from clusters import Cluster
from delivering import FAST, Hook, retries
from events import check_bodies, check_doubles, check_nothing_lost
from flow import Writer, receipts, wait_settled
from index import check_index, check_index_empty, wait_index
from paths import check_path, wait_path
from rows import check_groups, check_rest, check_rows, job_changes, leases_of
from rows import wait_totals

DELIVERIES = int(os.environ.get("DELIVERIES", 20_000))
WEBHOOKS = 25  # of each event
SLOTS = 5
# 300 a second of each webhook are in nobody's way
QUICK = FAST | {"WEBHOOK_RATE_LIMIT_WINDOW_MS": 1000}


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def ten(own):
    with Cluster(own, 10, webs=["a", "b"], **QUICK) as cluster:
        wait_path(cluster.db, "redis", 10)
        yield cluster


class Burst:
    """So many deliveries of documents that are written by eight threads."""

    def __init__(self, cluster, receiver, deliveries: int, webhooks: int) -> None:
        self.cluster, self.receiver = cluster, receiver
        self.deliveries = deliveries
        collection = f"c{uuid.uuid4().hex[:12]}"
        self.hooks = [
            Hook(
                cluster["a"],
                receiver,
                collection=collection,
                ordered=i == 0,
                rateLimit=retries(10),
            )
            for i in range(webhooks)
        ]
        time.sleep(1)  # all instances know them
        each = deliveries // webhooks // 8
        assert each * webhooks * 8 == deliveries
        self.writers = [Writer(cluster["ab"[i % 2]], collection, 0) for i in range(8)]
        self.threads = [
            threading.Thread(target=lambda w=w: [w.one() for _ in range(each)])
            for w in self.writers
        ]

    def count(self) -> int:
        return len(self.receiver.requests())

    def __enter__(self):
        self.receiver.clear()
        self.begun = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, error, _) -> None:
        for thread in self.threads:
            thread.join()
        if not error:
            self.judge()

    def judge(self) -> None:
        db = self.cluster.db
        wrote = time.monotonic()
        wait_settled(db, 300)
        took = time.monotonic() - self.begun
        got = receipts(self.receiver)
        print(
            f"{self.deliveries} deliveries of {self.deliveries // len(self.hooks)} "
            f"writes ({wrote - self.begun:.1f} s) in {took:.1f} s: "
            f"{self.deliveries / took:.0f}/s"
        )
        written = [w for x in self.writers for w in x.written]
        by_path = {}
        for r in got:
            by_path.setdefault(r.path, []).append(r)
        for hook in self.hooks:
            mine = by_path[hook.path]
            check_nothing_lost(written, mine)
            rows = list(db["_jobs"].find({"sub": hook.id}))
            check_bodies(mine, rows)
            assert {row["st"] for row in rows} == {"done"}
            wait_totals(db, hook.id, rows)
        check_doubles(got)
        assert len(got) == self.deliveries
        check_rest(db)
        servers, prefix = self.cluster.servers, self.cluster.database
        wait_index(servers, prefix, check_index, 30)
        wait_index(servers, prefix, check_index_empty, 30)


def test_without_faults_nothing_is_lost_and_nothing_is_double(ten, own, receiver):
    with Burst(ten, receiver, DELIVERIES, WEBHOOKS) as burst:
        wait_until("they come", lambda: burst.count() > 100)
    by = {r.headers["x-instance-id"] for r in receiver.requests()}
    assert by == set(ten.ids)
    check_path(own, ten.db, "redis")


def test_redis_killed_in_the_middle(ten, own, receiver):
    """It stays away till three quarters are delivered."""
    since, n = ten.mark(), 10_000
    with Burst(ten, receiver, n, 10) as burst:
        wait_until("half of them came", lambda: burst.count() >= n // 2, 120)
        own.redis.kill()
        killed, before = time.monotonic(), burst.count()
        wait_until("they go on", lambda: burst.count() > before + 200, 30)
        print(f"killed at {before}, 200 more after {time.monotonic() - killed:.1f} s")
        wait_until("most came", lambda: burst.count() >= n * 3 // 4, 120)
        own.start_redis()
        ten.wait_mode("cluster")
    changes = job_changes(own, ten.database, since)
    check_rows(changes)
    check_groups(leases_of(changes))
