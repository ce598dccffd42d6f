"""shapes - a comparison is fair when both sides have the server do the same.
The server's profiler tells what one request, and one operation of the loop,
came to: the commands, the index used, the keys and documents looked at."""

from __future__ import annotations

from collections.abc import Callable

from load import Failed

# "count" of the app and of the loop differ in nothing; "find" of the loop
# names singleBatch where the app names a batch size, which costs the same
LOOKED_AT = ("op", "planSummary", "keysExamined", "docsExamined", "nreturned")


def profiled(world, collection: str, act: Callable[[], object]) -> list[dict]:
    """The server's notes of what act() had it do there, in order."""
    with world.servers.client() as client:
        db = client[world.db]
        db.command("profile", 2)
        try:
            act()
        finally:
            db.command("profile", 0)
        notes = list(db["system.profile"].find({"ns": f"{world.db}.{collection}"}))
        db.drop_collection("system.profile")
    return notes


def shape(note: dict) -> dict:
    command = note.get("command", {})
    out = {name: note.get(name) for name in LOOKED_AT}
    out["command"] = next(iter(command), None)
    out["limit"] = command.get("limit")
    out["writeConcern"] = command.get("writeConcern")
    out["retryable"] = "txnNumber" in command
    return out


def same(world, collection: str, ours, other, plans: list) -> None:
    """Failed unless both have the same shapes, with these plans."""
    a = [shape(n) for n in profiled(world, collection, ours)]
    b = [shape(n) for n in profiled(world, collection, other)]
    if a != b:
        raise Failed(f"not the same work for the server:\n{a}\n{b}")
    found = [s["planSummary"] for s in a]
    if found != plans:
        raise Failed(f"{collection}: the plans are {found}, expected {plans}")


def same_inserts(world, ours: tuple, other: tuple) -> None:
    """The same for (collection, act), where both must insert one document."""
    found = []
    for collection, act in (ours, other):
        notes = profiled(world, collection, act)
        found.append([shape(n) for n in notes if n["op"] == "insert"])
    if found[0] != found[1] or len(found[0]) != 1:
        raise Failed(f"not the same work for the server: {found}")
