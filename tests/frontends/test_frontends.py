"""What nginx and lighttpd make of odd requests, with the shipped files."""

import gzip
import json
import os
import re
import socket

import pytest

from cluster import ROOT, WEBS, Instance, read_all
from fastcgi import Client, parse

JSON = ("Content-Type", "application/json")


def statuses(answer: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def raw(api, target: bytes, method: bytes = b"GET", more: bytes = b"") -> bytes:
    head = method + b" " + target + b" HTTP/1.1\r\nHost: t\r\n"
    return api.raw(head + b"Connection: close\r\n" + more + b"\r\n")


@pytest.mark.parametrize(
    "method,target,status",
    [
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("POST", "/health", 405),
        ("PUT", "/api/db/x", 405),
        ("PATCH", "/api/db/x/1", 405),
        ("DELETE", "/api/management/health", 405),
        ("OPTIONS", "/health", 204),
        ("PROPFIND", "/health", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
    ],
)
def test_methods(api, method, target, status):
    body = b"" if method in ("POST", "PUT", "PATCH") else None
    reply = api.request(method, target, body=body)
    assert reply.status == status
    if status == 405:
        assert reply.headers["Allow"] and reply.code() == "METHOD_NOT_ALLOWED"
    if method in ("HEAD", "OPTIONS"):
        assert reply.body == b""


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT"])
def test_trace_and_connect_are_refused(api, method):
    answer = raw(api, b"/health", method)
    assert statuses(answer)[0] in (400, 405, 501)
    assert b"healthy" not in answer


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n"])
def test_refused_upload_is_seen_as_413(pool, collection, more):
    """9 MB against a limit of 1 MB: our answer, not a 502."""
    for web in WEBS:
        api = pool.get(web, JSON_LIMIT="1mb")
        body = b'{"a":"' + b"x" * 9_000_000 + b'"}'
        for _ in range(3):
            reply = api.request("POST", f"/api/db/{collection}", [JSON], body)
            assert (reply.status, reply.code()) == (413, "BODY_TOO_LARGE")
        assert api.get(f"/api/db/{collection}").status == 404


def test_kept_connection_goes_on_after_a_refusal(pool, collection):
    for web in WEBS:
        api = pool.get(web, JSON_LIMIT="1mb")
        c = api.connect()
        body = b'{"a":"' + b"x" * 2_000_000 + b'"}'
        at = f"/api/db/{collection}"
        reply = api.request("POST", at, [JSON], body, on=c)
        assert reply.status == 413
        assert api.request("GET", "/health", on=c).status == 200
        c.close()


def test_upload_just_over_ten_mib_gets_our_answer(api, collection):
    body = b'{"a":"' + b"x" * (10 << 20) + b'"}'
    reply = api.request("POST", f"/api/db/{collection}", [JSON], body)
    assert (reply.status, reply.code()) == (413, "BODY_TOO_LARGE")


def test_upload_far_too_large_is_refused_by_the_web_server(api, collection):
    body = b"x" * (12 << 20)
    try:
        reply = api.request("POST", f"/api/db/{collection}", [JSON], body)
    except ConnectionError:
        return  # closed while we were sending, as it may
    assert reply.status == 413


def test_chunked_body_is_read(api, collection):
    data = json.dumps({"text": "x" * 5000}).encode()
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part)
        for part in (data[i : i + 999] for i in range(0, len(data), 999))
    )
    more = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    head = f"POST /api/db/{collection} HTTP/1.1\r\nHost: t\r\n".encode()
    answer = api.raw(
        head + more + b"Connection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert statuses(answer) == [201]


def test_expect_continue_is_answered(api, collection):
    head = (
        f"POST /api/db/{collection} HTTP/1.1\r\nHost: t\r\n"
        "Content-Type: application/json\r\nContent-Length: 7\r\n"
        "Expect: 100-continue\r\nConnection: close\r\n\r\n"
    ).encode()
    with api.dial() as s:
        s.sendall(head)
        assert s.recv(1000).startswith(b"HTTP/1.1 100 ")
        s.sendall(b'{"a":1}')
        assert 201 in statuses(read_all(s))


def test_pipelined_requests_are_all_answered(api):
    one = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    assert statuses(api.raw(one * 9 + last)) == [200] * 10


def test_http_1_0_is_served(api):
    answer = api.raw(b"GET /health HTTP/1.0\r\n\r\n")
    assert b"healthy" in answer


@pytest.mark.parametrize(
    "target,code",
    [
        (b"/api/db/a%2Fb", "BAD_COLLECTION_NAME"),
        (b"/api/db/a%2Fb//c/../d%C3%A9?q=%26", "ROUTE_NOT_FOUND|BAD_PATH"),
        (b"/api/db/x/../../health", "BAD_PATH"),
        (b"/api/db/x/%2e%2e", "BAD_PATH"),
        (b"/api/db/x/%zz", "BAD_PATH"),
        (b"/api/db/x/%C3%28", "BAD_PATH"),
        (b"/api/db//x", "ROUTE_NOT_FOUND"),
        (b"/api/db/%2561", "BAD_COLLECTION_NAME"),
    ],
)
def test_target_arrives_raw(api, target, code):
    """As written: neither decoded, merged nor resolved on the way. nginx
    itself refuses what it cannot decode."""
    answer = raw(api, target)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = statuses(head)[0]
    if api.web_name == "nginx" and b"<html>" in body:
        assert status == 400 and (b"%zz" in target or b".." in target)
        return
    assert json.loads(body)["code"] in code.split("|")


@pytest.mark.parametrize("target", [b"/a%00b", b"/api/db/x\x01y", b"/a b"])
def test_hostile_targets_are_refused(api, target):
    answer = raw(api, target)
    assert statuses(answer)[0] in (400, 404)
    assert api.get("/health").status == 200


def test_long_targets(api):
    """What passes the web server is within our own limit or gets our 414."""
    assert api.get("/health?a=" + "x" * 8000).status == 200
    assert api.get("/health?a=" + "x" * 14000).status == 200
    assert api.get("/health?a=" + "x" * 20000).status in (414, 431)
    assert api.get("/health?a=" + "x" * 50000).status in (400, 414, 431)


def test_many_and_large_headers(api):
    headers = [(f"X-Header-{i}", "v" * 100) for i in range(60)]
    assert api.get("/health", headers=headers).status == 200
    headers = [("X-Big", "v" * 14000)]
    assert api.get("/health", headers=headers).status == 200
    headers = [(f"X-Big-{i}", "v" * 14000) for i in range(6)]
    assert api.get("/health", headers=headers).status in (400, 431)


def test_repeated_headers_are_read_alike(api):
    """Two parameters from nginx, one joined by a comma from lighttpd."""
    headers = [("Accept", "text/html"), ("Accept", "application/problem+json")]
    reply = api.get("/nowhere", headers=headers)
    assert reply.json()["type"] == "urn:sql-free:error:ROUTE_NOT_FOUND"


def test_proxy_header_is_dropped(pool, servers):
    """Neither server passes HTTP_PROXY with a client's value."""
    for web in WEBS:
        with Listener(servers, web) as listener:
            params = listener.params_of([("Proxy", "http://evil.example")])
            assert "evil" not in params.get("HTTP_PROXY", "")


def test_only_what_the_api_reads_is_passed_by_nginx(servers):
    with Listener(servers, "nginx") as listener:
        params = listener.params_of([("X-Request-Id", "id-0000001")])
    assert set(params) - {n for n in params if n.startswith("HTTP_")} == {
        "REQUEST_METHOD",
        "REQUEST_URI",
        "SERVER_PROTOCOL",
        "REMOTE_ADDR",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
    }
    assert params["HTTP_X_REQUEST_ID"] == "id-0000001"
    assert params["REQUEST_URI"] == "/api/db/a%2Fb//c/d%C3%A9?q=%26"


def test_nginx_says_its_own_health(pool):
    reply = pool.get("nginx").get("/nginx-health")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_nginx_compresses_json_and_keeps_the_etag_usable(pool):
    api = pool.get("nginx")
    for i in range(30):
        api.post("/api/db/zip", {"_id": i, "text": "words " * 20})
    headers = [("Accept-Encoding", "gzip")]
    reply = api.get("/api/db/zip", headers=headers)
    assert reply.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(reply.body))["success"]
    headers.append(("If-None-Match", reply.headers["ETag"]))
    assert api.get("/api/db/zip", headers=headers).status == 304


def test_app_away_is_502_or_503_and_comes_back(servers):
    for web in WEBS:
        with Instance(servers, web) as api:
            api.app.stop()
            assert api.get("/health").status in (502, 503)
            api.start_app()
            api.wait_ready()


def test_sockets_keep_strangers_out(servers):
    """A socket of mode 0600 refuses another user."""
    with Instance(servers, web=None, FCGI_SOCKET_MODE="0600") as api:
        if os.geteuid() != 0:
            assert api.socket.stat().st_mode & 0o077 == 0
            return
        api.folder.chmod(0o755)
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            try:
                Client(api.socket)
            except PermissionError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0


def test_shipped_numbers_of_nginx():
    text = (ROOT / "conf/nginx.conf").read_text()
    for line in (
        "client_max_body_size 11m;",
        "keepalive 64;",
        "fastcgi_keep_conn on;",
        "fastcgi_connect_timeout 5s;",
        "fastcgi_read_timeout 60s;",
        "fastcgi_send_timeout 60s;",
        'fastcgi_param HTTP_PROXY "";',
        "location = /nginx-health",
    ):
        assert line in text
    for word in ("non_idempotent", "limit_req", "Access-Control"):
        assert word not in text


def test_shipped_numbers_of_lighttpd():
    text = (ROOT / "conf/lighttpd.conf").read_text()
    assert "server.max-request-size = 11264" in text
    assert '"fix-root-scriptname" => "enable"' in text
    assert '"check-local" => "disable"' in text


class Listener:
    """Stands where the API would, and keeps the parameters of a request."""

    def __init__(self, servers, web: str):
        self.api = Instance(servers, web)
        self.api.app.stop()
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(str(self.api.socket))
        self.s.listen()
        self.s.settimeout(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()
        self.api.stop()

    def params_of(self, headers) -> dict[str, str]:
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers)
        request = "GET /api/db/a%2Fb//c/d%C3%A9?q=%26 HTTP/1.1\r\nHost: t\r\n"
        with self.api.dial() as client:
            client.sendall((request + lines + "\r\n").encode())
            peer, _ = self.s.accept()
            with peer:
                peer.settimeout(10)
                return read_params(peer)


def read_params(peer: socket.socket) -> dict[str, str]:
    got, data = b"", b""
    while True:
        part = peer.recv(65536)
        assert part, "ended before its parameters"
        got += part
        while len(got) >= 8:
            size = 8 + int.from_bytes(got[4:6], "big") + got[6]
            if len(got) < size:
                break
            kind, content = got[1], got[8 : size - got[6]]
            got = got[size:]
            if kind == 4 and not content:
                return split(data)
            data += content if kind == 4 else b""


def split(data: bytes) -> dict[str, str]:
    out, i = {}, 0
    while i < len(data):
        sizes = []
        for _ in range(2):
            wide = data[i] >= 128
            n = int.from_bytes(data[i : i + 4], "big") & 0x7FFFFFFF
            sizes.append(n if wide else data[i])
            i += 4 if wide else 1
        name = data[i : i + sizes[0]].decode()
        out[name] = data[i + sizes[0] : i + sum(sizes)].decode()
        i += sum(sizes)
    return out


def test_the_client_of_these_tests_reads_a_status():
    answer = parse(b"Status: 404 Not Found\r\nX-A: b\r\n\r\nbody")
    assert (answer.status, answer.body) == (404, b"body")
    assert answer.headers == {"x-a": "b"}
