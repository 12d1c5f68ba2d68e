"""Generated pages are current, and what they are generated from is complete."""

import re
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parent.parent
GENERATORS = sorted((ROOT / "docs").glob("generate_*.py"))
EXIT_CODES = run_path(str(ROOT / "docs" / "generate_exit_codes.py"))


@pytest.mark.parametrize("script", GENERATORS, ids=lambda path: path.stem)
def test_generated_page_is_current(script: Path) -> None:
    made = run_path(str(script))
    assert made["PAGE"].read_text() == made["page"](), "stale: run `make docs`"


def test_every_error_has_a_readable_id() -> None:
    assert EXIT_CODES["unreadable_ids"]() == []
    ids = {entry.id for entry in EXIT_CODES["all_entries"]()}
    assert {"goal-syntax", "internal", "usage"} <= ids
    assert [id_ for id_ in ids if not re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", id_)] == []


def test_an_id_belongs_to_one_class_of_errors() -> None:
    families: dict[str, set[str]] = {}
    for entry in EXIT_CODES["all_entries"]():
        families.setdefault(entry.id, set()).add(entry.family)
    assert {id_: found for id_, found in families.items() if len(found) > 1} == {}


def test_every_class_of_errors_is_drawn_in_the_tree() -> None:
    tree = (ROOT / "src" / "infertune" / "core" / "errors.py").read_text().split('"""')[1]
    for name, kind in EXIT_CODES["FAMILIES"].items():
        line = next(line for line in tree.splitlines() if re.search(rf"\b{name}\b", line))
        assert name == "InfertuneError" or f"exit {kind.exit_code} " in line


def test_relative_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    assert pages
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
