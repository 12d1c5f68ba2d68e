"""Writes docs/commands.md from the commands themselves: `python docs/generate_commands.py`. A test checks it."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.core import TyperGroup
from typer.main import get_command

from infertune.cli.app import build, registered

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Made from the commands themselves by `docs/generate_commands.py`. Data goes to stdout, progress and errors to stderr.
[Exit codes](exit-codes.md) are the same for all of them; `--debug` anywhere shows an error's traceback.
"""
WIDTH = 100


def usage(name: str) -> str:
    """What ``infertune NAME --help`` prints, at a fixed width."""
    group = get_command(build(name))
    assert isinstance(group, TyperGroup)
    root = typer.Context(group, info_name="infertune")
    context = typer.Context(
        group.commands[name], info_name=name, parent=root, terminal_width=WIDTH, max_content_width=WIDTH
    )
    return context.get_help().strip()


def page() -> str:
    """The whole page."""
    sections = [f"## `{name}`\n\n```text\n{usage(name)}\n```" for name in registered()]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
