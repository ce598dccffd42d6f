"""Slow, cut and crowded clients, through web servers and on the socket."""

import json
import threading
import time

from cluster import Instance, wait_until
from fastcgi import (
    BEGIN,
    PARAMS,
    STDIN,
    Client,
    ask,
    begin,
    pairs,
    params_of,
    record,
    request,
    stream,
)
from standstill import took

JSON_TYPE = "application/json"


def post_params(collection: str, length: str) -> list[tuple[str, str]]:
    return params_of(
        "POST",
        f"/api/db/{collection}",
        CONTENT_TYPE=JSON_TYPE,
        CONTENT_LENGTH=length,
    )


def count(api, collection: str) -> int:
    reply = api.get(f"/api/db/{collection}")
    return reply.json()["pagination"]["total"] if reply.status == 200 else 0


def test_slow_client_is_served(api, collection):
    body = json.dumps({"text": "x" * 200}).encode()
    head = (
        f"POST /api/db/{collection} HTTP/1.1\r\nHost: t\r\n"
        f"Content-Type: {JSON_TYPE}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with api.dial() as s:
        for part in range(0, len(head + body), 40):
            s.sendall((head + body)[part : part + 40])
            time.sleep(0.01)
        assert s.recv(100).startswith(b"HTTP/1.1 201 ")


def test_slow_readers_hold_no_thread(pool, db):
    """More slow readers than threads; others are answered all the same."""
    api = pool.get("nginx", FCGI_THREADS=4)
    rows = db[api.database]["slow"]
    rows.delete_many({})
    rows.insert_many([{"_id": i, "t": "x" * 20_000} for i in range(50)])
    readers = []
    for _ in range(8):
        s = api.dial()
        s.sendall(b"GET /api/db/slow?limit=50 HTTP/1.1\r\nHost: t\r\n\r\n")
        readers.append(s)
    try:
        begun = time.monotonic()
        assert api.get("/api/db/slow?limit=1").status == 200
        assert took(begun) < 3
    finally:
        for s in readers:
            s.close()


def test_client_that_leaves_hurts_nobody(api, db):
    rows = db[api.database]["left"]
    rows.delete_many({})
    rows.insert_many([{"_id": i, "t": "x" * 100_000} for i in range(60)])
    for _ in range(20):
        with api.dial() as s:
            s.sendall(b"GET /api/db/left?limit=60 HTTP/1.1\r\nHost: t\r\n\r\n")
            s.recv(1000)
    reply = api.get("/api/db/left?limit=60")
    assert reply.status == 200 and len(reply.json()["data"]) == 60
    assert len(api.app.children()) == 1


def test_cut_body_through_a_web_server_writes_nothing(api, collection):
    head = (
        f"POST /api/db/{collection} HTTP/1.1\r\nHost: t\r\n"
        f"Content-Type: {JSON_TYPE}\r\nContent-Length: 100\r\n\r\n"
    ).encode()
    for n in range(0, 100, 7):
        with api.dial() as s:
            s.sendall(head + b'{"a":1}'.ljust(n)[:n])
    assert api.get("/health").status == 200
    assert count(api, collection) == 0


def test_cut_body_on_the_socket_writes_nothing(pool, collection):
    """At every 1/16, and in every way to be cut."""
    api = pool.get("nginx")
    body = json.dumps({"text": "x" * 1000}).encode()
    head = begin() + stream(PARAMS, pairs(post_params(collection, str(len(body)))))
    for n in range(0, len(body), len(body) // 16):
        part = body[:n]
        cut = record(STDIN, part) if part else b""
        for data in (cut, cut + record(STDIN), cut + record(STDIN, body)[:9]):
            with Client(api.socket) as c:
                c.send(head + data)
    # one that is whole, to know that the others were read
    assert ask(api.socket, post_params(collection, str(len(body))), body).status == 201
    assert count(api, collection) == 1


def test_body_longer_than_announced_writes_nothing(pool, collection):
    api = pool.get("nginx")
    ask(api.socket, post_params(collection, "7"), b'{"a":1}   ')
    assert count(api, collection) == 0


def test_unknown_length_is_counted(pool, collection):
    api = pool.get("nginx")
    for value in ("", "-1"):
        params = post_params(collection, value)
        assert ask(api.socket, params, b'{"a":1}').status == 201
    params = [p for p in post_params(collection, "") if p[0] != "CONTENT_LENGTH"]
    assert ask(api.socket, params, b'{"a":1}').status == 201
    assert count(api, collection) == 3


def test_kept_connection_serves_many(pool, collection):
    api = pool.get("nginx")
    with Client(api.socket) as c:
        for i in range(50):
            body = json.dumps({"_id": i}).encode()
            params = post_params(collection, str(len(body)))
            c.send(request(params, body, keep=True))
            answer = c.answer()
            assert answer.ended and answer.status == 201
        c.send(request(params_of("GET", "/health"), keep=True))
        assert c.answer().status == 200
    assert count(api, collection) == 50


def test_broken_records_lose_their_connection_only(pool):
    api = pool.get("nginx")
    get = params_of("GET", "/health")
    bad = [
        b"\x00" * 64,
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        record(BEGIN, b"\x00" * 8),
        begin(role=2) + stream(PARAMS, pairs(get)),
        begin(role=3) + stream(PARAMS, pairs(get)),
        begin() + record(PARAMS, b"\x05\x80"),
        begin() + record(PARAMS, b"\xff\xff") + record(PARAMS),
        begin() + stream(PARAMS, pairs(get))[:20],
        record(STDIN, b"x") + record(STDIN),
        request(get)[:-3],
    ]
    children = api.app.children()
    for data in bad:
        with Client(api.socket, timeout=5) as c:
            c.send(data)
        assert ask(api.socket, get).status == 200
    assert api.app.children() == children


def test_parameters_are_bounded(pool):
    api = pool.get("nginx")
    many = {f"HTTP_X_{i}": "v" for i in range(200)}
    answer = ask(api.socket, params_of("GET", "/health", **many))
    assert (answer.status, json.loads(answer.body)["code"]) == (
        431,
        "HEADERS_TOO_LARGE",
    )
    answer = ask(api.socket, params_of("GET", "/health", HTTP_X="v" * 70000))
    assert answer.status == 431
    answer = ask(api.socket, params_of("GET", "/health?a=" + "x" * 17000))
    assert (answer.status, json.loads(answer.body)["code"]) == (
        414,
        "URI_TOO_LONG",
    )


def test_ten_thousand_requests_over_64_connections(servers, db):
    with Instance(servers, "nginx") as api:
        db[api.database]["load"].insert_many(
            [{"_id": i, "n": i} for i in range(1000)]
        )
        wrong: list = []
        targets = (
            "/health",
            "/api/db/load/none",
            "/api/db/load?_id=7",
            "/api/db/load?n=>10&limit=5",
        )
        expected = (200, 404, 200, 200)

        def client(number: int) -> None:
            c = api.connect()
            try:
                for i in range(157):
                    k = (i + number) % len(targets)
                    reply = api.request("GET", targets[k], on=c)
                    if reply.status != expected[k]:
                        wrong.append((targets[k], reply.status))
            except Exception as error:
                wrong.append(repr(error))
            c.close()

        threads = [threading.Thread(target=client, args=(i,)) for i in range(64)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert wrong == []
        (child,) = api.app.children()
        wait_until(
            "10,000 requests are logged",
            lambda: api.app.out.read_text().count("request.done") >= 10_000,
        )
        assert not [e for e in api.events() if e["event"] == "child.died"]


def test_memory_is_flat_over_many_requests(servers, db):
    with Instance(servers, "nginx") as api:
        rows = db[api.database]["flat"]
        rows.insert_many([{"_id": i, "t": "x" * 500} for i in range(2000)])
        (child,) = api.app.children()

        def kib() -> int:
            with open(f"/proc/{child}/status") as f:
                line = next(x for x in f if x.startswith("VmRSS"))
            return int(line.split()[1])

        def some() -> None:
            c = api.connect()
            for i in range(400):
                api.request("GET", f"/api/db/flat?limit=100&page={i % 20}", on=c)
            c.close()
            api.get("/api/db/flat?format=csv")

        some()
        before = kib()
        for _ in range(3):
            some()
        assert kib() - before < 16 * 1024
