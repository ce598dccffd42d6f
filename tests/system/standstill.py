"""standstill - when this machine stood still. A virtual machine is not run at
times, and a busy one does not run everybody; what is promised in milliseconds
is promised for the rest of the time. A thread rests for 10 ms again and again,
and what it oversleeps is left out of what took() measures and rest() waits for."""

from __future__ import annotations

import threading
import time

REST = 0.01
SLACK = 0.02  # oversleeping that is usual

_pauses: list[tuple[float, float]] = []
_due = time.monotonic() + REST


def _watch() -> None:
    global _due
    while True:
        time.sleep(REST)
        now, due = time.monotonic(), _due
        if now > due + SLACK:
            _pauses.append((due, now))
        _due = now + REST


def still(begun: float, end: float) -> float:
    """Seconds between these, by time.monotonic(), in which this machine stood
    still."""
    now, due = time.monotonic(), _due
    pauses = list(_pauses)
    if now > due + SLACK and (not pauses or pauses[-1][0] < due):
        pauses.append((due, now))  # its thread has not woken yet
    return sum(max(0.0, min(b, end) - max(a, begun)) for a, b in pauses)


def took(begun: float, end: float | None = None) -> float:
    """Seconds from begun to end (now) without those."""
    end = time.monotonic() if end is None else end
    return end - begun - still(begun, end)


def lately(seconds: float = 3) -> bool:
    """It stood still for longer than most calls may last, not long ago."""
    now, due = time.monotonic(), _due
    pauses = [*_pauses[-10:], (due, now)]
    return any(b > now - seconds and b - a > 0.2 for a, b in pauses)


def rest(seconds: float, begun: float | None = None) -> None:
    """Until so many seconds have passed since begun (now) in which others,
    too, were run."""
    begun = time.monotonic() if begun is None else begun
    while (left := seconds - took(begun)) > 0:
        time.sleep(left)


threading.Thread(target=_watch, daemon=True).start()
