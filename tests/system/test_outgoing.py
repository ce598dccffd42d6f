"""Outgoing requests: receivers of all kinds, signatures as strangers judge
them, and `sqlfree listen`."""

import base64
import hashlib
import hmac
import json
import signal
import socket
import subprocess
import time

import bson
import pytest
from receiver import Receiver
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cluster import BARE, CLI, MODE, ROOT, Instance, Process, free_port, wait_until
from standstill import took

POST = ROOT / "build" / MODE / "tests" / "post"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SLACK_MS = 1500  # of a machine that is busy, and of a sanitizer
FLAT_KB = 16384  # what a hostile receiver may add to the process


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as r:
        yield r


def post(url, *secrets, n=1, body="{}", ms=3000, allow="127.0.0.1", env=None):
    """One answer after the other; the last of them when n is 1."""
    got = subprocess.run(
        [POST, allow, str(ms), url, *secrets],
        input=f"{body}\n" * n,
        env=BARE | (env or {}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert got.returncode == 0, got.stderr
    rows = [json.loads(line) for line in got.stdout.splitlines()]
    return rows[0] if n == 1 else rows


@pytest.mark.parametrize(
    "mode, failure, status",
    [
        ("ok", None, 200),
        ("status/204", None, 204),
        ("status/299", None, 299),
        ("status/300", "http-status", 300),
        ("status/404", "http-status", 404),
        ("gone", "http-status", 410),
        ("redirect", "http-status", 302),
        ("close", None, 200),
        ("continue", None, 200),
        ("cut-body", None, 200),
        ("drip-body", None, 200),
        ("endless-body", None, 200),
        ("endless-error", "http-status", 500),
        ("tarpit", "timeout", 0),
        ("drip-headers", "timeout", 0),
        ("never-reads", "timeout", 0),
        ("huge-headers", "too-large", 0),
        ("huge-line", "too-large", 0),
        ("endless-continue", "too-large", 0),
        ("reset", "connect", 0),
        ("reset-after", "connect", 0),
        ("cut-headers", "connect", 0),
        ("garbage", "connect", 0),
    ],
)
def test_each_receiver_has_its_outcome_in_time(receiver, mode, failure, status):
    path = f"/{mode}/outcome"
    body = json.dumps({"filler": "x" * 900000}) if mode == "never-reads" else "{}"
    calm = post(receiver.url("/ok/calm"), body=body)["rssKb"]
    got = post(receiver.url(path), ms=1000, body=body)
    assert (got["class"], got["status"]) == (failure, status)
    assert got["ms"] < 1000 + SLACK_MS
    assert got["rssKb"] < calm + FLAT_KB
    assert len(receiver.requests(path)) == 1


def test_retry_after_is_read_as_seconds_and_as_a_date(receiver):
    assert post(receiver.url("/retry/7"))["retryAfter"] == 7000
    assert post(receiver.url("/retry/7/503"))["retryAfter"] == 7000
    assert 57000 <= post(receiver.url("/retry-date/60"))["retryAfter"] <= 60000
    assert post(receiver.url("/ok"))["retryAfter"] == -1


def test_unknown_certificates_and_plain_answers_are_tls_failures(receiver):
    assert post(receiver.tls_url("/ok/tls"))["class"] == "tls"
    assert receiver.requests("/ok/tls") == []
    assert post(receiver.url().replace("http", "https"))["class"] == "tls"


def test_names_that_do_not_exist_are_dns_failures():
    assert post("http://nowhere.invalid/")["class"] == "dns"
    assert post(f"http://127.0.0.1:{free_port()}/")["class"] == "connect"


def test_connection_is_kept_and_a_dead_one_is_no_failure(receiver):
    before = receiver.connections
    rows = post(receiver.url("/ok/kept"), n=20)
    assert {r["status"] for r in rows} == {200}
    assert receiver.connections == before + 1
    rows = post(receiver.url("/reset-reused/dead"), n=4)
    assert {r["status"] for r in rows} == {200}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "localhost"]
    + ["[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::1]", "0", "①②⑦.0.0.1"],
)
def test_without_the_list_loopback_is_refused_however_spelled(receiver, host):
    before = receiver.connections
    got = post(receiver.url("/ok/denied", host), allow="")
    assert (got["class"], got["status"]) == ("target-not-allowed", 0)
    assert receiver.connections == before


def test_proxies_and_files_of_the_environment_play_no_part(receiver, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / ".curlrc").write_text('header = "X-Curlrc: 1"\n')
    with Receiver(tls=False) as proxy:
        names = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"]
        env = dict.fromkeys(names, f"http://127.0.0.1:{proxy.port}")
        env |= {"HOME": str(tmp_path), "CURL_HOME": str(tmp_path)}
        assert post(receiver.url("/ok/direct"), env=env)["status"] == 200
        got = post("http://10.1.2.3/", allow="127.0.0.1", env=env)
        assert got["class"] == "target-not-allowed"
        assert proxy.connections == 0
    headers = receiver.wait(1, "/ok/direct")[0].headers
    assert not {"authorization", "x-curlrc", "proxy-connection"} & set(headers)
    assert not {"expect", "accept-encoding", "cookie"} & set(headers)


def signed(receiver, path, *secrets, body='{"event":"create"}'):
    post(receiver.url(path), *secrets, body=body)
    return receiver.wait(1, path)[-1]


@pytest.mark.parametrize(
    "body", ["{}", '{"event":"create"}', json.dumps({"a": "ü\u2028😀", "n": [1] * 999})]
)
def test_signatures_hold_for_the_reference_library(receiver, body):
    got = signed(receiver, f"/ok/signed{len(body)}", SECRET, body=body)
    assert got.body.decode() == body
    assert Webhook(SECRET).verify(got.body, got.headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body + b" ", got.headers)


def test_during_a_rotation_both_secrets_hold(receiver):
    got = signed(receiver, "/ok/rotated", OTHER, SECRET)
    assert got.headers["webhook-signature"].count("v1,") == 2
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(got.body, got.headers)


def test_without_a_secret_nothing_is_signed(receiver):
    assert "webhook-signature" not in signed(receiver, "/ok/unsigned").headers


class Listener:
    """`sqlfree listen`, and a client of it."""

    def __init__(self, folder, env, *words):
        self.port = free_port()
        self.process = Process(
            folder, f"listen{self.port}", [CLI, "listen", self.port, *words], env
        )
        wait_until("it listens", lambda: "Listening" in self.errors())

    def errors(self):
        return self.process.err.read_text(errors="replace")

    def text(self):
        return self.process.out.read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        if self.process.popen.poll() is None:
            self.process.popen.send_signal(signal.SIGINT)
        self.process.popen.wait(10)

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), 10)
        s.settimeout(10)
        return s

    def send(self, body, secret=None, sock=None, **headers):
        """The status; signed by the reference library."""
        import datetime

        at = datetime.datetime.now(datetime.timezone.utc)
        rows = {k.replace("_", "-"): v for k, v in headers.items()}
        rows["webhook-id"] = "msg_1"
        if secret:
            rows["webhook-timestamp"] = str(int(at.timestamp()))
            rows["webhook-signature"] = Webhook(secret).sign("msg_1", at, body)
        data = body.encode()
        head = "".join(f"{k}: {v}\r\n" for k, v in rows.items())
        s = sock or self.connect()
        s.sendall(
            f"POST /hook HTTP/1.1\r\nHost: x\r\n{head}"
            f"Content-Length: {len(data)}\r\n\r\n".encode() + data
        )
        return int(s.recv(4096).split(b" ")[1])

    def last(self):
        """The lines of the last delivery."""
        return self.text().rsplit("signature: ", 1)[1]


BODY = json.dumps(
    {
        "event": "create",
        "collection": "books",
        "data": {"document": {"_id": "b1", "t": "ü"}},
    },
    ensure_ascii=False,
)


def test_listen_shows_what_comes_and_judges_it_by_the_secret(tmp_path):
    with Listener(tmp_path, BARE, "--secret", SECRET) as on:
        more = {
            "X_Webhook_ID": "6" * 24,
            "X_Delivery_ID": "6666-1-abc",
            "X_Attempt_Number": "2",
            "X_Max_Retries": "3",
        }
        assert on.send(BODY, SECRET, **more) == 200
        wait_until("it is shown", lambda: "body" in on.text())
        text = on.text()
        for part in ("create books b1", "signature: valid\n", "attempt 2, at most 3"):
            assert part in text, text
        for part in ("msg_1", "6666-1-abc", "6" * 24, "/hook", BODY):
            assert part in text, text
        assert on.send(BODY, OTHER) == 200
        assert on.last().startswith("WRONG")
        assert on.send(BODY) == 200
        assert on.last().startswith("not signed")


def test_listen_is_safe_for_terminals_and_shortens(tmp_path):
    with Listener(tmp_path, BARE, "--secret", SECRET) as on:
        body = json.dumps({"event": "\x1b[31m", "collection": "c" * 999, "x": "ü" * 999})
        assert on.send(body, X_Delivery_ID="\x1b]0;evil\x07") == 200
        assert on.send("\x1b[2J\r\n no JSON \x9b31m") == 200
        text = on.text()
        assert not any(c < " " and c != "\n" or "\x7f" <= c <= "\x9f" for c in text)
        assert "?[31m" in text and "not JSON" in text and len(text) < 3000


def test_listen_answers_the_status_it_is_told(tmp_path):
    with Listener(tmp_path, BARE, "--secret", SECRET, "--status", "503") as on:
        assert on.send(BODY, SECRET) == 503
        with on.connect() as s:
            assert [on.send(BODY, SECRET, s) for _ in range(3)] == [503] * 3


def test_listen_serves_others_while_some_stall(tmp_path):
    with Listener(tmp_path, BARE, "--secret", SECRET) as on:
        stalled = [on.connect() for _ in range(40)]
        for s in stalled:
            s.sendall(b"POST / HTTP/1.1\r\nContent-Le")
        start = time.monotonic()
        assert on.send(BODY, SECRET) == 200
        assert took(start) < 2
        for s in stalled:
            s.close()


def test_listen_has_limits(tmp_path):
    with Listener(tmp_path, BARE, "--secret", SECRET) as on:

        def status(data):
            with on.connect() as s:
                s.sendall(data)
                return int(s.recv(4096).split(b" ")[1])

        head = b"POST / HTTP/1.1\r\n"
        assert status(head + b"Content-Length: 99999999999\r\n\r\n") == 413
        assert status(head + b"Content-Length: -1\r\n\r\n") == 400
        assert status(head + b"Transfer-Encoding: chunked\r\n\r\n") == 411
        assert status(b"GET / HTTP/1.1\r\n\r\n") == 405
        assert status(b"nonsense\r\n\r\n") == 400
        assert status(head + b"X: " + b"x" * 70000) == 431
        wait = b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        assert status(head + wait) == 100
        assert on.send(BODY, SECRET) == 200


@pytest.fixture(scope="module")
def api(servers):
    with Instance(servers, web=None) as instance:
        yield instance


def test_listen_finds_the_secrets_of_the_webhook(api, db, tmp_path):
    soon = bson.datetime.datetime.now(bson.datetime.timezone.utc)
    row = {
        "_id": bson.ObjectId(),
        "name": "n",
        "url": "http://127.0.0.1/",
        "collection": "books",
        "events": ["create"],
        "enabled": True,
        "secret": SECRET,
        "previousSecret": OTHER,
        "previousExpiresAt": soon + bson.datetime.timedelta(hours=1),
    }
    hooks = db[api.database]["_webhooks"]
    hooks.insert_one(row)
    me = {"X_Webhook_ID": str(row["_id"])}
    with Listener(tmp_path, api.env) as on:
        for secret, verdict in (
            (SECRET, "valid\n"),
            (OTHER, "valid, by the previous secret\n"),
            ("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "WRONG\n"),
        ):
            assert on.send(BODY, secret, **me) == 200
            wait_until("it is shown", lambda: "body" in on.last())
            assert on.last().startswith(verdict), on.text()
        hooks.update_one(
            {"_id": row["_id"]},
            {"$set": {"previousExpiresAt": soon - bson.datetime.timedelta(1)}},
        )
        assert on.send(BODY, OTHER, **me) == 200
        assert on.last().startswith("WRONG\n")
        assert on.send(BODY, SECRET, X_Webhook_ID="6" * 24) == 200
        assert on.last().startswith("not checked: no such webhook")
        assert on.send(BODY, SECRET) == 200
        assert on.last().startswith("not checked: no X-Webhook-ID")


def test_listen_goes_on_while_the_database_is_away(tmp_path):
    env = BARE | {"MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}"}
    with Listener(tmp_path, env) as on:
        for _ in range(2):
            assert on.send(BODY, SECRET, X_Webhook_ID="6" * 24) == 200
            assert on.last().startswith("not checked: the database is away")
        start = time.monotonic()
        assert on.send(BODY, SECRET, X_Webhook_ID="6" * 24) == 200
        assert took(start) < 1


@pytest.mark.parametrize(
    "words, part",
    [
        ([], "port"),
        (["0"], "port"),
        (["65536"], "port"),
        (["-1"], "port"),
        (["http"], "port"),
        (["8099", "--secret", "abc"], "--secret"),
        (["8099", "--status", "99"], "--status"),
        (["8099", "--status"], "--status"),
        (["8099", "more"], "more"),
    ],
)
def test_listen_says_what_is_wrong_with_its_words(words, part):
    got = subprocess.run(
        [CLI, "listen", *words], env=BARE, capture_output=True, text=True, timeout=30
    )
    assert got.returncode == 2 and part in got.stderr and not got.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_listen_on_a_port_that_is_taken_fails(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as s:
        s.bind((host, 0))
        s.listen()
        port = s.getsockname()[1]
        got = subprocess.run(
            [CLI, "listen", str(port)],
            env=BARE,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert got.returncode == 1 and f"port {port}" in got.stderr
    assert "another program listens there" in got.stderr


def test_reference_library_agrees_with_the_published_vector():
    """Ours is checked against theirs; this checks that theirs is a check."""
    content = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    sum_ = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert sum_ == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
