"""The proxy that other tests put before Redis and MongoDB does what it says."""

import socket
import threading
import time

import pymongo
import pytest
from proxy import Proxy
from pymongo.errors import PyMongoError

from cluster import Instance, wait_until


class Redis:
    """A raw connection, inline commands."""

    def __init__(self, address, timeout: float = 20):
        unix = isinstance(address, str)
        self.s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self.s.settimeout(timeout)
        try:
            self.s.connect(address if unix else ("127.0.0.1", address))
        except ConnectionResetError:
            pass  # so soon: seen at the next call, too

    def send(self, text: str) -> None:
        self.s.sendall(text.encode() + b"\r\n")

    def reply(self) -> bytes:
        """What came; empty at the end of the connection."""
        try:
            return self.s.recv(1 << 20)
        except ConnectionError:
            return b""

    def ask(self, text: str) -> bytes:
        try:
            self.send(text)
        except ConnectionError:
            return b""
        return self.reply()

    def silent(self) -> bool:
        """Nothing comes for a while."""
        self.s.settimeout(0.3)
        try:
            self.s.recv(1)
            return False
        except TimeoutError:
            return True
        finally:
            self.s.settimeout(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


@pytest.fixture(params=["tcp", "unix"])
def proxy(request, servers, tmp_path):
    path = tmp_path / "p.sock" if request.param == "unix" else None
    with Proxy(servers.redis_path, path) as p:
        yield p
    assert "proxy" not in {t.name for t in threading.enumerate()}
    with pytest.raises(OSError):
        dial(p)


def dial(p: Proxy) -> Redis:
    return Redis(str(p.path) if p.path else p.port)


def test_proxy_forwards_and_counts(proxy):
    with dial(proxy) as one, dial(proxy) as two:
        assert one.ask("PING") == two.ask("PING") == b"+PONG\r\n"
        assert (proxy.connections, proxy.open) == (2, 2)
        wait_until(
            "all is counted",
            lambda: (proxy.bytes_up, proxy.bytes_down) == (12, 14),
        )
    wait_until("both are closed", lambda: proxy.open == 0)


def test_proxy_carries_much_both_ways(proxy, servers):
    value, key = "x" * 5_000_000, f"big{proxy.port}"
    text = f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n${len(value)}\r\n{value}"
    with dial(proxy) as r:
        assert r.ask(text) == b"+OK\r\n"
        r.send(f"GET {key}")
        got = b""
        while len(got) < len(value) + 12:
            got += r.reply()
        assert got == f"${len(value)}\r\n{value}\r\n".encode()
    servers.redis_cli("DEL", key)


def test_proxy_delays_each_way(proxy):
    proxy.delay(200)
    with dial(proxy) as r:
        begun = time.monotonic()
        assert r.ask("PING") == b"+PONG\r\n"
        assert time.monotonic() - begun >= 0.4
        proxy.delay(0, "up")
        begun = time.monotonic()
        assert r.ask("PING") == b"+PONG\r\n"
        assert time.monotonic() - begun >= 0.2


def test_proxy_drips(proxy):
    proxy.drip(2, 50, "down")
    with dial(proxy) as r:
        begun, got = time.monotonic(), r.ask("PING")
        while len(got) < 7:
            got += r.reply()
        assert got == b"+PONG\r\n" and time.monotonic() - begun >= 0.15


def test_black_hole_keeps_and_releases(proxy, servers):
    with dial(proxy) as r, dial(proxy) as leaver:
        assert r.ask("DEL held") and leaver.ask("PING")
        before = proxy.bytes_up
        proxy.hold()
        r.send("SET held 1")
        with dial(proxy) as late:  # connects, and hears nothing
            late.send("PING")
            assert late.silent() and r.silent()
            assert proxy.bytes_up == before
            assert servers.redis_cli("EXISTS", "held").strip() == "0"
            leaver.s.close()
            time.sleep(0.1)
            assert proxy.open == 3, "the end is not told"
            proxy.release()
            assert r.reply() == b"+OK\r\n" and late.reply() == b"+PONG\r\n"
    wait_until("all are closed", lambda: proxy.open == 0)
    assert servers.redis_cli("DEL", "held").strip() == "1"


def test_black_hole_begins_with_a_request(proxy, servers):
    with dial(proxy) as r, dial(proxy) as other:
        proxy.hold_from(b"late", "up")
        assert r.ask("SET early 1") == b"+OK\r\n" and not proxy.holds
        r.send("SET late 1")
        wait_until("it is held", lambda: proxy.holds)
        other.send("PING")
        assert r.silent() and other.silent()
        assert servers.redis_cli("EXISTS", "late").strip() == "0"
        r.s.close()  # what it asked for arrives all the same
        proxy.forward()
        assert other.reply() == b"+PONG\r\n"
    wait_until("it was done", lambda: servers.redis_cli("DEL", "late") == "1\n")
    assert servers.redis_cli("DEL", "early").strip() == "1"


def test_black_hole_of_one_way(proxy, servers):
    with dial(proxy) as r:
        proxy.hold("down")
        r.send("SET one 1")
        wait_until("it was done", lambda: servers.redis_cli("DEL", "one") == "1\n")
        assert r.silent()
        proxy.forward()
        assert r.reply() == b"+OK\r\n"


def test_proxy_refuses_and_drops(proxy):
    with dial(proxy) as r:
        assert r.ask("PING")
        proxy.refuse()
        assert r.reply() == b""
    with dial(proxy) as r:
        assert r.ask("PING") == b""
    proxy.forward()
    with dial(proxy) as r, dial(proxy) as other:
        assert r.ask("PING") and other.ask("PING")
        proxy.drop()
        assert r.reply() == other.reply() == b""
    with dial(proxy) as r:
        assert r.ask("PING") == b"+PONG\r\n"


def test_lost_reply_is_of_a_request_carried_out(proxy, servers):
    with dial(proxy) as r:
        proxy.cut_after_forward(b"INCR")
        assert r.ask("DEL lost") and r.ask("PING")
        assert r.ask("INCR lost") == b""
        assert servers.redis_cli("GET", "lost") == "1\n"
    with dial(proxy) as r:
        assert r.ask("INCR lost") == b":2\r\n", "once only"
        proxy.cut_after_forward(2)
        assert r.ask("INCR lost") == b":3\r\n"
        assert r.ask("INCR lost") == b""
    proxy.cut_before_forward(lambda data: data.startswith(b"INCR"), -1)
    for _ in range(3):
        with dial(proxy) as r:
            assert r.ask("INCR lost") == b""
    assert proxy.cuts == 5
    assert servers.redis_cli("GET", "lost") == "4\n"
    servers.redis_cli("DEL", "lost")


def test_half_closed_connection(proxy, servers):
    with dial(proxy) as r:
        assert r.ask("PING")
        proxy.half_close()
        assert r.reply() == b""
        r.send("SET half 1")
        wait_until("it was done", lambda: servers.redis_cli("DEL", "half") == "1\n")


def test_proxy_before_nothing(tmp_path):
    with Proxy(tmp_path / "none.sock") as p, dial(p) as r:
        assert r.ask("PING") == b""


def test_what_a_predicate_raises_is_raised(servers):
    with pytest.raises(ZeroDivisionError):
        with Proxy(servers.redis_path) as p:
            p.cut_after_forward(lambda data: 1 // 0)
            with dial(p) as r:
                assert r.ask("PING") == b""


def test_driver_behind_a_proxy(servers, collection):
    with Proxy(servers.port) as p:
        with pymongo.MongoClient(p.uri(), retryWrites=False) as client:
            rows = client.proxied[collection]
            rows.insert_one({"_id": 1})
            p.cut_after_forward(b"findAndModify")
            with pytest.raises(PyMongoError):
                rows.find_one_and_update({"_id": 1}, {"$inc": {"n": 1}})
            assert rows.find_one() == {"_id": 1, "n": 1}
            client.drop_database("proxied")
        assert p.cuts == 1


def test_instance_behind_proxies(servers):
    with Proxy(servers.port) as m, Proxy(servers.redis_path) as r:
        settings = {
            "MONGODB_URI": m.uri(),
            "REDIS_URL": r.redis_url,
            "DB_QUERY_TIMEOUT_MS": 500,
            "DB_SERVER_SELECTION_TIMEOUT_MS": 500,
            "REQUEST_TIMEOUT_MS": 1000,
        }
        with Instance(servers, **settings) as api:
            assert api.post("/api/db/a", {"_id": "k"}).status == 201
            assert m.connections and r.connections
            m.hold()
            assert api.get("/api/db/a/k").status in (503, 504)
            m.release()
            wait_until("it is served", lambda: api.get("/api/db/a/k").status == 200)
