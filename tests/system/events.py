"""events - what a receiver of webhooks got, held against what was answered.
Checkers raise AssertionError; they take plain values, so that a test can doctor
one. A receipt is one request that the receiver read whole."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from standstill import still


@dataclass
class Receipt:
    at: float  # monotonic
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    payload: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.payload = json.loads(self.body)

    @property
    def message(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> str:
        data = self.payload["data"]
        return (data["document"] or data["oldDocument"])["_id"]

    @property
    def webhook(self) -> str:
        return self.headers["x-webhook-id"]


@dataclass(frozen=True)
class Written:
    """A change that was answered 2xx."""

    event: str
    document: str
    n: int = 0  # the document's own count of its changes


def written_of(receipt: Receipt) -> Written:
    data = receipt.payload["data"]
    shown = data["document"] or data["oldDocument"]
    return Written(receipt.payload["event"], shown["_id"], shown.get("n", 0))


def missing(written: Iterable[Written], receipts: Iterable[Receipt]) -> set[Written]:
    return set(written) - {written_of(r) for r in receipts}


def check_nothing_lost(
    written: Iterable[Written], receipts: Iterable[Receipt]
) -> None:
    lost = missing(written, receipts)
    assert not lost, f"{len(lost)} never arrived: {sorted(lost, key=repr)[:5]}"


def check_nothing_invented(
    written: Iterable[Written], receipts: Iterable[Receipt], doubtful: int = 0
) -> None:
    """doubtful: so many writes had no answer and may have happened."""
    more = {written_of(r) for r in receipts} - set(written)
    assert len(more) <= doubtful, f"nobody wrote {sorted(more, key=repr)[:5]}"


def doubles(receipts: Iterable[Receipt]) -> dict[str, int]:
    """Messages that came more than once."""
    count: dict[str, int] = defaultdict(int)
    for receipt in receipts:
        count[receipt.message] += 1
    return {message: n for message, n in count.items() if n > 1}


def as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def check_bodies(receipts: Iterable[Receipt], rows: Iterable[dict]) -> None:
    """What came is of a row, and byte for byte what the row holds."""
    kept = {row["msgId"]: as_bytes(row["body"]) for row in rows}
    for r in receipts:
        assert r.message in kept, f"{r.message} is of no row"
        assert kept[r.message] == r.body, f"{r.message} has other bytes than its row"


def check_doubles(
    receipts: Iterable[Receipt],
    causes: Iterable[tuple[float, float]] = (),
    window: float = 0,
) -> None:
    """A try of a message comes once. It may come again for a cause (begin, end),
    while which it was under way, and no later than `window` behind its end: the
    time of a lease. Without causes nothing comes twice."""
    tries: dict[tuple, list[float]] = defaultdict(list)
    for r in receipts:
        tries[r.message, r.headers["x-attempt-number"]].append(r.at)
    for key, times in tries.items():
        times.sort()
        for first, again in zip(times, times[1:]):
            assert any(
                begin - window <= first <= end and begin <= again <= end + window
                for begin, end in causes
            ), f"{key} came at {first:.2f} and {again:.2f} for no cause: {causes}"


def check_labelled(receipts: Iterable[Receipt], repeated: bool = False) -> None:
    """One message id is one body, and one change has one id. repeated: a web
    server may have sent a PUT again, whose connection was cut: two changes."""
    bodies: dict[str, bytes] = {}
    changes: dict[tuple, str] = {}
    for r in receipts:
        assert bodies.setdefault(r.message, r.body) == r.body, r.message
        if repeated:
            continue
        key = (r.webhook, written_of(r))
        first = changes.setdefault(key, r.message)
        assert first == r.message, f"{key} has the ids {first} and {r.message}"


def check_order(receipts: Iterable[Receipt]) -> None:
    """Per webhook and document: first receipts follow n, and a message that
    comes again is not older than the newest one seen."""
    newest: dict[tuple, int] = {}
    seen: set[str] = set()
    for r in sorted(receipts, key=lambda r: r.at):
        key, n = (r.webhook, r.document), written_of(r).n
        before = newest.get(key, -1)
        if r.message in seen:
            assert n >= before, f"{key}: {n} came again after {before}"
            continue
        seen.add(r.message)
        assert n >= before, f"{key}: {n} came after {before}"
        newest[key] = n


def check_signed(receipts: Iterable[Receipt], secrets: dict[str, str]) -> None:
    """By the official library; secrets by webhook id. It also judges the age of
    the timestamp, so this is called soon after."""
    for r in receipts:
        try:
            Webhook(secrets[r.webhook]).verify(r.body, r.headers)
        except WebhookVerificationError as error:
            raise AssertionError(f"{r.message}: {error}") from error


def check_windows(times: Iterable[float], limit: int, window: float) -> None:
    """At most limit in any window; seconds."""
    times = sorted(times)
    for i in range(len(times) - limit):
        # the first may have come late
        span = times[i + limit] - times[i] + still(times[i] - 3, times[i])
        assert span >= window, f"{limit + 1} within {span:.3f} s"
