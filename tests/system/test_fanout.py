"""Events become deliveries in order and in time, whatever happens to the
processes that do it: instances with workers on MongoDB alone."""

import os
import signal
import time

import pytest
from receiver import Receiver

from cluster import wait_until
from delivering import Hook, instance
from standstill import took

UPDATES = 60
DOCUMENTS = 40
PATIENCE = 8  # seconds; the supervisor ends a process that hangs after 10


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


def fanout_of(api) -> int:
    return wait_until("there is a fanout", lambda: api.worker_pids("fanout"))[0]


def test_order_of_a_document_outlives_deaths_of_the_fanout(servers, receiver, db):
    with instance(servers, WEBHOOK_RATE_LIMIT_WINDOW_MS=1000) as api:
        hook = Hook(
            api,
            receiver,
            events=["update"],
            ordered=True,
            rateLimit={"maxRequestsPerMinute": 300},
        )
        doc = hook.insert(n=0)
        for n in range(1, UPDATES + 1):
            reply = api.send("PUT", f"/api/db/{hook.collection}/{doc}", {"n": n})
            assert reply.status == 200, reply.body
            if n % 10 == 0:
                os.kill(fanout_of(api), signal.SIGKILL)
        came = hook.wait(UPDATES, 60)
        hook.wait_state(db, "done", UPDATES)
        numbers = [r.json["data"]["document"]["n"] for r in came]
        assert numbers == list(range(1, UPDATES + 1))
        assert hook.count() == UPDATES


def test_share_of_a_stopped_fanout_is_done_by_another(servers, receiver, db):
    with instance(servers, CLUSTER_INSTANCE_ID="a") as one:
        shared = {"MONGODB_DATABASE_NAME": one.database, "CLUSTER_INSTANCE_ID": "b"}
        with instance(servers, **shared) as two:
            live = db[one.database]["_instances"]
            wait_until("both are there", lambda: live.count_documents({}) == 2)
            hook = Hook(one, receiver, rateLimit={"maxRequestsPerMinute": 300})
            stopped = fanout_of(two)
            os.kill(stopped, signal.SIGSTOP)
            begun = time.monotonic()
            for n in range(DOCUMENTS):
                hook.insert(n=n)
            came = hook.wait(DOCUMENTS, PATIENCE)
            assert took(begun) < PATIENCE
            assert {r.json["data"]["document"]["n"] for r in came} == set(
                range(DOCUMENTS)
            )
            assert stopped in two.worker_pids("fanout"), "it was replaced"
            os.kill(stopped, signal.SIGCONT)
            assert hook.count() == DOCUMENTS
