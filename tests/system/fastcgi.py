"""fastcgi - a small FastCGI client: what a web server would send, byte by
byte, so that tests can send what no web server does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = 1, 2, 3, 4, 5, 6, 7


def record(kind: int, content: bytes = b"", request: int = 1) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, request, len(content), 0) + content


def stream(kind: int, data: bytes) -> bytes:
    """The records of a whole stream, its empty end included."""
    parts = [data[i : i + 65000] for i in range(0, len(data), 65000)]
    return b"".join(record(kind, part) for part in parts) + record(kind)


def length(n: int) -> bytes:
    return bytes([n]) if n < 128 else struct.pack("!I", n | 0x80000000)


def pairs(params: Iterable[tuple[str, str]]) -> bytes:
    out = b""
    for name, value in params:
        n, v = name.encode(), value.encode("utf-8", "surrogateescape")
        out += length(len(n)) + length(len(v)) + n + v
    return out


def begin(keep: bool = False, role: int = 1) -> bytes:
    return record(BEGIN, struct.pack("!HB5x", role, int(keep)))


def request(params, body: bytes = b"", keep: bool = False) -> bytes:
    return begin(keep) + stream(PARAMS, pairs(params)) + stream(STDIN, body)


def params_of(method: str, target: str, **more: str) -> list[tuple[str, str]]:
    """The parameters that conf/nginx.conf passes."""
    out = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_PROXY": "",
    }
    out.update(more)
    return list(out.items())


@dataclass
class Answer:
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False  # END_REQUEST has come


def parse(out: bytes) -> Answer:
    head, _, body = out.partition(b"\r\n\r\n")
    answer = Answer(200 if head else 0, {}, body)
    for line in head.decode().split("\r\n"):
        name, _, value = line.partition(": ")
        if name == "Status":
            answer.status = int(value.split()[0])
        elif name:
            answer.headers[name.lower()] = value
    return answer


class Client:
    def __init__(self, path: Path, timeout: float = 40):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(str(path))
        self.rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.s.close()

    def send(self, data: bytes) -> None:
        try:
            self.s.sendall(data)
        except ConnectionError:
            pass  # it may have answered and closed already

    def read(self, n: int) -> bytes:
        while len(self.rest) < n:
            try:
                part = self.s.recv(65536)
            except ConnectionError:
                part = b""
            if not part:
                return b""
            self.rest += part
        got, self.rest = self.rest[:n], self.rest[n:]
        return got

    def answer(self) -> Answer:
        """Until END_REQUEST or the end of the connection."""
        out = b""
        while True:
            head = self.read(8)
            if not head:
                return parse(out)
            _, kind, _, size, pad = struct.unpack("!BBHHBx", head)
            content = self.read(size + pad)[:size]
            if kind == STDOUT:
                out += content
            if kind == END:
                answer = parse(out)
                answer.ended = True
                return answer

    def closed(self) -> bool:
        """Waits for the other side to close."""
        return self.read(1) == b""


def ask(path: Path, params, body: bytes = b"") -> Answer:
    with Client(path) as c:
        c.send(request(params, body))
        return c.answer()
