"""Every page of docs/ is true: its sessions and its commands are run, and must print what the page shows."""

import shutil
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.docs.pages import KINDS, Block, Reader, blocks, pages

LONG = {"conformance", "event-types", "live", "operate", "sandbox", "webhooks"}
"""Pages that are followed in seconds, for they start a broker, or several times."""
IN_A_COPY = {"change"}
"""Pages that change the program itself: `test_change.py` follows them, in a copy of it."""
ELSEWHERE = {"install", "runbook"}
"""Pages that others follow: for root `tests/deploy/test_install.py`, in homes that are in trouble
`tests/drills/test_runbook.py`.
"""


def _followed() -> list[ParameterSet]:
    """Every page that shows something; the long ones in `make test-proof`."""
    found = [page for page in pages() if blocks(page) and page.stem not in IN_A_COPY | ELSEWHERE]
    return [pytest.param(page, id=page.stem, marks=[pytest.mark.proof] if page.stem in LONG else []) for page in found]


@pytest.mark.parametrize("page", _followed())
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    for tool in ("curl", "jq"):
        if f"$ {tool} " in page.read_text("utf-8") and not shutil.which(tool):
            pytest.skip(f"{page.name} is followed with {tool}, which is not here")
    with Reader.reading(tmp_path) as reader:
        for block in blocks(page):
            reader.follow(block)


def test_every_block_is_of_a_kind_that_is_run() -> None:
    followed = [page for page in pages() if page.stem not in IN_A_COPY | ELSEWHERE]
    assert [] == [block.place for page in followed for block in blocks(page) if block.kind not in KINDS]


class TestTheReader:
    """A reader who believes everything would prove nothing."""

    def _block(self, tmp_path: Path, kind: str, text: str) -> Block:
        return Block(Path(__file__), kind, text, 1)

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("python", ">>> 1 + 1\n3\n"),
            ("python", "1 + 1\n"),
            ("console", "$ echo one\ntwo\n"),
            ("console", "$ false\n"),
            ("console", "$ true\n[exit code 1]\n"),
            ("console", "$ unefois type show nothing.here --lang en\n"),
            ("yaml", "a: file without a name\n"),
            ("js", "const a = 'piece without a name';\n"),
            ("js", "// tests/agency/foreign/js/oauth.mjs\nconst other = 'lines';\n"),
            ("go", "// tests/agency/foreign/go/webhook/main.go\n"),
        ],
    )
    def test_what_does_not_happen_is_found(self, kind: str, text: str, tmp_path: Path) -> None:
        with pytest.raises(AssertionError):
            Reader(tmp_path).follow(self._block(tmp_path, kind, text))

    def test_an_id_that_was_printed_is_the_one_that_is_given_later(self, tmp_path: Path) -> None:
        told, real = "0192f3a1-0000-7000-8000-000000000001", "01999999-1111-7111-8111-111111111111"
        (tmp_path / "id").write_text(f"{real}\n")
        text = f"$ cat id\n{told}\n$ test {told} = {real}\n"

        Reader(tmp_path).follow(self._block(tmp_path, "console", text))

    def test_one_id_of_a_page_is_not_two_of_a_run(self, tmp_path: Path) -> None:
        told = "0192f3a1-0000-7000-8000-000000000001"
        first, second = (f"01999999-{n}-7{n[1:]}-8{n[1:]}-{n * 3}" for n in ("1111", "2222"))
        text = f"$ echo {first}\n{told}\n$ echo {second}\n{told}\n"

        with pytest.raises(AssertionError, match="before"):
            Reader(tmp_path).follow(self._block(tmp_path, "console", text))
