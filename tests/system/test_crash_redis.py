"""kill -9 between the steps that a process does in Redis (see crashes.py)."""

import time

import pytest

from crashes import *  # noqa: F401,F403: fixtures
from crashes import FATES, ONE, call, child, crash, die_at, judge, kill
from delivering import Hook

LEASE = ONE["WEBHOOK_TIMEOUT"] / 1000 + 10


@pytest.fixture(scope="module")
def path():
    return "redis"


def steps_in_redis(servers, hook: Hook) -> dict:
    """claim: the first step while the job waits; told: the one that names it."""
    step = call("queue_step")
    key = f"crash:q:webhook:w:{hook.id}"
    if hook.row["ordered"]:
        key = f"crash:q:webhook:e:{hook.id}"

    def claim(data: bytes) -> bool:
        return step(data) and servers.redis_cli("EXISTS", key).strip() == "1"

    return {
        "claim": (claim, {1}, {1}, {1}),
        "told": (call("queue_step", hook.id.encode()), {1}, {1}, {1}),
    }


@pytest.mark.parametrize("ordered", [False, True])
def test_deliver_dies_at_its_steps_in_redis(
    stack, api, workers, redis, receiver, ordered
):
    """What it held in the index waits again at once, at no cost."""
    with stack.client() as client:
        for step in ("claim", "told"):
            for fate in FATES:
                hook = Hook(api, receiver, ordered=ordered)
                match, *_ = steps_in_redis(stack, hook)[step]
                begun = time.monotonic()
                where = match, redis, child(workers, "deliver")
                die_at(step, fate, {1}, where, hook, client, stack)
                (row,) = hook.jobs(client)
                assert row["starts"] == 1, f"{step}, {fate}"
                granted = stack.redis_cli("LLEN", f"crash:q:webhook:rl:{hook.id}")
                assert int(granted) <= 1, f"{granted} grants: {step}, {fate}"
                # or it would be in flight there till its lease ends
                took = time.monotonic() - begun
                assert took < LEASE - 3, f"{step}, {fate}: after {took:.1f} s"
                hook.drop()


def test_coordinator_dies_while_it_tells_the_index(
    stack, api, workers, redis, receiver
):
    with stack.client() as client:
        for fate in FATES:
            hook = Hook(api, receiver)
            receiver.answer(hook.path, "tarpit", "ok")
            sender = child(workers, "deliver")
            coordinator = child(workers, "coordinator")

            def begin(h=hook, pid=sender):
                h.insert()
                h.wait(1)
                kill(pid)

            crash(redis, coordinator, fate, call("queue_recover"), begin)
            hook.wait_state(client, "done", seconds=40)
            judge(api, hook, client, stack, lost=True)
            (row,) = hook.jobs(client)
            assert (hook.count(), row["tries"], row["stalls"]) == (2, 1, 1), fate
            hook.drop()
