"""The servers and helpers of tests/system."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from fixtures import *  # noqa: E402,F401,F403
