"""three - three instances with a Redis that tests harm, as fixtures; instance b
has Redis through a proxy of its own. Most run a flow (flow.py), which is judged
at its end."""

from __future__ import annotations

import pytest
from proxy import Proxy
from receiver import Receiver

from cluster import wait_until
from clusters import Cluster
from delivering import FAST
from flow import Flow
from paths import wait_path
from servers import Servers

SLOTS = 5
CAP = 6  # 0.4 x 15


@pytest.fixture(scope="module")
def stack():
    servers = Servers(appendonly=True)
    yield servers
    servers.stop()


@pytest.fixture(scope="module")
def redis(stack):
    """What instance b has of it."""
    with Proxy(stack.redis_path) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


@pytest.fixture(scope="module")
def three(stack, redis):
    each = {"b": {"REDIS_URL": redis.redis_url}}
    with Cluster(stack, 3, each, webs=["a"], **FAST) as cluster:
        yield cluster


@pytest.fixture
def cluster(three, stack, redis):
    """All is well."""
    redis.forward()
    stack.redis.cont()
    if not stack.redis.running():
        stack.start_redis()
    wait_path(three.db, "redis", 3)
    wait_cap(three)
    return three


def wait_cap(cluster) -> None:
    """All slots are known to all, and none of them is new."""
    meta = f"{cluster.database}:q:webhook:meta"
    wait_until(
        "the cap is that of three",
        lambda: cluster.servers.redis_cli("HGET", meta, "cap").strip() == str(CAP),
        30,
    )


@pytest.fixture
def flow(cluster, receiver):
    return Flow(cluster, receiver, CAP, SLOTS)


def told(capsys, what: str, seconds: float) -> None:
    with capsys.disabled():
        print(f" [{what}: {seconds:.2f} s]", end=" ")
