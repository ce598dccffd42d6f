"""clock - programs whose wall clock is wrong: tests/toxics/clock.c, preloaded."""

from __future__ import annotations

import os
from pathlib import Path

from cluster import ASAN, MODE, ROOT

LIBRARY = ROOT / "build" / MODE / "tests" / "clock.so"


class WrongClock:
    """A wall clock that set() moves while programs run; they see it within
    50 ms. `env` is for Instance(**clock.env), Servers(redis_env=clock.env) and
    Process; it holds what these programs need besides their own settings."""

    def __init__(self, folder: Path, ms: int = 0) -> None:
        assert LIBRARY.exists(), f"{LIBRARY} is missing: make system"
        self.file = folder / "clock"
        self.set(ms)
        self.env = {"LD_PRELOAD": str(LIBRARY), "CLOCK_FILE": str(self.file)}
        if MODE == "san":
            self.env["ASAN_OPTIONS"] = f"{ASAN}:verify_asan_link_order=0"

    def set(self, ms: int) -> None:
        """Wrong by so much from now on; 0 makes it right. Never half read."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{ms}\n")
        os.replace(new, self.file)
