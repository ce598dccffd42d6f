"""hooks - webhooks of an instance: made, fired, and what became of them."""

from __future__ import annotations

from cluster import Instance, Reply, wait_until

# receivers of the tests are on loopback
LOOPBACK = {"WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8"}


def register(api: Instance, url: str, collection: str, **more) -> str:
    """Its id; one try only unless told otherwise."""
    wish = {
        "name": collection,
        "url": url,
        "collection": collection,
        "events": ["create"],
        "rateLimit": {"maxRetries": 0},
    }
    reply = api.post("/api/webhooks", wish | more)
    assert reply.status == 201, reply.body
    return reply.json()["data"]["_id"]


def fire(api: Instance, collection: str, n: int = 1) -> None:
    for i in range(n):
        reply = api.post(f"/api/db/{collection}", {"n": i})
        assert reply.status == 201, reply.body


def deliveries(api: Instance, hook: str, query: str = "limit=100") -> list[dict]:
    reply = api.get(f"/api/webhooks/{hook}/deliveries?{query}")
    assert reply.status == 200, reply.body
    body = reply.json()
    assert body["count"] == len(body["data"]["deliveries"])
    return body["data"]["deliveries"]


def wait_deliveries(
    api: Instance, hook: str, status: str, n: int = 1, seconds: float = 30
) -> list[dict]:
    """As soon as there are n of that status, newest first."""
    return wait_until(
        f"{n} deliveries are {status}",
        lambda: len(rows := deliveries(api, hook, f"status={status}&limit=100")) >= n
        and rows,
        seconds,
    )


def dead_letters(api: Instance, query: str = "limit=100") -> dict:
    reply = api.get(f"/api/cluster/webhooks/dead-letters?{query}")
    assert reply.status == 200, reply.body
    body = reply.json()
    assert body["count"] == len(body["deadLetters"]) <= body["total"]
    return body


def replay_dead(api: Instance, **which) -> dict:
    reply = api.post("/api/cluster/webhooks/dead-letters/replay", which)
    assert reply.status == 200, reply.body
    return reply.json()


def queue(api: Instance) -> dict:
    return api.get("/api/cluster/webhooks/queue").json()["queue"]


def pause(api: Instance, on: bool = True) -> Reply:
    word = "pause" if on else "resume"
    return api.post(f"/api/cluster/webhooks/queue/{word}", {})


def stats(api: Instance) -> dict:
    reply = api.get("/api/webhooks/stats")
    assert reply.status == 200, reply.body
    return reply.json()["data"]
