"""The lines of the shipped files that hold back metrics and writing cluster
routes, switched on: strangers get neither, and all else works."""

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
        assert api.get("/metrics").status == 403
        assert api.post("/api/cluster/metrics", {}).status == 403
        assert api.get("/api/cluster/metrics").status == 200
        assert api.post("/api/db/x", {"n": 1}).status == 201
        assert api.get("/health").status == 200
