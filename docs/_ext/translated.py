"""Translated: whether every message of the agency pages has its French, and no other than what the page says today.

    python docs/_ext/translated.py build/gettext docs/locales/fr/LC_MESSAGES [--update]

The messages of a page are those that Sphinx takes out of it (`.pot`); their French is in `docs/locales/fr/LC_MESSAGES`
(`.po`, tracked). `--update` brings new messages into these files, empty, and takes away what no page says any more;
what was changed keeps its French, marked `fuzzy`, until somebody has read it.

Refuses (exit code 1): a message that is missing, empty or fuzzy; one that no page says; a link or a piece of code that
the French leaves out or adds.
Keeps: nothing is written without `--update`.
"""

import io
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from strict import TRANSLATED

HEADER: Final = b"""msgid ""
msgstr ""
"Language: fr\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""
"""No dates and no names: they are in the history of the file."""
NUMBERED: Final = re.compile(r"[0-9]+\. ")
ESCAPED: Final = re.compile(r"[0-9]+\\\. ")
MARKED: Final = re.compile(r"`[^`]+`|\]\([^)]*\)")
"""What stays as it is in every language: code, and where a link leads to."""


def read(path: Path) -> Catalog:
    """A catalogue of messages; an empty one where there is no file."""
    if not path.exists():
        return Catalog(locale="fr")
    with path.open("rb") as file:
        return read_po(file, locale="fr")


def faults(page: str, wanted: Catalog, known: Catalog) -> Iterator[str]:
    """What is wrong with the French of a page."""
    ids = {message.id for message in wanted if message.id}
    for identity in sorted(ids):
        message = known.get(identity)
        if message is None or not message.string:
            yield f"{page}: no French for {identity!r}"
        elif message.fuzzy:
            yield f"{page}: to be read again: {identity!r}"
        elif NUMBERED.match(str(identity)) and not ESCAPED.match(str(message.string)):
            yield f"{page}: begin it with a number and `\\.`, or it is taken for a list: {identity!r}"
        elif differing := _differing(str(identity), str(message.string)):
            yield f"{page}: {differing} not on both sides of {identity!r}"
    yield from (f"{page}: no page says {message.id!r}" for message in known if message.id and message.id not in ids)


def _differing(english: str, french: str) -> list[str]:
    ours, theirs = (Counter(MARKED.findall(text)) for text in (english, french))
    return sorted((ours - theirs) | (theirs - ours))


def update(wanted: Catalog, path: Path) -> None:
    """Bring the messages of a page into its file."""
    known = read(path)
    known.update(wanted, no_fuzzy_matching=False)
    known.obsolete.clear()
    for message in known:
        message.locations = []
    path.parent.mkdir(parents=True, exist_ok=True)
    told = io.BytesIO()
    write_po(told, known, width=0, omit_header=True)
    path.write_bytes(HEADER + told.getvalue())


def main(words: list[str]) -> int:
    """Look at every page that is done, or bring its messages in."""
    folder, into = Path(words[0]), Path(words[1])
    found: list[str] = []
    for page in TRANSLATED:
        wanted = read(folder / f"{page}.pot")
        if "--update" in words:
            update(wanted, into / f"{page}.po")
        found += faults(page, wanted, read(into / f"{page}.po"))
    sys.stderr.write("".join(f"{each}\n" for each in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
