"""docs/legal are drafts, say so, claim no law in passing, link to what exists, and have the figures of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.settings.choices import Settings
from tests.docs.pages import DOCS, ROOT
from tests.docs.test_trust import missing

PAGES = sorted((DOCS / "legal").glob("*.md"))
MARK = "> **Draft for a lawyer.**"
CONFIRM = "to be confirmed by counsel"
TEXTS = "](texts.md)"
NAMES = r"GDPR|RGPD|CRPA|RGS|CSS|CGCT|LPA|[Oo]rdonnance|[Dd]ecree|[Dd]écret|Law \d"
LAW = re.compile(rf"\b({NAMES}|[LR]\d{{3,4}}-\d|[Aa]rticles? \d|[Aa]rt\. \d)")
FIGURE = re.compile(r"`([a-z_]+_(?:days|hours|minutes|seconds))`(?: \((\d[\d ,]*)\))?")


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, items of a list and rows of a table: what a reader reads as one claim."""
    for paragraph in re.split(r"\n\s*\n", text):
        rows = paragraph.split("\n")
        if all(row.startswith("|") for row in rows):
            yield from rows
        else:
            yield from re.split(r"\n(?=(?:\d+\.|\*) )", paragraph)


def unconfirmed(text: str) -> list[str]:
    """Claims of law that neither say that they are to be confirmed nor lead to where it is said."""
    return [one for one in blocks(text) if LAW.search(one) and CONFIRM not in one and TEXTS not in one]


def test_the_six_papers_and_their_index_are_there() -> None:
    expected = {"index", "texts", "register", "dpia", "agreement", "information", "security"}

    assert expected == {page.stem for page in PAGES}
    assert expected - {"index"} == set(
        re.findall(r"^(\w+)$", (DOCS / "legal" / "index.md").read_text("utf-8").partition("{toctree}")[2], re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
class TestEachPage:
    def test_it_says_first_that_it_is_a_draft(self, page: Path) -> None:
        title, _, mark, *_ = page.read_text("utf-8").split("\n")

        assert (True, True) == (title.startswith("# "), mark.startswith(MARK))

    def test_each_claim_of_law_is_to_be_confirmed(self, page: Path) -> None:
        assert [] == unconfirmed(page.read_text("utf-8"))

    def test_each_figure_of_time_is_the_codes(self, page: Path) -> None:
        text = page.read_text("utf-8")
        told = {(name, figure and int(figure)) for name, figure in FIGURE.findall(text)}

        assert set() == {one for one in told if one != (one[0], Settings.model_fields[one[0]].default)}

    def test_what_it_names_exists(self, page: Path) -> None:
        named = re.findall(r"`((?:tests|broker|schemas)/[\w/.]+\.py(?:::\w+)*)`", page.read_text("utf-8"))

        assert [] == [one for one in named if not (ROOT / one.partition("::")[0]).exists()]
        assert [] == missing(one for one in set(named) if "::" in one)


def test_each_line_of_the_texts_says_that_it_is_to_be_confirmed() -> None:
    rows = re.findall(r"^\| (?!text |--)(.+) \|$", (DOCS / "legal" / "texts.md").read_text("utf-8"), re.MULTILINE)

    assert len(rows) > 15
    assert [] == [row for row in rows if not row.endswith(CONFIRM)]


def test_each_measure_says_what_is_done_and_is_held_by_something() -> None:
    page = (DOCS / "legal" / "security.md").read_text("utf-8")
    measures = re.findall(r"^\| (?!measure|---)(.*) \|$", page, re.MULTILINE)
    cells = [[cell.strip() for cell in row.split(" | ")] for row in measures]

    assert len(cells) > 10
    assert [] == [row for row in cells if len(row) < 3 or not row[1] or not ("tests/" in row[2] or "](" in row[2])]


def test_the_rule_finds_a_law_in_passing_and_a_figure_that_is_not_the_codes() -> None:
    assert ["As article 5 says."] == unconfirmed("As article 5 says.\n\nAs [article 5](texts.md) says.")
    assert ["| CRPA, L114-8 | yes |"] == unconfirmed("| CRPA, L114-8 | yes |")
    assert [("sealed_retention_days", "31")] == FIGURE.findall("`sealed_retention_days` (31)")
