"""Figures: exact sums over processes, a text that strangers' tools accept, a
number of series that no traffic can drive up."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster import Instance, Servers, wait_until

GOLDEN = Path(__file__).with_name("metrics.golden")
SERIES_MAX = 2000
SECONDS = "sqlfree_http_request_duration_seconds"


def scrape(api, path: str = "/metrics") -> str:
    reply = api.get(path)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


def golden(workers: bool) -> list[str]:
    """Families and kinds; a third word marks those of the program workers."""
    rows = [line.split() for line in GOLDEN.read_text().splitlines()]
    return [" ".join(row[:2]) for row in rows if workers or len(row) == 2]


def families(text: str) -> dict:
    found = list(text_string_to_metric_families(text))
    names = [f.name for f in found]
    assert len(names) == len(set(names)), "a family is named twice"
    return {f.name: f for f in found}


def value(text: str, name: str, **labels) -> float:
    """The sum of the samples of that name with these labels."""
    return sum(
        s.value
        for f in families(text).values()
        for s in f.samples
        if s.name == name and labels.items() <= s.labels.items()
    )


def mixed_traffic(api, collection: str) -> None:
    api.post(f"/api/db/{collection}", {"_id": "a", "n": 1})
    api.post(f"/api/db/{collection}", {"_id": "a", "n": 1})
    for path in ("", "/a", "/b", "?$where=1", "?limit=ten"):
        api.get(f"/api/db/{collection}{path}")
    api.request("HEAD", "/health")
    api.request("OPTIONS", "/api/db/x")
    api.request("BREW", "/api/db/x")
    api.get("/nowhere")


@pytest.mark.parametrize("path", ["/metrics", "/api/cluster/metrics"])
def test_promtool_and_the_reference_parser_accept_the_text(api, collection, path):
    mixed_traffic(api, collection)
    text = scrape(api, path)
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: make setup"
    got = subprocess.run(
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (got.returncode, got.stdout, got.stderr) == (0, "", "")
    assert "sqlfree_http_requests" in families(text)


def test_promtool_finds_faults():
    """The check above can fail."""
    got = subprocess.run(
        ["promtool", "check", "metrics"],
        input="# TYPE a_total gauge\na_total 1\n",
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert got.returncode != 0


def test_families_are_the_golden_list(api, collection):
    mixed_traffic(api, collection)
    text = scrape(api)
    got = re.findall(r"^# TYPE (\S+ \S+)$", text, re.M)
    assert got == golden(workers=False)
    helped = re.findall(r"^# HELP (\S+) \S", text, re.M)
    assert helped == [line.split()[0] for line in got]


def test_requests_are_counted_by_method_route_and_status(pool):
    api = pool.get("nginx", NODE_ENV="counted")
    before = scrape(api)
    mixed_traffic(api, "seen")
    after = scrape(api)

    def more(**labels) -> float:
        name = "sqlfree_http_requests_total"
        return value(after, name, **labels) - value(before, name, **labels)

    docs = "/api/db/:c"
    assert more(method="POST", route=docs, status="201") == 1
    assert more(method="POST", route=docs, status="409") == 1
    assert more(method="GET", route=docs, status="200") == 1
    assert more(method="GET", route=docs, status="400") == 2
    assert more(method="GET", route="/api/db/:c/:id", status="200") == 1
    assert more(method="GET", route="/api/db/:c/:id", status="404") == 1
    assert more(method="HEAD", route="/health", status="200") == 1
    assert more(method="OPTIONS", route="none", status="204") == 1
    assert more(method="OTHER", route="none", status="405") == 1
    assert more(method="GET", route="none", status="404") == 1
    assert value(after, SECONDS + "_count", route=docs) >= 4
    assert value(after, "sqlfree_db_operations_total", outcome="ok") > value(
        before, "sqlfree_db_operations_total", outcome="ok"
    )
    assert more(method="GET", route="/metrics") == 1


def test_aliases_count_as_what_they_stand_for(pool):
    api = pool.get("lighttpd", NODE_ENV="alias")
    api.post("/api/thing", {"n": 1})
    assert (
        value(
            scrape(api),
            "sqlfree_http_requests_total",
            method="POST",
            route="/api/db/:c",
            status="201",
        )
        == 1
    )


def load(api, requests: int, threads: int = 4) -> None:
    """Requests over kept connections; each must be answered by a 200."""
    failures: list = []

    def run() -> None:
        c = api.connect()
        try:
            for _ in range(requests // threads):
                c.request("GET", "/health")
                r = c.getresponse()
                r.read()
                assert r.status == 200
        except Exception as error:
            failures.append(error)
        finally:
            c.close()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert not failures, failures


def health_requests(api) -> float:
    return value(
        scrape(api),
        "sqlfree_http_requests_total",
        method="GET",
        route="/health",
    )


def test_sums_are_exact_over_processes_and_survive_their_death(servers):
    with Instance(servers, FCGI_PROCESSES=4) as api:
        before = health_requests(api)
        load(api, 10_000)
        assert health_requests(api) - before == 10_000
        victims = wait_until(
            "four children", lambda: len(api.app.children()) == 4 and api.app.children()
        )[:2]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            "two new children",
            lambda: len(api.app.children()) == 4
            and not set(victims) & set(api.app.children()),
        )
        wait_until("it is ready", lambda: api.get("/health/ready").status == 200)
        assert health_requests(api) - before == 10_000
        load(api, 2_000)
        assert health_requests(api) - before == 12_000
        text = scrape(api)
        assert value(text, "sqlfree_worker_restarts_total") == 2
        assert value(text, "sqlfree_http_requests_in_flight") == 1
        assert value(text, "process_open_fds") > 4 * 5


def test_random_paths_make_no_series(api):
    api.get("/nowhere/at/all")
    before = len(scrape(api).splitlines())
    for i in range(300):
        api.request("GET", f"/x{i}/y{i}?z={i}")
        api.request("GET", f"/api/db/no_such_{i}")
        api.request(f"M{i}", "/health")
    after = scrape(api)
    # the statuses and methods of the loop itself may be new, no more
    assert len(after.splitlines()) - before < 60
    assert len(after.splitlines()) < SERIES_MAX
    assert "no_such" not in after


def rows_and_statuses() -> tuple[list[tuple[str, str, str]], list[str]]:
    """THE table of endpoints without aliases: method, path, flags; statuses."""
    root = Path(__file__).resolve().parents[2]
    rows = re.findall(
        r'^    \{HTTP_(\w+), +"([^"]+)",(.*)\},',
        (root / "fcgi-app/routes.c").read_text(),
        re.M,
    )
    table = (root / "fcgi-app/reply.c").read_text()
    statuses = re.findall(r'^    \{(\d+), "', table, re.M)
    assert len(rows) > 40 and len(statuses) > 20
    return [r for r in rows if "ROUTE_ALIAS" not in r[2]], statuses


def test_no_traffic_can_exceed_the_most_series(servers):
    """The program adds up what its tables allow: each answer that can be, each
    bucket of each path, all else. That is no less than what it must be."""
    with Instance(servers, LOG_LEVEL="debug") as api:
        (told,) = [e for e in api.events() if e["event"] == "metrics.ready"]
        most = int(re.search(r"\d+", told["reason"])[0])
        assert most <= SERIES_MAX
        rows, statuses = rows_and_statuses()
        paths = {path for _, path, _ in rows} | {"none"}
        heads = [r for r in rows if r[0] == "GET"]
        # 7 statuses are the least that a row may have, 11 buckets and 3 more
        assert most > (len(rows) + len(heads)) * 7 + len(paths) * 14
        for method, path, _ in rows:
            path = re.sub(":[A-Za-z]+", "x", path)
            api.request(method, path)
            if method == "GET":
                api.request("HEAD", path)
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            api.request(method, "/nowhere")
        text = scrape(api)
        lines = [line for line in text.splitlines() if line[:1] != "#"]
        assert len(lines) < most
        shown = {s.labels["route"] for s in families(text)[SECONDS].samples}
        assert shown == paths
        odd = value(text, "sqlfree_http_requests_total", status="0")
        assert odd == 0, "an answer that its table does not foresee"


def test_figures_of_the_processes_are_sums(api):
    text = scrape(api)
    pids = [api.app.pid, *api.app.children()]
    fds = sum(len(os.listdir(f"/proc/{p}/fd")) for p in pids)
    assert abs(value(text, "process_open_fds") - fds) <= 4
    assert value(text, "process_max_fds") > value(text, "process_open_fds")
    assert value(text, "process_resident_memory_bytes") > 1 << 20
    assert value(text, "sqlfree_uptime_seconds") > 0
    assert value(text, "sqlfree_db_up") == 1
    assert value(text, "sqlfree_workers_up") == 0
    cpu = value(text, "process_cpu_seconds_total")


    def grows() -> bool:
        load(api, 500)  # the kernel counts in ticks of 10 ms
        return value(scrape(api), "process_cpu_seconds_total") > cpu

    wait_until("CPU time grows", grows)


@pytest.mark.parametrize(
    "target, accept",
    [("/metrics?format=json", "*/*"), ("/api/cluster/metrics", "application/json")],
)
def test_json_when_asked_for(api, target, accept):
    reply = api.get(target, headers=[("Accept", accept)])
    assert reply.headers["Content-Type"].startswith("application/json")
    body = json.loads(reply.body)
    assert body["success"] is True
    m = body["metrics"]
    assert {"instance", "timestamp", "mode", "process", "services"} <= m.keys()
    memory = m["process"]["memory"]
    assert memory.keys() == {
        "rss",
        "heapTotal",
        "heapUsed",
        "external",
        "arrayBuffers",
    }
    assert memory["rss"] > 1 << 20 and memory["heapUsed"] <= memory["heapTotal"]
    assert m["process"]["cpu"].keys() == {"user", "system"}
    assert m["services"]["locks"].keys() == {"total", "owned"}


def test_shed_requests_are_counted(servers):
    """One thread for I/O, and it waits for a hung MongoDB."""
    own = Servers()
    try:
        with Instance(own, FCGI_THREADS=2, DB_QUERY_TIMEOUT_MS=4000) as api:
            api.post("/api/db/a", {"_id": "k"})
            own.mongod.signal(signal.SIGSTOP)
            waiting = [api.connect() for _ in range(3)]
            try:
                for c in waiting:
                    c.request("GET", "/api/db/a/k")
                wait_until(
                    "a request was shed",
                    lambda: value(scrape(api), "sqlfree_shed_requests_total") >= 1,
                    8,
                )
            finally:
                own.mongod.signal(signal.SIGCONT)
                for c in waiting:
                    c.close()
    finally:
        own.stop()
