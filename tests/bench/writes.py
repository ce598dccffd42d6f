"""writes - what webhooks cost those who write, and what the queue makes of
MongoDB without sending anything."""

from __future__ import annotations

import time

from cluster import BARE, Instance, wait_until
from load import Failed, Program, Side, Wrk
from rows import Ratio, Row, expect, faster
from sink import Sink
from world import PROGRAMS, World

WATCHED, PLAIN = "/api/db/watched", "/api/db/plain"
LOCAL = {"REDIS_URL": "none", "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8"}
PROCESSES = 5
QUIET_S = 0.1


def hooked(world: World, name: str, receiver: Sink, **more) -> Instance:
    """One with a database of its own and a webhook on one collection."""
    database = f"bench_{name}"
    instance = world.keep(
        name,
        lambda: Instance(
            world.servers, MONGODB_DATABASE_NAME=database, **(LOCAL | more)
        ),
    )
    made = instance.post(
        "/api/webhooks",
        {
            "name": "bench",
            "url": receiver.url,
            "collection": "watched",
            "events": ["create"],
        },
    )
    expect("status of POST /api/webhooks", made.status, 201)
    return instance


class Posts(Wrk):
    """POSTs to an instance whose events are counted, and then taken away:
    they would be worked on during the next slice."""

    def __init__(self, name, world: World, instance, target, events: bool):
        words = ("post", target)
        super().__init__(name, world.servers, instance, words=words)
        self.client = world.servers.client()
        self.db = self.client[instance.database]
        self.events = events
        self.check(instance, target)

    def check(self, instance: Instance, target: str) -> None:
        made = instance.post(target, {"name": "Ann", "tags": ["office"]})
        expect(f"status of POST {target}", made.status, 201)
        if self.events:
            wait_until("it has an event", lambda: self.left() == 1)
        self.clear(int(self.events))

    def left(self) -> int:
        """Events that wait, or were fanned out: one webhook each."""
        outbox = self.db["_outbox"].count_documents({})
        return outbox + self.db["_jobs"].count_documents({})

    def clear(self, ops: int) -> None:
        left = self.left()
        if self.events and left < ops or not self.events and left:
            raise Failed(f"{self.name}: {left} events of {ops} writes")
        wait_until("no more events come", self.drained, 60)

    def drained(self) -> bool:
        """wrk leaves requests behind that are worked on still."""
        for name in ("_outbox", "_jobs"):
            self.db[name].delete_many({})
        time.sleep(QUIET_S)
        return self.left() == 0


def events(world: World) -> list[Side]:
    receiver = world.keep("sink", Sink)
    bare = world.keep(
        "bare",
        lambda: Instance(
            world.servers, MONGODB_DATABASE_NAME="bench_bare", **LOCAL
        ),
    )
    quiet = hooked(world, "quiet", receiver)
    busy = hooked(world, "busy", receiver, workers=True)
    before = receiver.requests()
    sides = [
        Posts("POST, no webhook", world, bare, PLAIN, False),
        Posts("POST with a webhook", world, quiet, WATCHED, True),
        Posts("POST beside a webhook", world, quiet, PLAIN, False),
        Posts("POST with a webhook, delivered", world, busy, WATCHED, True),
    ]
    busy.post(WATCHED, {"name": "Ann"})
    wait_until("it is delivered", lambda: receiver.requests() > before)
    return list(sides)


EVENTS = Row(
    "events",
    events,
    [
        Ratio("POST with a webhook; without", faster, 0.6, True, sides=(1, 0)),
        Ratio(
            "POST beside a webhook; without one", faster, 0.97, True, sides=(2, 0)
        ),
        Ratio(
            "POST with a webhook, delivered; without",
            faster,
            0.6,
            True,
            sides=(3, 0),
        ),
    ],
)


def queue_env(world: World, **more) -> dict:
    env = BARE | {
        "MONGODB_URI": world.servers.uri,
        "MONGODB_DATABASE_NAME": "bench_queue",
        "REDIS_URL": "none",
        "CLUSTER_INSTANCE_ID": "bench",
    }
    return env | more


def queue(world: World) -> list[Side]:
    env, program = queue_env(world), PROGRAMS / "queue_bench"
    return [
        Program(
            "claim and finish", world.servers, env, program, "claim", PROCESSES, "seed"
        ),
        Program("findAndModify", world.servers, env, program, "raw", PROCESSES),
    ]


QUEUE = Row(
    "queue",
    queue,
    [
        Ratio("claim and finish; findAndModify, 5 processes", faster, 0.12, True),
    ],
)
