"""What pages and code say of each other exists: codes, files, decisions, sections."""

import re
from pathlib import Path

import pytest

from schemas import messages
from schemas.catalogue import builtin
from tests.docs.pages import DOCS, ROOT, pages
from tests.docs.titled import titled

FAMILIES = {code.partition(".")[0] for code in messages.table()}
SUFFIXES = (".py", ".md", ".toml", ".yaml", ".yml", ".db", ".json", ".jsonl", ".avro", ".v1")
SOURCES = [path for folder in ("schemas", "consent", "broker", "connectors") for path in (ROOT / folder).rglob("*.py")]
DECISIONS = sorted((DOCS / "adr").glob("[0-9]*.md"))


TEXTS = {page.relative_to(DOCS).as_posix(): page.read_text("utf-8") for page in pages()}


def test_a_code_that_a_page_names_exists() -> None:
    named = [(page, *found) for page, text in TEXTS.items() for found in re.findall(r"`([a-z-]+)\.([a-z0-9-]+)`", text)]
    types = {each.event_type.removeprefix("fr.unefois.").removesuffix(".v1") for each in builtin()}
    codes = [(page, f"{family}.{rest}") for page, family, rest in named if family in FAMILIES]
    codes = [(page, code) for page, code in codes if code not in types]

    assert codes
    assert [] == [(page, code) for page, code in codes if code not in messages.table() and not code.endswith(SUFFIXES)]


def test_a_file_that_a_page_names_exists() -> None:
    pattern = r"`((?:schemas|consent|broker|connectors|tests|docs)/[a-z0-9_/.-]+\.[a-z]+)(?:::[^`]*)?`"
    named = [(page, name) for page, text in TEXTS.items() for name in re.findall(pattern, text)]

    assert named
    assert [] == [(page, name) for page, name in named if not (ROOT / name).exists()]


def test_every_link_says_in_words_where_it_leads() -> None:
    """Who reads the page as it is sees the words; `python -m tests.docs.titled` writes them."""
    links = [(page, *found) for page, text in TEXTS.items() for found in re.findall(r"\[([^][]*)\]\(([^)]+)\)", text)]
    assert links
    assert [] == [
        (page, to) for page, words, to in links if not words.strip() or "://" in words or words.endswith(".md")
    ]


def test_the_words_are_the_title_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# The other\n\n(old-name)=\n## A part, and more\n")
    (tmp_path / "page.md").write_text(
        "# It\n\n[](other.md), [](other.md#a-part-and-more), [](#it), [](other.md#old-name), [x](y)\n"
    )
    told = titled(tmp_path / "page.md").splitlines()[2]
    assert "[The other](other.md), [A part, and more](other.md#a-part-and-more), [It](#it)" in told
    assert told.endswith("[A part, and more](other.md#old-name), [x](y)")


def test_a_page_that_the_code_names_exists() -> None:
    named = {page for path in SOURCES for page in re.findall(r"docs/[a-z0-9/-]+\.md", path.read_text("utf-8"))}

    assert named
    assert [] == sorted(page for page in named if not (ROOT / page).exists())


def test_a_section_of_the_protocol_that_the_code_names_exists() -> None:
    pattern = r"docs/protocol\.md,? (?:sections? )?([0-9]+(?:(?: to |, | and )[0-9]+)*)"
    numbers = {
        int(number)
        for path in SOURCES
        for found in re.findall(pattern, path.read_text("utf-8"))
        for number in re.findall(r"[0-9]+", found)
    }
    sections = {
        int(number) for number in re.findall(r"^## ([0-9]+)\. ", (DOCS / "protocol.md").read_text("utf-8"), re.M)
    }

    assert len(numbers) > 5
    assert [] == sorted(numbers - sections)


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_in_the_index_and_says_what_why_and_at_what_cost(decision: Path) -> None:
    number = int(decision.stem[:4])
    text = decision.read_text("utf-8")

    assert f"| [{number}]({decision.name}) |" in (DOCS / "adr" / "README.md").read_text("utf-8")
    assert text.startswith(f"# {number}. ")
    assert ["**Decided.**", "**Why.**", "**Costs.**"] == re.findall(r"\*\*(?:Decided|Why|Costs)\.\*\*", text)


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.stem[:4]) for path in DECISIONS] == [*range(1, len(DECISIONS) + 1)]
