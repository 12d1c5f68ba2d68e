"""Environment variables, read in one place."""

from __future__ import annotations

import os


def variable(name: str) -> str:
    """The value of an environment variable; empty when it is not set."""
    return os.environ.get(name, "")
