"""Titled: a link of a page says in words where it leads, so that the page can be read as it is, too.

    python -m tests.docs.titled docs/agency/*.md

writes into every link without words (`[](api.md)`) the title of the page or the section that it leads to.

Refuses: a link that leads to no page or section (KeyError).
Keeps: everything else of the page.
"""

import re
import sys
from pathlib import Path
from typing import Final

BARE: Final = re.compile(r"\[\]\(([^)#]*)(?:#([^)]+))?\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TARGET: Final = re.compile(r"^\(([a-z-]+)\)=\n#+ (.+)$", re.MULTILINE)


def titled(page: Path) -> str:
    """The text of a page, in which every link has words."""

    def link(found: re.Match[str]) -> str:
        path, anchor = found[1], found[2]
        whole = f"{path}#{anchor}" if anchor else path
        return f"[{_title(page.parent / path if path else page, anchor)}]({whole})"

    return BARE.sub(link, page.read_text("utf-8"))


def _title(page: Path, anchor: str | None) -> str:
    text = page.read_text("utf-8")
    headings = _HEADING.findall(text)
    if anchor is None:
        return str(headings[0])
    known = {_slug(each): each for each in headings} | dict(_TARGET.findall(text))
    return str(known[anchor])


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(titled(Path(name)), "utf-8")
