"""proxy - a proxy on loopback, TCP or unix socket, that harms what passes.

    with Proxy(servers.redis_path) as redis, Proxy(servers.port) as mongo:
        with Instance(servers, REDIS_URL=redis.redis_url,
                      MONGODB_URI=mongo.uri()) as api:
            redis.hold()
            ...
            redis.forward()

How it harms is set at any moment and holds at once for open connections, also
for bytes that it has read and not forwarded yet:

    forward()             nothing is harmed any more, what was held flows on
    delay(ms)             bytes leave so long after they came
    drip(size, ms)        at most `size` bytes each `ms`
    hold()                black hole: bytes are kept, ends are not passed on
    hold_from()           the same from a request that matches on, it included
    refuse()              open connections are cut, new ones at once
    drop()                open connections are cut, once
    half_close()          open connections: the client sees the end, may send on
    cut_after_forward()   lost reply: see there
    cut_before_forward()  lost request: the server never sees it

`way` is "up" (to the server), "down" (to the client) or "both". A cut is a
reset for the client. Counted are `connections` (all so far), `open`, `cuts` (by
the two cut_*), `bytes_up` and `bytes_down` (forwarded). One thread does it all;
what a caller hands in (a predicate) runs there, and what it raises is raised
again when the proxy closes."""

from __future__ import annotations

import os
import queue
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

RESET = struct.pack("ii", 1, 0)
KEPT_MAX = 1 << 20  # beyond it a way is not read until it drains
WAYS = {"up": ("up",), "down": ("down",), "both": ("up", "down")}

Match = int | bytes | Callable[[bytes], bool]


def _socket_for(address: int | str | Path) -> tuple[socket.socket, object]:
    if isinstance(address, int):
        return socket.socket(), ("127.0.0.1", address)
    return socket.socket(socket.AF_UNIX), str(address)


class _Way:
    """One direction of a connection: what came and has not left."""

    def __init__(self, name: str, source: socket.socket, sink: socket.socket):
        self.name, self.source, self.sink = name, source, sink
        self.kept: deque[tuple[float, bytes]] = deque()  # (came at, bytes)
        self.size = 0
        self.next_drip = 0.0
        self.blocked = False  # the sink takes no more now
        self.ended = False  # the source has ended
        self.closed = False  # and the sink knows


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket):
        self.client, self.server = client, server
        self.up = _Way("up", client, server)
        self.down = _Way("down", server, client)
        self.lost = False  # its next reply is not forwarded: it is the end


class _Cut:
    """Which requests are met: the n-th, or those that match; so many."""

    def __init__(self, match: Match, times: int, before: bool):
        self.match, self.times, self.before = match, times, before
        self.seen = 0

    def meets(self, data: bytes) -> bool:
        self.seen += 1
        if self.times == 0:
            return False
        if isinstance(self.match, int):
            met = self.seen >= self.match
        elif isinstance(self.match, bytes):
            met = self.match in data
        else:
            met = bool(self.match(data))
        self.times -= met
        return met


class Proxy:
    """target: a port of 127.0.0.1, or the path of a unix socket. listen: None
    is a free port; a path makes a unix socket there."""

    def __init__(
        self, target: int | str | Path, listen: int | str | Path | None = None
    ):
        self.target = target
        self.path = listen if isinstance(listen, (str, Path)) else None
        self.listener, address = _socket_for(listen or 0)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.port = 0 if self.path else self.listener.getsockname()[1]
        self.connections = self.cuts = self.bytes_up = self.bytes_down = 0
        self.error: BaseException | None = None
        self._reset_modes()
        self._open: set[_Connection] = set()
        self._orders: queue.SimpleQueue = queue.SimpleQueue()
        self._running = True
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    # what stands for the server in settings

    @property
    def redis_url(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"redis://127.0.0.1:{self.port}"

    def uri(self, direct: bool = True) -> str:
        """Of a MongoDB. A driver that is told of a replica set asks the member
        for its host, and goes there: past the proxy. So it must not look."""
        more = "directConnection=true" if direct else "replicaSet=rs0"
        return f"mongodb://127.0.0.1:{self.port}/?{more}"

    # modes

    def forward(self) -> None:
        self._order(self._reset_modes)

    def delay(self, ms: float, way: str = "both") -> None:
        self._order(lambda: self._delay.update(dict.fromkeys(WAYS[way], ms)))

    def drip(self, size: int, ms: float, way: str = "both") -> None:
        value = (size, ms / 1000)
        self._order(lambda: self._drip.update(dict.fromkeys(WAYS[way], value)))

    def hold(self, way: str = "both") -> None:
        self._order(lambda: self._held.update(WAYS[way]))

    def hold_from(self, match: Match, way: str = "both") -> None:
        """See hold() and, for match, cut_after_forward(); `holds` tells when."""
        trap = _Cut(match, 1, True)
        self._order(lambda: setattr(self, "_trap", (trap, WAYS[way])))

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def release(self, way: str = "both") -> None:
        """Ends hold() only."""
        self._order(lambda: self._held.difference_update(WAYS[way]))

    def refuse(self) -> None:
        def act() -> None:
            self._refusing = True
            self._drop_all()

        self._order(act)

    def drop(self) -> None:
        self._order(self._drop_all)

    def half_close(self) -> None:
        def act() -> None:
            for c in self._open:
                self._end_of(c.down)

        self._order(act)

    def cut_after_forward(self, match: Match = 1, times: int = 1) -> None:
        """A request that matches is forwarded; when its reply begins to come,
        so when it has been carried out, the connection is cut. match: the n-th
        request from now on, bytes that are in it, or a predicate on its bytes;
        times: how many are met, -1 for all. A request is what came at once.
        Drivers of MongoDB ask on their own, too: there say which is meant."""
        self._order(lambda: setattr(self, "_cut", _Cut(match, times, False)))

    def cut_before_forward(self, match: Match = 1, times: int = 1) -> None:
        """The same, but the request is not forwarded."""
        self._order(lambda: setattr(self, "_cut", _Cut(match, times, True)))

    @property
    def open(self) -> int:
        return len(self._open)

    # life

    def close(self) -> None:
        self._running = False
        if self._wake_out >= 0:
            os.write(self._wake_out, b"x")
        self._thread.join()
        self._selector.close()
        self.listener.close()
        if self.path:
            Path(self.path).unlink(missing_ok=True)
        if self._wake_out >= 0:
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._wake_out = -1

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind, error, _) -> None:
        self.close()
        if self.error and not error:
            raise self.error

    # the rest runs in the thread

    def _order(self, act: Callable[[], None]) -> None:
        """Has act() run in the thread; returns when it was."""
        done = threading.Event()
        self._orders.put((act, done))
        os.write(self._wake_out, b"x")
        while not done.wait(1):
            assert self._thread.is_alive(), f"the proxy ended: {self.error}"

    def _reset_modes(self) -> None:
        self._delay = {"up": 0.0, "down": 0.0}
        self._drip: dict[str, tuple[int, float] | None]
        self._drip = {"up": None, "down": None}
        self._held: set[str] = set()
        self._refusing = False
        self._cut: _Cut | None = None
        self._trap: tuple[_Cut, tuple[str, ...]] | None = None

    def _run(self) -> None:
        try:
            while self._running:
                for key, events in self._selector.select(self._flush_all()):
                    self._event(key.fileobj, key.data, events)
        except BaseException as error:
            self.error = error
        self._drop_all()  # whoever waits for a reply is not left waiting

    def _event(self, source, connection: _Connection | None, events: int):
        if source == self._wake_in:
            os.read(self._wake_in, 4096)
            while not self._orders.empty():
                act, done = self._orders.get()
                act()
                done.set()
        elif source is self.listener:
            self._accept()
        elif connection in self._open:
            ways = (connection.up, connection.down)
            for way in ways:
                if way.sink is source and events & selectors.EVENT_WRITE:
                    way.blocked = False
            for way in ways:
                if way.source is source and events & selectors.EVENT_READ:
                    self._read(connection, way)

    def _accept(self) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:
            return  # it has gone again
        self.connections += 1
        server, address = _socket_for(self.target)
        connection = _Connection(client, server)
        for s in (client, server):
            s.setblocking(False)
            if s.family == socket.AF_INET:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        try:
            if self._refusing:
                raise ConnectionRefusedError
            server.connect(address)
        except BlockingIOError:
            # loopback: done in a moment; a backlog that is full is a refusal
            if server.family == socket.AF_UNIX:
                self._close(connection, reset=True)
        except OSError:
            self._close(connection, reset=True)

    def _read(self, c: _Connection, way: _Way) -> None:
        if way.ended or way.size > KEPT_MAX or c not in self._open:
            return
        try:
            data = way.source.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            if way.name not in self._held:
                self._close(c, reset=True)
                return
            data = b""  # a black hole tells nobody
        if data and way is c.up and self._trap and self._trap[0].meets(data):
            self._held.update(self._trap[1])
        if not data:
            way.ended = True
        elif way is c.up and self._cut and self._cut.meets(data):
            if self._cut.before:
                self.cuts += 1
                self._close(c, reset=True)
                return
            c.lost = True
        if way is c.down and c.lost:
            self.cuts += 1
            self._close(c, reset=True)
            return
        if data and not way.closed:
            way.kept.append((time.monotonic(), data))
            way.size += len(data)

    def _flush_all(self) -> float | None:
        """Forwards what is due; seconds until the next is, None for never."""
        now, next_due = time.monotonic(), float("inf")
        for connection in list(self._open):
            for way in (connection.up, connection.down):
                if connection in self._open:
                    due = self._flush(connection, way, now)
                    next_due = min(next_due, due)
            if connection.up.closed and connection.down.closed:
                self._close(connection, reset=False)
            if connection in self._open:
                self._watch(connection)
        return None if next_due == float("inf") else max(0, next_due - now)

    def _flush(self, c: _Connection, way: _Way, now: float) -> float:
        if way.name in self._held:
            return float("inf")
        while way.kept and not way.blocked:
            came, data = way.kept[0]
            due = max(came + self._delay[way.name] / 1000, way.next_drip)
            if due > now:
                return due
            drip = self._drip[way.name]
            try:
                sent = way.sink.send(data[: drip[0]] if drip else data)
            except BlockingIOError:
                way.blocked = True
                break
            except OSError:
                self._close(c, reset=True)
                break
            self._forwarded(way, sent)
            way.next_drip = now + drip[1] if drip else 0.0
        if way.ended and not way.kept:
            self._end_of(way)
        return float("inf")

    def _forwarded(self, way: _Way, size: int) -> None:
        came, data = way.kept.popleft()
        if size < len(data):
            way.kept.appendleft((came, data[size:]))
        way.size -= size
        if way.name == "up":
            self.bytes_up += size
        else:
            self.bytes_down += size

    def _end_of(self, way: _Way) -> None:
        if not way.closed:
            way.closed = True
            try:
                way.sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is gone already

    def _watch(self, c: _Connection) -> None:
        """Asks for exactly the events that something waits for."""
        for own, other in ((c.up, c.down), (c.down, c.up)):
            s = own.source
            events = 0
            if not own.ended and own.size <= KEPT_MAX:
                events |= selectors.EVENT_READ
            if other.blocked:
                events |= selectors.EVENT_WRITE
            known = self._selector.get_map().get(s)
            if known is None:
                if events:
                    self._selector.register(s, events, c)
            elif not events:
                self._selector.unregister(s)
            elif known.events != events:
                self._selector.modify(s, events, c)

    def _drop_all(self) -> None:
        for connection in list(self._open):
            self._close(connection, reset=True)

    def _close(self, c: _Connection, reset: bool) -> None:
        """The server is never sent a reset: it would lose what it was sent."""
        self._open.discard(c)
        for s in (c.client, c.server):
            if s in self._selector.get_map():
                self._selector.unregister(s)
        if reset and c.client.family == socket.AF_INET:
            c.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        c.client.close()
        c.server.close()
