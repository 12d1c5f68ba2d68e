"""A real browser for the HTML report: the system's Chromium, headless, driven by Playwright.

Where there is no Chromium the tests that need it are skipped with a reason that says how to get it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # CI runs as root; the only pages opened are our own files
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str:
    """Its path, from ``CHROMIUM`` or the search path. Skips the test where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium here, so the HTML report was not opened in a browser: apt-get install chromium")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        try:
            yield running
        finally:
            running.close()


@dataclass(slots=True)
class Opened:
    """A page, what it said on the console, the errors it met, and every address it asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def strangers(self) -> list[str]:
        """Addresses other than files of the disk and data made by the page itself."""
        return [url for url in self.asked if not url.startswith(("file:", "blob:", "data:"))]


def opened(running: Browser, file: Path, *, scheme: str = "light", width: int = 1100) -> Opened:
    """``file`` in a fresh profile of its own. ``scheme``: light or dark."""
    dark = scheme == "dark"
    page = running.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    found = Opened(page=page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("dialog", lambda dialog: found.said.append(f"dialog {dialog.message}"))
    page.goto(file.resolve().as_uri())
    return found
