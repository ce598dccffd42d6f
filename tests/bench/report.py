"""report - medians, ranges and the tables. One Markdown text, to be read as it
is or pasted."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from load import Slice

KINDS = ("server", "nginx", "workers", "mongod", "redis", "load")


@dataclass
class Line:
    """One line of the table of results."""

    what: str
    ours: str
    other: str
    value: str
    target: str
    good: bool

    def cells(self) -> list[str]:
        verdict = "ok" if self.good else "MISSED"
        return [self.what, self.ours, self.other, self.value, self.target, verdict]


@dataclass
class Report:
    lines: list[Line] = field(default_factory=list)
    costs: list[list[str]] = field(default_factory=list)

    def add_costs(self, name: str, slices: Sequence[Slice]) -> None:
        cells = [name]
        for kind in KINDS:
            values = [s.cpu[kind] for s in slices if kind in s.cpu]
            cells.append(number(statistics.median(values)) if values else "-")
        self.costs.append(cells)

    def text(self, header: Sequence[str]) -> str:
        results = ["what", "ours", "against", "ratio or value", "target", ""]
        costs = ["microseconds of CPU an operation"]
        costs += ["fcgi-app or client", "nginx", "workers", "mongod", "redis"]
        costs += ["load generator or receiver"]
        parts = ["\n".join(f"- {line}" for line in header)]
        parts.append(table(results, [x.cells() for x in self.lines]))
        if self.costs:
            parts.append(table(costs, self.costs, right=True))
        return "\n\n".join(parts) + "\n"


def number(x: float) -> str:
    if x >= 1000:
        return f"{x:,.0f}"
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def spread(values: Sequence[float], form=number) -> str:
    """The median, and the range in parentheses."""
    middle = form(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form(min(values))}-{form(max(values))})"


def two_places(x: float) -> str:
    return f"{x:.2f}"


def table(head: Sequence[str], rows, right: bool = False) -> str:
    rows = [list(head), *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]

    def line(cells) -> str:
        put = [
            c.rjust(w) if right and i else c.ljust(w)
            for i, (c, w) in enumerate(zip(cells, widths))
        ]
        return "| " + " | ".join(put) + " |"

    rule = [
        "-" * (w - 1) + ":" if right and i else "-" * w for i, w in enumerate(widths)
    ]
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


class Progress:
    """What is going on, on a terminal only."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self.on:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        self.say("")
