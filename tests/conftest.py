"""Golden files: what is printed for people is kept in tests/golden and compared byte for byte.

`pytest --update-golden` writes them anew; the difference then shows in review.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Threads that wait for each other over small matrices cost a busy machine minutes."""

os.environ.pop("COLUMNS", None)
"""pytest-xdist sets it in its workers, and the commands would wrap what they print at its width."""

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
"""How long an example takes says more of the machine than of the code."""

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("report.txt", text)`` asserts that the text equals the file of that name."""

    def same(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; if meant, run pytest --update-golden"

    return same
