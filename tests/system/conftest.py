"""What the system tests share: see fixtures.py."""

from fixtures import *  # noqa: F401,F403
