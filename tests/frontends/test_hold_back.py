"""The lines of the shipped files that hold back metrics, webhooks and writing
cluster routes, switched on: strangers get none of them, and all else works."""

import re

import pytest

from cluster import WEBS, Instance

MARK = "# hold these back from strangers where nothing else does\n"


def switched_on(text: str) -> str:
    """The comments below the mark, up to the next line that is none."""
    head, tail = text.split(MARK)
    lines = tail.splitlines(keepends=True)
    n = 0
    while n < len(lines) and re.match(r"\s*# ", lines[n]):
        lines[n] = lines[n].replace("# ", "", 1)
        n += 1
    assert n > 5, "nothing was switched on"
    return head + MARK + "".join(lines)


@pytest.mark.parametrize("web", WEBS)
def test_strangers_are_held_back(servers, web):
    with Instance(servers, web, edit_web=switched_on) as api:
        for path in ("/metrics", "/METRICS", "/metrics/", "/Metrics?x=1"):
            assert api.get(path).status == 403, path
            assert api.get("/api/cluster" + path).status == 403, path
            assert api.get("/API/Cluster" + path).status == 403, path
        for path in ("/api/cluster/locks", "/API/cluster/x", "/api/CLUSTER/x/"):
            for method in ("POST", "PUT", "DELETE"):
                assert api.send(method, path, {}).status == 403, path
        dead_letters = "/API/Cluster/webhooks/dead-letters"
        for path in ("/api/webhooks", "/API/Webhooks/stats", dead_letters):
            assert api.get(path).status == 403, path
            assert api.get(path + "/").status == 403, path
            assert api.get(path + "?x=1").status == 403, path
        assert api.post("/api/webhooks", {}).status == 403
        assert api.get("/api/cluster/webhooks/queue").status == 200
        assert api.get("/api/cluster/status").status == 200
        assert api.post("/api/db/x", {"n": 1}).status == 201
        assert api.get("/health").status == 200
