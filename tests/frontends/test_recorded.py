"""One request as four web servers send it: the route comes from REQUEST_URI
alone, and what else they set or leave out changes nothing."""

import json
import uuid

import pytest

from cluster import wait_until
from fastcgi import ask

URI = "/api/db/a%2Fb//c/../d%C3%A9?q=%26"
SERVERS = {
    "nginx": {
        "SCRIPT_NAME": "/api/db/a/b/dé",
        "REMOTE_USER": "",
        "SERVER_SOFTWARE": "nginx/1.22.1",
    },
    "lighttpd": {
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/db/a/b/dé",
        "SERVER_SOFTWARE": "lighttpd/1.4.69",
    },
    "caddy": {
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/db/a/b//c/../dé",
        "REMOTE_USER": "",
        "SERVER_SOFTWARE": "Caddy/v2.6.2",
    },
    "apache": {
        "SCRIPT_NAME": "/api/db/a%2Fb/dé",
        "SERVER_SOFTWARE": "Apache/2.4.57 (Debian)",
    },
}
LENGTHS = {"nginx": "", "lighttpd": "0", "caddy": "-1", "apache": None}


def params(server: str, method: str, uri: str, **more) -> list[tuple[str, str]]:
    out = dict(SERVERS[server])
    out |= {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "SERVER_NAME": "localhost",
        "REQUEST_METHOD": method,
        "REQUEST_URI": uri,
        "QUERY_STRING": uri.partition("?")[2],
        "HTTP_HOST": "localhost",
    }
    if LENGTHS[server] is not None:
        out["CONTENT_LENGTH"] = LENGTHS[server]
    out |= more
    return list(out.items())


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


@pytest.fixture
def path(pool):
    return pool.get("nginx").socket


def test_route_is_of_the_uri_alone(server, path):
    answer = ask(path, params(server, "GET", URI))
    assert answer.status in (400, 404)
    code = json.loads(answer.body)["code"]
    assert code in ("BAD_PATH", "ROUTE_NOT_FOUND")


def test_path_info_never_routes(server, path):
    more = {"PATH_INFO": "/health", "SCRIPT_NAME": "/health"}
    answer = ask(path, params(server, "GET", "/nowhere", **more))
    assert answer.status == 404


def test_document_is_written_and_read(server, path):
    at = f"/api/db/r{uuid.uuid4().hex[:10]}"
    more = {"CONTENT_TYPE": "application/json"}
    answer = ask(path, params(server, "POST", at, **more), b'{"_id":"a/b"}')
    if LENGTHS[server] == "0":
        # announced as empty, and not empty: nothing may be written
        assert answer.status in (0, 400)
        more["CONTENT_LENGTH"] = "13"
        answer = ask(path, params(server, "POST", at, **more), b'{"_id":"a/b"}')
    assert answer.status == 201
    answer = ask(path, params(server, "GET", at + "/a%2Fb"))
    assert answer.status == 200 and answer.ended


def test_proxy_parameter_is_harmless(server, path):
    more = {"HTTP_PROXY": "http://evil.example:1"}
    answer = ask(path, params(server, "GET", "/health", **more))
    assert answer.status == 200


def test_announced_too_large_is_refused_unread(path):
    at = f"/api/db/r{uuid.uuid4().hex[:10]}"
    more = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "99999999"}
    answer = ask(path, params("nginx", "POST", at, **more), b'{"a":1}')
    assert answer.status == 413
    assert ask(path, params("nginx", "GET", at)).status == 404


def test_head_and_304_have_no_body(path):
    for method, more, status in (
        ("HEAD", {}, 200),
        ("OPTIONS", {}, 204),
        ("GET", {"HTTP_IF_NONE_MATCH": "*"}, 304),
    ):
        at = "/api/management/collections"
        answer = ask(path, params("nginx", method, at, **more))
        assert (answer.status, answer.body) == (status, b"")


def test_trace_is_refused_by_us(path):
    answer = ask(path, params("nginx", "TRACE", "/health"))
    assert answer.status == 405 and answer.headers["allow"]


def test_forwarded_for_is_believed_of_trusted_proxies_only(pool):
    for settings, client in (
        ({}, "127.0.0.1"),
        ({"TRUSTED_PROXIES": "127.0.0.0/8,10.0.0.0/8"}, "203.0.113.9"),
    ):
        api = pool.get("nginx", **settings)
        mark = uuid.uuid4().hex
        more = {
            "HTTP_X_REQUEST_ID": mark,
            "HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.9, 10.0.0.3",
        }
        assert ask(api.socket, params("nginx", "GET", "/health", **more)).status

        def logged(api=api, mark=mark):
            lines = api.app.out.read_text().splitlines()
            return [json.loads(x) for x in lines if mark in x]

        (line,) = wait_until("the request is logged", logged, 5)
        assert line["client"] == client
