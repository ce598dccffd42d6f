"""receiver - a receiver of webhooks on loopback that behaves as its path says.

    with Receiver() as r:
        hook = r.url("/ok/mine")
        r.answer("/mine", "status/500", "reset", "ok")   # in turn, the last stays
        ...
        first = r.wait(1, "/ok/mine")[0]
        assert first.headers["webhook-id"] and first.json["event"] == "create"

The mode is what answer() says for the whole path, else the path itself; words
behind it are free, so that each webhook can have a path of its own:

    /ok  (and any path without a mode)   200, a short body, kept open
    /status/N          that status          /gone        410
    /retry/SECONDS     429 with Retry-After /retry-date/SECONDS  as a date
    /retry/SECONDS/503 the same with 503
    /redirect          302 to itself        /close       200, Connection: close
    /tarpit            reads, never answers until release()
    /slow/MS           200 after so long
    /drip-headers      a byte of the headers a second
    /drip-body         200, then a byte of the body a second
    /endless-body      200, then a body without end, as fast as it is taken
    /endless-error     the same with 500
    /huge-headers      100 MB of headers
    /huge-line         one header of 100 MB
    /reset             cut (RST) as soon as the path is known
    /reset-after       read, then cut
    /reset-reused      ok, but a second request of a connection is cut
    /cut-body          200, less than the length said, then the end
    /cut-headers       half a header, then the end
    /never-reads       nothing behind the headers is read, no answer
    /garbage           no HTTP
    /continue          100, 103, then 200   /endless-continue   100 for ever

Each request is kept as a Request, one line of JSON in `log` if that is given:
{t, wall, conn, path, mode, method, headers, body64, complete, peer}; t is the
monotonic clock of this machine, complete false where the body was not read.
`tls_port` speaks TLS with a certificate nobody knows. As a program it prints
{"port", "tls_port"} and serves until its stdin ends:

    receiver.py [--log FILE] [--port N]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import datetime
import email.utils
import json
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

RESET = struct.pack("ii", 1, 0)
HEADS_MAX = 256 << 10
CHUNK = b"x" * 65536
PHRASES = {200: "OK", 302: "Found", 410: "Gone", 429: "Too Many Requests"}


@dataclass
class Request:
    t: float
    wall: float
    conn: int
    path: str
    mode: str
    method: str
    headers: dict[str, str]  # names in lower case; repeated ones joined by ", "
    body: bytes
    complete: bool
    peer: int  # port of the sender

    @property
    def json(self):
        return json.loads(self.body)

    def line(self) -> str:
        row = dict(self.__dict__)
        row["body64"] = base64.b64encode(row.pop("body")).decode()
        return json.dumps(row) + "\n"


def head(status: int, *lines: str, length: int | None = None) -> bytes:
    rows = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}", *lines]
    if length is not None:
        rows.append(f"Content-Length: {length}")
    return ("\r\n".join(rows) + "\r\n\r\n").encode()


class _Connection(asyncio.Protocol):
    """Reads requests one after the other; a mode is a method of _Modes."""

    def __init__(self, receiver: Receiver):
        self.receiver = receiver
        self.data = bytearray()
        self.head: tuple[str, str, dict[str, str], int] | None = None
        self.number = self.peer = 0
        self.served = 0
        self.busy = False
        self.gone = False
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.task: asyncio.Task | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    # of asyncio
    def connection_made(self, transport):
        self.transport = transport
        self.peer = transport.get_extra_info("peername")[1]
        self.number = self.receiver._came(self)

    def connection_lost(self, exc):
        self.gone = True
        self.may_write.set()
        if self.task:
            self.task.cancel()
        self.receiver._went(self)

    def pause_writing(self):
        self.may_write.clear()

    def resume_writing(self):
        self.may_write.set()

    def data_received(self, data: bytes):
        self.data += data
        self.turn()

    # ours
    def turn(self):
        while not self.busy and not self.gone:
            if self.head is None and not self.read_head():
                return
            method, path, headers, length = self.head
            mode, args = self.receiver._mode(path)
            early = mode in ("reset", "never_reads")
            if len(self.data) < length and not early:
                return
            body = bytes(self.data[:length])
            del self.data[:length]
            self.head = None
            self.busy = True
            self.served += 1
            request = Request(time.monotonic(), time.time(), self.number, path,
                              "/".join([mode.replace("_", "-"), *args]), method,
                              headers, body, len(body) == length, self.peer)
            self.receiver._keep(request)
            task = getattr(_Modes, mode)(self, *args)
            if task is None:
                self.busy = False
            else:
                self.task = self.receiver.loop.create_task(self.run(task))

    async def run(self, task):
        try:
            await task
        except (ConnectionError, asyncio.CancelledError):
            return
        self.busy = False
        self.turn()

    def read_head(self) -> bool:
        if self.data[:1] == b"\x16":  # TLS to the plain port
            self.write(head(400, "Connection: close", length=0))
            self.transport.close()
            return False
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            if len(self.data) > HEADS_MAX:
                self.reset()
            return False
        lines = self.data[:end].decode("latin-1").split("\r\n")
        del self.data[: end + 4]
        method, target = (lines[0].split(" ") + ["", ""])[:2]
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        length = int(headers.get("content-length", "0") or 0)
        self.head = (method, unquote(target.split("?")[0]), headers, length)
        return True

    def write(self, data: bytes):
        if not self.gone and not self.transport.is_closing():
            self.transport.write(data)

    async def stream(self, data: bytes):
        await self.may_write.wait()
        if self.gone or self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(data)

    def reply(self, status: int, *lines: str, body: bytes = b"{}"):
        self.write(head(status, *lines, length=len(body)) + body)

    def reset(self):
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


async def _for_ever(c: _Connection, piece: bytes):
    while True:
        await c.stream(piece)
        await asyncio.sleep(0)


async def _drip(c: _Connection, data: bytes):
    for i in range(len(data)):
        await c.stream(data[i : i + 1])
        await asyncio.sleep(1)


class _Modes:
    """Each answers a request of c; what it returns is awaited."""

    def ok(c, *rest):
        c.reply(200)

    def status(c, status="500", *rest):
        c.reply(int(status))

    def gone(c, *rest):
        c.reply(410)

    def retry(c, seconds="1", status="429", *rest):
        code = int(status) if status.isdigit() else 429
        c.reply(code, f"Retry-After: {seconds}")

    def retry_date(c, seconds="1", status="429", *rest):
        code = int(status) if status.isdigit() else 429
        at = email.utils.formatdate(time.time() + float(seconds), usegmt=True)
        c.reply(code, f"Retry-After: {at}")

    def redirect(c, *rest):
        c.reply(302, f"Location: {c.receiver.url('/redirect')}")

    def close(c, *rest):
        c.reply(200, "Connection: close")
        c.transport.close()

    async def tarpit(c, *rest):
        await c.receiver._released.wait()
        c.reply(200)

    async def slow(c, ms="100", *rest):
        await asyncio.sleep(int(ms) / 1000)
        c.reply(200)

    async def drip_headers(c, *rest):
        await _drip(c, head(200, "X-Slow: " + "x" * 3600, length=0))

    async def drip_body(c, *rest):
        c.write(head(200, length=3600))
        await _drip(c, b"x" * 3600)

    async def endless_body(c, *rest):
        c.write(head(200))
        await _for_ever(c, CHUNK)

    async def endless_error(c, *rest):
        c.write(head(500))
        await _for_ever(c, CHUNK)

    async def huge_headers(c, *rest):
        c.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1600):
            await c.stream((b"X-More: " + b"x" * 1000 + b"\r\n") * 64)
        await c.stream(b"Content-Length: 0\r\n\r\n")

    async def huge_line(c, *rest):
        c.write(b"HTTP/1.1 200 OK\r\nX-Line: ")
        for _ in range(1600):
            await c.stream(CHUNK)
        await c.stream(b"\r\nContent-Length: 0\r\n\r\n")

    def reset(c, *rest):
        _Connection.reset(c)

    def reset_after(c, *rest):
        _Connection.reset(c)

    def reset_reused(c, *rest):
        if c.served > 1:
            _Connection.reset(c)
        else:
            c.reply(200)

    def cut_body(c, *rest):
        c.write(head(200, length=1000) + b"x" * 10)
        c.transport.close()

    def cut_headers(c, *rest):
        c.write(b"HTTP/1.1 200 OK\r\nX-Half: ")
        c.transport.close()

    async def never_reads(c, *rest):
        c.transport.pause_reading()
        await c.receiver._released.wait()
        c.transport.abort()

    def garbage(c, *rest):
        c.write(b"\x00\x01SSH-2.0-no HTTP here\r\n" * 4)
        c.transport.close()

    # "continue" is a word of the language; see MODES
    def continue_(c, *rest):
        c.write(head(100) + head(103, "Link: </x>") + head(200, length=0))

    async def endless_continue(c, *rest):
        await _for_ever(c, head(100))


MODES = {
    name.strip("_").replace("_", "-"): name
    for name in vars(_Modes)
    if not name.startswith("_")
}


class Receiver:
    """Serves from a thread of its own between enter and exit."""

    def __init__(self, log: Path | str | None = None, port: int = 0, tls=True):
        self.loop = asyncio.new_event_loop()
        self.log = open(log, "a", buffering=1) if log else None  # noqa: SIM115
        self._want_port, self._tls = port, tls
        self.port = self.tls_port = 0
        self.connections = 0  # so far
        self._open: set[_Connection] = set()
        self._requests: list[Request] = []
        self._plans: dict[str, list[str]] = {}
        self._turns: dict[str, int] = defaultdict(int)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    # what tests use
    def url(self, path: str = "/ok", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def tls_url(self, path: str = "/ok", host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.tls_port}{path}"

    def answer(self, path: str, *modes: str):
        """From now on, for each request of this path the next of the modes."""
        for mode in modes:
            assert mode.split("/")[0] in MODES, mode
        with self._changed:
            self._plans[path], self._turns[path] = list(modes), 0

    def release(self):
        """What hangs in a tarpit is answered, also from now on."""
        self.loop.call_soon_threadsafe(self._released.set)

    def hold(self):
        """Ends release(): what comes from now on hangs."""
        self.loop.call_soon_threadsafe(self._released.clear)

    def cut_all(self):
        """Resets all open connections."""

        def cut():
            for c in list(self._open):
                c.reset()

        self.loop.call_soon_threadsafe(cut)

    def requests(self, path: str | None = None) -> list[Request]:
        with self._changed:
            return [r for r in self._requests if path in (None, r.path)]

    def clear(self):
        with self._changed:
            self._requests.clear()

    def wait(
        self,
        n: int,
        path: str | None = None,
        seconds: float = 20,
        want: Callable[[Request], bool] = lambda r: True,
    ) -> list[Request]:
        """At least n of them; AssertionError after the time."""

        def found():
            return [r for r in self._requests if path in (None, r.path) and want(r)]

        with self._changed:
            done = self._changed.wait_for(lambda: len(found()) >= n, seconds)
            got = found()
        assert done, f"{len(got)} of {n} requests to {path or 'any'} in {seconds} s"
        return got

    def __enter__(self) -> Receiver:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(20) and self.port, "the receiver did not start"
        return self

    def __exit__(self, *args):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        if self.log:
            self.log.close()

    # within the thread, but for _mode's plans
    def _run(self, ready: threading.Event):
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._listen())
        finally:
            ready.set()
        self.loop.run_forever()
        for c in list(self._open):
            c.transport.abort()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def _listen(self):
        self._released = asyncio.Event()

        def serve(port, **more):
            return self.loop.create_server(
                lambda: _Connection(self), "127.0.0.1", port, backlog=1024, **more
            )

        plain = await serve(self._want_port)
        if self._tls:
            tls = await serve(0, ssl=_unknown_certificate())
            self.tls_port = tls.sockets[0].getsockname()[1]
        self.port = plain.sockets[0].getsockname()[1]

    def _came(self, c: _Connection) -> int:
        self._open.add(c)
        self.connections += 1
        return self.connections

    def _went(self, c: _Connection):
        self._open.discard(c)

    def _mode(self, path: str) -> tuple[str, list[str]]:
        with self._changed:
            plan = self._plans.get(path)
            if plan:
                words = plan[min(self._turns[path], len(plan) - 1)].split("/")
            else:
                words = path.strip("/").split("/")
        name = MODES.get(words[0])
        return (name, words[1:]) if name else ("ok", [])

    def _keep(self, request: Request):
        if self.log:
            self.log.write(request.line())
        with self._changed:
            self._turns[request.path] += 1
            self._requests.append(request)
            self._changed.notify_all()


def _unknown_certificate() -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.flush()
        context.load_cert_chain(file.name)
    return context


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--log")
    args.add_argument("--port", type=int, default=0)
    given = args.parse_args()
    with Receiver(given.log, given.port) as r:
        print(json.dumps({"port": r.port, "tls_port": r.tls_port}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
