"""Writes docs/exit-codes.md from the source: `python docs/generate_exit_codes.py`. A test checks that it is current.

Ids and messages are read from the calls that make an error, so that the page cannot forget one.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infertune.core import errors

PAGE = Path(__file__).with_name("exit-codes.md")
SOURCE = Path(__file__).parent.parent / "src" / "infertune"
HEAD = """# Exit codes and errors

Made from the source by `docs/generate_exit_codes.py`.

An error is two lines on stderr, and nothing of it on stdout:

```
error[goal-syntax]: `max thruput` is not a goal
hint: did you mean `max throughput`? goals: ...
```

The id in brackets is stable; scripts may look for it. `--debug`, anywhere on the command line, adds the traceback.

| exit code | meaning |
| --- | --- |
| 0 | the command did what it was asked |
| 1 | a bug in infertune (`error[internal]`) |
"""
SIGNALS = """| 129, 130, 143 | ended by SIGHUP, SIGINT (Ctrl-C) or SIGTERM; what was measured is recorded |
| 141 | the reader of stdout went away, as in `infertune report RUN \\| head -1` |
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way in which an error is made: its id, class, and message with names for what varies."""

    id: str
    family: str
    message: str


FAMILIES = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.InfertuneError)
}


def template(node: ast.expr) -> str:
    """An expression as text, with `{name}` where a value goes."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) for part in parts)
        case ast.FormattedValue(value=value):
            return f"{{{name_of(value)}}}"
        case ast.BinOp(left=left, right=right):
            return template(left) + template(right)
        case ast.IfExp(body=body, orelse=orelse):
            return f"{template(body)} or {template(orelse)}"
    return f"{{{name_of(node)}}}"


def name_of(node: ast.expr) -> str:
    """The word nearest to the value: `{path}` for ``quoted(str(path))``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(args=[first, *_]):
            return name_of(first)
        case ast.Call(func=function):
            return name_of(function)
        case ast.Subscript(value=value) | ast.BinOp(left=value):
            return name_of(value)
    return "..."


def family_of(call: ast.Call) -> str | None:
    """``UsageError`` for ``UsageError(...)`` and ``errors.UsageError(...)``."""
    name = name_of(call.func) if isinstance(call.func, ast.Name | ast.Attribute) else ""
    return name if name in FAMILIES else None


def literal_ids(node: ast.expr | None) -> tuple[str, ...]:
    """The ids that an argument can be: one for a literal, two for a choice between literals, none otherwise."""
    match node:
        case ast.Constant(value=str(text)):
            return (text,)
        case ast.IfExp(body=body, orelse=orelse):
            return literal_ids(body) + literal_ids(orelse)
    return ()


def calls_of(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def direct(tree: ast.Module) -> Iterator[Entry]:
    """Errors made with the id as a literal first argument."""
    for call in calls_of(tree):
        family = family_of(call)
        if family and len(call.args) > 1:
            for id_ in literal_ids(call.args[0]):
                yield Entry(id=id_, family=family, message=template(call.args[1]))


def from_records(tree: ast.Module) -> Iterator[Entry]:
    """Errors made from records with ``id=`` and ``what=`` (a table of kinds of damage, say)."""
    family = next((f for c in calls_of(tree) if (f := family_of(c)) and c.args and not literal_ids(c.args[0])), None)
    for call in calls_of(tree):
        words = {k.arg: k.value for k in call.keywords}
        if family and "what" in words:
            for id_ in literal_ids(words.get("id")):
                yield Entry(id=id_, family=family, message=f"`{{path}}` is {template(words['what'])}")


def all_entries() -> list[Entry]:
    trees = [ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")]
    found = {entry for tree in trees for entry in (*direct(tree), *from_records(tree))}
    return sorted(found, key=lambda e: (e.id, e.message))


def unreadable_ids() -> list[str]:
    """Places where an error's id is neither a literal nor in a record; a test wants none."""
    found = []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if not any(from_records(tree)):
            made = [c for c in calls_of(tree) if family_of(c) and not (c.args and literal_ids(c.args[0]))]
            found += [f"{path.name}:{call.lineno}" for call in made]
    return found


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code_rows() -> Iterator[str]:
    """One row per class of errors, by exit code."""
    kinds = sorted(FAMILIES.items(), key=lambda item: item[1].exit_code)
    for name, kind in kinds:
        if kind is not errors.InfertuneError:
            yield f"| {kind.exit_code} | {cell(inspect.getdoc(kind) or '')} (`{name}`) |\n"


def error_rows() -> Iterator[str]:
    """One row per id; the ways of saying it one below the other."""
    said: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in all_entries():
        said[entry.id, entry.family].append(cell(entry.message))
    for (id_, family), messages in said.items():
        yield f"| `{id_}` | {FAMILIES[family].exit_code} | {'<br>'.join(messages)} |\n"


def page() -> str:
    """The whole page."""
    table = "\n## Errors by id\n\nBraces stand for what varies.\n\n| id | exit code | message |\n| --- | --- | --- |\n"
    return HEAD + "".join(code_rows()) + SIGNALS + table + "".join(error_rows())


if __name__ == "__main__":
    PAGE.write_text(page())
