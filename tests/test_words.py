"""One word per thing: the docs and docstrings use none of the synonyms that other projects have for our words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted((ROOT / "src").rglob("*.py"))

INSTEAD = {
    r"tunables?": "knob",
    r"experiments?": "study",
    r"tuning (?:run|session|job)s?": "study",
    r"(?:search|configuration|parameter|design) spaces?": "space",
    r"back-?ends?": "target",
    r"execution providers?": "target",
    r"iterations?": "launch, request or round",
    r"objective functions?": "goal",
    r"optimi[sz]ers?": "strategy",
    r"samplers?": "strategy",
    r"queue depth": "in flight",
    r"batch[- ]size": "batch",
    r"QPS": "samples per second",
}


def prose(text: str) -> str:
    """Text without code blocks, code in backquotes and link targets."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"``?[^`]*``?|\]\([^)]*\)", "", text)


def misused(text: str) -> list[str]:
    return [
        f"`{match.group()}`: we say {word}"
        for pattern, word in INSTEAD.items()
        for match in re.finditer(rf"\b{pattern}\b", prose(text), re.IGNORECASE)
    ]


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_use_our_words(page: Path) -> None:
    assert misused(page.read_text()) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_docstrings_use_our_words(path: Path) -> None:
    assert [found for text in docstrings(path) for found in misused(text)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Each experiment tries tunables.", ["tunables", "experiment"]),
        ("The optimizer asks for a batch size.", ["optimizer", "batch size"]),
        ("Use `optimizer` here.\n```\nback-end\n```\nFine, [so](backend.md).", []),
        ("A study asks its strategy for points.", []),
    ],
)
def test_the_check_itself(text: str, words: list[str]) -> None:
    assert [found.split("`")[1] for found in misused(text)] == words
