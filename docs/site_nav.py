"""The site's navigation, made from the pages that are there: a new page of a listed folder needs no other change.

It also writes the commands' own help into the page of commands, and puts a copy of the one script that the theme would
fetch from elsewhere in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from infertune.cli.app import build, registered

HOME = "index.md"
SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("start.md", "concepts.md", "compared.md"),
    "Guides": (
        "goals.md", "guides/read-a-report.md", "guides/deploy.md", "guides/verify-in-ci.md", "guides/containers.md",
        "guides/inputs.md", "add-a-target.md", "guides/write-a-strategy.md", "guides/*.md",
    ),
    "How it works": ("measurement.md", "strategies.md", "strategies/*.md", "precision.md", "simulated-card.md"),
    "Reference": ("commands.md", "knobs.md", "formats.md", "json.md", "exit-codes.md", "library.md"),
    "More": ("*.md", "examples/**/*.md", "samples/**/*.md"),
    "Decisions": ("decisions/*.md",),
}  # fmt: skip
"""Section -> pages in order; a pattern takes whatever no earlier line took."""


SAMPLE = "sample/report.html"
"""A real study's report, where `make sample-report` made one."""


def pages(docs: Path) -> dict[str, list[str]]:
    """Section -> pages that exist, each page once."""
    taken = {HOME}
    found: dict[str, list[str]] = {}
    for section, patterns in SECTIONS.items():
        for name in _matching(docs, patterns):
            if name not in taken:
                taken.add(name)
                found.setdefault(section, []).append(name)
    return found


def _matching(docs: Path, patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        yield from (path.relative_to(docs).as_posix() for path in sorted(docs.glob(pattern)))


def on_config(config: Any) -> Any:
    """mkdocs calls this before it looks at the navigation."""
    docs = Path(config["docs_dir"])
    sample = [{"Sample report": SAMPLE}] if (docs / SAMPLE).is_file() else []
    config["nav"] = [{"infertune": HOME}, *({section: names} for section, names in pages(docs).items()), *sample]
    return config


ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
HERE = "assets/iframe-worker.js"


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The search's worker for pages opened from the file system comes with the site."""
    return output.replace(ELSEWHERE, "../" * page.url.count("/") + HERE)


def on_post_template(output: str, template_name: str, config: Any) -> str:
    """The same for the page of lost links."""
    return output.replace(ELSEWHERE, HERE)


WIDTH = 100
MARKER = "<!-- every command -->"


def usage(name: str) -> str:
    """What ``infertune NAME --help`` prints, at a fixed width."""
    group = get_command(build(name))
    assert isinstance(group, TyperGroup)
    root = typer.Context(group, info_name="infertune")
    context = typer.Context(
        group.commands[name], info_name=name, parent=root, terminal_width=WIDTH, max_content_width=WIDTH
    )
    return context.get_help().strip()


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page of commands gets a section for each, so that it is never stale."""
    if MARKER not in markdown:
        return markdown
    sections = [f"## `{name}`\n\n```text\n{usage(name)}\n```" for name in registered()]
    return markdown.replace(MARKER, "\n\n".join(sections))
