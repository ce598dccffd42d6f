"""index_rows - what the index of the queue makes of Redis: claims and finishes,
and jobs that come, held against a script that does nothing."""

from __future__ import annotations

from cluster import BARE
from load import Program, Side, Slice
from rows import Level, Ratio, Row, faster
from world import PROGRAMS, World

PROCESSES = 5
# of its own: it is emptied before each slice
DATABASE = 5


def index_env(world: World) -> dict:
    return BARE | {
        "MONGODB_URI": world.servers.uri,
        "REDIS_URL": f"{world.servers.redis_url}?db={DATABASE}",
        "REDIS_KEY_PREFIX": "bench",
        "CLUSTER_INSTANCE_ID": "bench",
    }


def index(world: World) -> list[Side]:
    env = index_env(world)

    def raw(n: int) -> Program:
        program = PROGRAMS / "lock_bench"
        return Program(f"EVALSHA, {n}", world.servers, env, program, "raw", n)

    def ours(name: str, mode: str, n: int, seed: str) -> Program:
        program = PROGRAMS / "index_bench"
        return Program(name, world.servers, env, program, mode, n, seed)

    return [
        raw(1),
        raw(PROCESSES),
        ours("step: finish and claim", "step", PROCESSES, "seed"),
        ours("step, ordered groups", "step", PROCESSES, "ordered"),
        ours("enqueue, 50 a call", "many", 1, "empty"),
        ours("enqueue, 1 a call", "one", 1, "empty"),
    ]


def busier(a: Slice, b: Slice) -> float:
    """Redis is one thread: what it cannot do faster is what it is busy with."""
    return a.cpu["redis"] / b.cpu["redis"]


def redis_us(s: Slice) -> float:
    return s.cpu["redis"]


ONE, FIVE, STEP, ORDERED, MANY, SINGLE = range(6)

INDEX = Row(
    "index",
    index,
    [
        Ratio(
            "finish and claim, 5 connections; EVALSHA",
            faster,
            0.12,
            True,
            sides=(STEP, FIVE),
        ),
        Ratio(
            "the same in ordered groups; EVALSHA",
            faster,
            0.1,
            True,
            sides=(ORDERED, FIVE),
        ),
        Ratio(
            "finish and claim; EVALSHA, CPU of Redis",
            busier,
            8.3,
            False,
            redis_us,
            "us",
            (STEP, FIVE),
        ),
        Level(
            "p99 of finish and claim", lambda s: s.p99_ms, 2, False, "ms", side=STEP
        ),
        Ratio("enqueue, 50 a call; EVALSHA", faster, 3, True, sides=(MANY, ONE)),
        Ratio("enqueue, 1 a call; EVALSHA", faster, 0.35, True, sides=(SINGLE, ONE)),
    ],
)
