"""Each file of tests/cases, through each web server."""

from pathlib import Path

import pytest
from bson import json_util

import casefile
from cluster import WEBS
from locks import wait_granted

FILES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.case"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize("web", WEBS)
def test_case(web, path, pool, collection, db):
    case = casefile.read(path)
    more = {"workers": True} if case.workers else {}
    instance = pool.get(web, **case.env, **more)
    if case.workers:
        wait_granted(instance)
    names = casefile.Names(C=collection)
    if case.documents:
        rows = [json_util.loads(names.fill(d)) for d in case.documents]
        db[instance.database][collection].insert_many(rows)
    for e in case.exchanges:
        lines = [names.fill(line) for line in e.request]
        method, target, headers, body = casefile.split_request(lines)
        reply = instance.request(method, target, headers, body)
        wrong = casefile.check(e.reply, reply, names)
        assert not wrong, (
            f"{path.name}:{e.line}: {method} {target}\n{wrong}\n"
            f"{reply.status} {reply.body[:2000].decode(errors='replace')}\n"
            f"{instance.logs()}"
        )


def test_there_are_cases():
    assert len(FILES) >= 80
