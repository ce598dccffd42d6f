"""Receivers that misbehave in every way that tests/toxics/receiver.py knows:
a delivery ends in time, is tried again with the same id, and costs no memory.
Receivers that ask to be left alone, have gone, or fail in a row."""

import time

import pytest
from receiver import MODES, Receiver

from cluster import MODE, wait_until
from delivering import FAST, Hook, instance, retries
from events import Receipt, check_labelled
from index import check_index, wait_index
from paths import Breaker, check_path
from rows import check_groups, check_rows, job_changes, leases_of, wait_totals
from servers import proc_text
from standstill import took

LIMIT = 400  # ms, of a try
MARGIN = 2000  # of this machine
GROWS = 12 << 10  # KiB, of a process that met them all
SETTINGS = FAST | {
    "WEBHOOK_TIMEOUT": LIMIT,
    "WEBHOOK_CONNECT_TIMEOUT": 300,
    "WEBHOOKS_QUEUE_CONCURRENCY": 4,
}
# 2xx decides, whatever comes behind it
FINE = {"ok", "close", "cut-body", "drip-body", "endless-body", "continue"}
FINE |= {"reset-reused"}
PATHS = {"slow": "/slow/5000", "retry": "/retry/1", "status": "/status/500"}
PATHS |= {"retry-date": "/retry-date/1"}


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def api(servers, path):
    with instance(servers, path, **SETTINGS) as api:
        yield api
        with servers.client() as client:
            check_path(servers, client[api.database], path)
        if path == "redis":
            wait_index(servers, api.database, check_index)


def peak(pid: int) -> int:
    """KiB that it had at most."""
    for line in proc_text(pid, "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError(f"{pid} is gone")


def warm(api, receiver, db) -> list[int]:
    """The deliver processes, each of which has delivered."""
    pids = wait_until("all are there", lambda: len(p := api.worker_pids("deliver")) == 4
                      and p)
    hooks = [Hook(api, receiver, "/slow/200") for _ in range(4)]
    for _ in range(5):
        for hook in hooks:
            hook.insert()
    for hook in hooks:
        hook.wait_state(db, "done", 5, 40)
    return pids


def test_all_that_receivers_may_do(api, receiver, db):
    pids = warm(api, receiver, db)
    before = {pid: peak(pid) for pid in pids}
    hooks = {
        mode: Hook(api, receiver, PATHS.get(mode, f"/{mode}"), rateLimit=retries(1))
        for mode in MODES
    }
    for hook in hooks.values():
        hook.insert()
    begun = time.monotonic()
    for mode, hook in hooks.items():
        (row,) = wait_until(
            f"the delivery to {mode} has ended",
            lambda h=hook: [j for j in h.jobs(db) if not j.get("open")],
            60,
        )
        tries = receiver.requests(hook.path)
        where = f"{mode}: {row}"
        lasted = [attempt["ms"] for attempt in row["attempts"]]
        assert min(lasted) < LIMIT + MARGIN, where  # this machine may pause
        if mode in FINE:
            assert (row["st"], row["tries"], len(tries)) == ("done", 1, 1), where
        elif mode == "gone":
            assert (row["st"], row["reason"]) == ("dead", "gone"), where
        else:
            assert (row["st"], row["reason"]) == ("dead", "exhausted"), where
            assert row["tries"] == len(tries) == 2, where
            assert all(a.get("error") for a in row["attempts"]), where
        assert len({t.headers["webhook-id"] for t in tries}) == 1, where
        wait_totals(db[api.database], hook.id, [row])
    print(f"{len(hooks)} modes in {time.monotonic() - begun:.1f} s")
    assert api.worker_pids("deliver") == pids, "one has died of it"
    grown = {pid: peak(pid) - kib for pid, kib in before.items()}
    print("peak grew by KiB:", *grown.values())
    if MODE == "release":
        assert max(grown.values()) < GROWS
    changes = job_changes(api.servers, api.database)
    check_rows(changes)
    check_groups(leases_of(changes))


# ---- left alone


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("mode, least", [("retry/2", 2), ("retry-date/3/503", 2)])
def test_retry_after_holds_the_whole_webhook(api, receiver, db, mode, least, ordered):
    hook = Hook(api, receiver, ordered=ordered, rateLimit=retries(3))
    other = Hook(api, receiver)
    receiver.answer(hook.path, mode, "ok")
    hook.insert(n=0)
    hook.wait(1)
    wait_until("it is told", lambda: hook.jobs(db)[0].get("attempts"))
    for i in range(4):
        hook.insert(n=i + 1)
        other.insert(n=i)
    first, *rest = hook.wait(6)
    assert min(r.t for r in rest) - first.t >= least - 0.05
    assert took(first.t, max(r.t for r in rest)) < 15
    still = rest[0].t - first.t - took(first.t, rest[0].t)
    last = max(r.t for r in other.wait(4))
    assert last < rest[0].t + still, "others are not held"
    hook.wait_state(db, "done", 5)
    assert sorted(j["tries"] for j in hook.jobs(db)) == [1, 1, 1, 1, 2]


def test_gone_keeps_what_waits(api, receiver, db):
    """One delivery is dead, the others wait, and are sent when it is enabled."""
    hook = Hook(api, receiver, ordered=True)
    receiver.answer(hook.path, "gone", "ok")
    doc = hook.insert(n=0)
    hook.change(events=["create", "update"])
    dead = hook.wait_state(db, "dead")
    assert dead["reason"] == "gone"
    row = api.get(f"/api/webhooks/{hook.id}").json()["data"]
    assert row["enabled"] is False and row["disabledReason"] == "gone"
    hook.change(enabled=True)
    hook.put(doc, n=1)
    hook.wait_state(db, "done")
    assert hook.count() == 2
    receiver.answer(hook.path, "slow/300", "gone", "ok")
    for i in range(3):
        hook.put(doc, n=i + 2)  # one after the other: the third waits
    hook.wait_state(db, "dead", 2)
    time.sleep(1)  # some looks
    states = [j["st"] for j in hook.jobs(db)]
    assert states == ["dead", "done", "done", "dead", "waiting"]
    hook.change(enabled=True)
    hook.wait_state(db, "done", 3)
    states = [j["st"] for j in hook.jobs(db)]
    assert states == ["dead", "done", "done", "dead", "done"]


# ---- the breaker


def test_breaker_opens_and_closes(api, path, receiver, db):
    """Ten failures in a row; then one try at a time, and the others wait. The
    minute between two tries is cut short where it is kept."""
    hook = Hook(api, receiver, rateLimit=retries(10))
    breaker = Breaker(api.servers, db[api.database], path, hook.id)
    receiver.answer(hook.path, "status/500")
    for i in range(20):
        hook.insert(n=i)

    def settled() -> bool:
        return breaker.is_open() and not breaker.running()

    wait_until("it is open", settled, 30)
    # those that were under way count, too
    assert 10 <= breaker.fails() <= 13 and hook.count() == breaker.fails()
    assert 50 < breaker.held() <= 60
    for _ in range(2):
        n = hook.count()
        breaker.let_go()
        hook.wait(n + 1)
        wait_until("held again", lambda: settled() and breaker.held() > 30)
        assert hook.count() == n + 1, "one try at a time"
    receiver.answer(hook.path, "ok")
    breaker.let_go()
    hook.wait_state(db, "done", 20, 40)
    wait_until("it is closed", lambda: not breaker.is_open())
    assert breaker.fails() == 0 and breaker.held() <= 0
    wait_totals(db[api.database], hook.id, hook.jobs(db))
    got = [Receipt(r.t, r.path, r.headers, r.body) for r in
           receiver.requests(hook.path)]
    check_labelled(got)
