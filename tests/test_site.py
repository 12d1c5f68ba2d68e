"""The documentation site: builds strictly, holds every page, links lead somewhere, nothing comes from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path
from urllib.parse import unquote, urldefrag

import pytest

from infertune.cli.app import registered

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FETCHING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


class Page(HTMLParser):
    """Ids, links and fetched resources of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in FETCHING and given.get("rel") != "canonical":
            self.fetched.append(given.get(FETCHING[tag], ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_in_the_navigation(site: Path) -> None:
    nav = run_path(str(DOCS / "site_nav.py"))["pages"](DOCS)
    listed = {"index.md"} | {name for names in nav.values() for name in names}
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert all((site / name).with_suffix(".html").is_file() for name in listed)


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    foreign = re.compile(r"^(https?:)?//")
    assert [url for page in pages.values() for url in page.fetched if foreign.match(url)] == []
    styles = [found for path in site.rglob("*.css") for found in re.findall(r"url\((.*?)\)", path.read_text())]
    assert [url for url in styles if foreign.match(url.strip("'\""))] == []


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    lost = []
    for path, page in pages.items():
        for link in page.links:
            if path.name == "404.html" or re.match(r"[a-z]+:|//|#__", link):
                continue
            url, anchor = urldefrag(unquote(link))
            target = (path.parent / url).resolve() if url else path
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids):
                lost.append(f"{path.name}: {link}")
    assert lost == []


def test_the_page_of_commands_holds_every_one(pages: dict[Path, Page], site: Path) -> None:
    assert set(registered()) <= pages[site / "commands.html"].ids


def test_the_library_page_holds_docstrings(site: Path) -> None:
    text = (site / "library.html").read_text()
    assert "Find the settings of" in text and "infertune.study.tuning.tune" in text
