"""The sentences of the citizen's pages, as their templates and programs have them, and the English beside them.

python -m tests.web.catalogue     writes `locales/en.po` anew: sentences that are new come without their English
"""

import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

FOLDER = Path(__file__).parents[2] / "broker" / "web" / "citizen"
ENGLISH = FOLDER / "locales" / "en.po"
KEYWORDS = {"_": None, "say": None, "gettext": None, "ngettext": (1, 2), "count": (1, 2)}


def sentences() -> Iterator[tuple[str, object]]:
    """Each file with a message: a text, or a pair of singular and plural."""
    for path in sorted([*FOLDER.glob("*.py"), *FOLDER.glob("templates/**/*.html")]):
        method = "python" if path.suffix == ".py" else "jinja2.ext:babel_extract"
        options = {"trimmed": "true", "silent": "false", "newstyle_gettext": "true"}
        found = extract(method, io.BytesIO(path.read_bytes()), keywords=KEYWORDS, options=options)
        for _, message, _, _ in found:
            yield path.relative_to(FOLDER).as_posix(), message


def english() -> Catalog:
    """The catalogue as it stands."""
    return read_po(io.BytesIO(ENGLISH.read_bytes()), locale="en")


def fresh() -> Catalog:
    """The catalogue with every sentence of the pages, and with the English that there is."""
    known = english() if ENGLISH.exists() else Catalog(locale="en")
    made = Catalog(locale="en")
    for place, message in sentences():
        there = known.get(message)
        made.add(message, there.string if there is not None else None, locations=[(place, None)])
    return made


def strings(message: Message) -> list[str]:
    """The English of a sentence, in each of its forms."""
    return [message.string] if isinstance(message.string, str) else list(message.string)


def written(made: Catalog) -> bytes:
    """As the file has it: sorted, without dates or places, one line for each sentence."""
    out = io.BytesIO()
    write_po(out, made, omit_header=True, width=0, no_location=True, sort_output=True)
    head = (
        "# The English of the citizen's pages. The source is French; `python -m tests.web.catalogue` writes this.\n"
        'msgid ""\nmsgstr ""\n"Language: en\\n"\n"MIME-Version: 1.0\\n"\n"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
    )
    return head.encode() + out.getvalue()


if __name__ == "__main__":
    ENGLISH.parent.mkdir(exist_ok=True)
    ENGLISH.write_bytes(written(fresh()))
