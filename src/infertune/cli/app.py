"""The command line: finds the command that was asked for, runs it, and turns every ending into an exit code.

Only the module of the command that runs is imported, so that ``infertune --help`` is quick. Exit codes are listed in
`docs/exit-codes.md`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import keyword
import sys
from collections.abc import Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from infertune import __version__
from infertune.cli import endings
from infertune.core.errors import UsageError, nearest, quoted

COMMANDS = (
    "doctor", "inspect", "model", "import", "prepare", "space", "tune",
    "measure", "serve-rate", "report", "compare", "verify", "export", "cache", "devices",
    "replay", "latency-stats", "model-configurator", "qaic-sim",
)  # fmt: skip
"""In the order of ``infertune --help``."""

ONE_SPELLING = {"token_normalize_func": lambda name: "out" if name == "output" else name}
"""``--output`` is understood wherever ``--out`` is; only the latter is documented."""

ABOUT = "Find the build-time and run-time settings that make a model fastest on a device, and how sure that is."


def find(name: str) -> ModuleSpec | None:
    """Where ``infertune.cli.tune`` is, without importing it; a Python keyword gets an underscore (``import_``)."""
    module = name.replace("-", "_") + ("_" if keyword.iskeyword(name) else "")
    return importlib.util.find_spec(f"infertune.cli.{module}")


def registered() -> dict[str, ModuleSpec]:
    """The commands that are here."""
    return {name: spec for name in COMMANDS if (spec := find(name))}


def help_line(spec: ModuleSpec) -> str:
    """The first line of the docstring of a module's ``command``, read without importing the module."""
    source = Path(spec.origin or "").read_text(encoding="utf-8")
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    documented = next(node for node in functions if node.name == "command")
    return (ast.get_docstring(documented) or "").partition("\n")[0]


def asked_for(arguments: Sequence[str]) -> str | None:
    """The command's name: the first word that is not an option. Raises `UsageError` for an unknown one."""
    name = next((word for word in arguments if not word.startswith("-")), None)
    known = registered()
    if name is not None and name not in known:
        hint = f"{nearest(name, known)}`infertune --help` lists the commands"
        raise UsageError("usage", f"`{quoted(name)}` is not a command", hint=hint)
    return name


def build(name: str | None) -> typer.Typer:
    """The application with the command ``name`` alone, or with every command's line of help."""
    app = typer.Typer(help=ABOUT, add_completion=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(root)
    for known, spec in registered().items():
        if name is None:
            app.command(known, short_help=help_line(spec))(_stub)
        elif name == known:
            module = importlib.import_module(spec.name)
            app.command(known, context_settings=getattr(module, "SETTINGS", ONE_SPELLING))(module.command)
    return app


def _stub() -> None:
    """Stands for a command in the list of commands."""


def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show an error's traceback; allowed anywhere.")] = False,
) -> None:
    if version:
        typer.echo(f"infertune {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> None:
    """Run one command line. Ends with `typer.Exit` or another exception where the exit code is not 0."""
    name = asked_for(arguments)
    command = get_command(build(name))
    try:
        with command.make_context("infertune", list(arguments) or ["--help"]) as context:
            command.invoke(context)
    except typer.TyperException as error:
        raise endings.misuse(error, f"infertune {name or ''}".strip()) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The console command: runs ``arguments`` and returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    wanted = [word for word in given if word != "--debug"]
    return endings.exit_code_of(partial(run, wanted), show_traceback=len(wanted) < len(given))


if __name__ == "__main__":
    sys.exit(main())
