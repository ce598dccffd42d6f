"""procs - CPU time and memory of processes, from /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [p for child in children for p in family(int(child))]


def cpu_us(pid: int) -> int:
    """User and system time of the process's family so far."""
    total = 0
    for p in family(pid):
        # the name, in parentheses, may hold anything
        fields = Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * TICK_US


def _kib(path: str, name: str) -> int:
    text = Path(path).read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1])


def pss_kib(pid: int) -> int:
    """Memory of the family, shared pages divided among those who share."""
    return sum(_kib(f"/proc/{p}/smaps_rollup", "Pss") for p in family(pid))


def rss_kib(pid: int) -> int:
    return _kib(f"/proc/{pid}/status", "VmRSS")


def peak_rss_kib(pid: int) -> int:
    return _kib(f"/proc/{pid}/status", "VmHWM")
