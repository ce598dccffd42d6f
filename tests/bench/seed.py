"""seed - the documents of the bench, and where they are.

users  100,000 documents, `group` and `team` indexed: 100 of each group, 5 of
       each team
small  1,000, big 1,000,000 of the same kind, without further indexes

An _id is PREFIX and the document's number as 8 hex digits, so that a load
generator can make up ids that exist."""

from __future__ import annotations

import datetime
import multiprocessing

import pymongo
from bson import ObjectId

PREFIX = "64b0c0de00000000"
USERS, SMALL, BIG = 100_000, 1_000, 1_000_000
GROUPS, TEAMS = 1_000, 20_000
BATCH = 10_000
FIRST_DAY = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
NAMES = ("Ann Lee", "Bob Stone", "Cleo Park", "Dan Brown", "Eve, of Oslo")
CITIES = (("Seattle", "98101"), ("Portland", "97201"), ("Boise", "83702"))
TAGS = ("office", "north", "light", "paper", "dev")


def oid(i: int) -> str:
    return f"{PREFIX}{i:08x}"


def user(i: int) -> dict:
    city, code = CITIES[i % len(CITIES)]
    made = FIRST_DAY + datetime.timedelta(seconds=i)
    return {
        "_id": ObjectId(oid(i)),
        "name": f"{NAMES[i % len(NAMES)]} {i}",
        "email": f"user{i}@example.com",
        "age": i % 80,
        "group": i % GROUPS,
        "team": i % TEAMS,
        "score": i % 1000 / 8,
        "active": i % 3 == 0,
        "address": {"city": city, "zip": code},
        "tags": [TAGS[i % 5], TAGS[i % 3]],
        "createdAt": made,
        "updatedAt": made,
    }


def _insert(port: int, db: str, name: str, first: int, end: int) -> None:
    with pymongo.MongoClient("127.0.0.1", port, directConnection=True) as client:
        collection = client[db].get_collection(
            name, write_concern=pymongo.WriteConcern(1)
        )
        for at in range(first, end, BATCH):
            rows = [user(i) for i in range(at, min(at + BATCH, end))]
            collection.insert_many(rows, ordered=False)


def fill(port: int, db: str, name: str, n: int) -> None:
    """By two processes, since making documents here costs more than storing
    them there."""
    half = [(port, db, name, 0, n // 2), (port, db, name, n // 2, n)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_insert, half)


def fill_users(port: int, db: str) -> None:
    fill(port, db, "users", USERS)
    with pymongo.MongoClient("127.0.0.1", port, directConnection=True) as client:
        for field in ("group", "team"):
            client[db].users.create_index(field)


def fill_small(port: int, db: str) -> None:
    _insert(port, db, "small", 0, SMALL)


def fill_big(port: int, db: str) -> None:
    fill(port, db, "big", BIG)


FILLERS = {"users": fill_users, "small": fill_small, "big": fill_big}
