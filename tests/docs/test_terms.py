"""docs/terms.md says what the program says: each word of its table is one that a person meets there."""

import re

from schemas import messages
from tests.docs.pages import DOCS, ROOT

ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", (DOCS / "terms.md").read_text("utf-8"), re.MULTILINE)
TERMS = [(fr, en) for fr, en in ROWS if fr not in ("français", "purpose")]
SAID = [
    path.read_text("utf-8")
    for folder in ("broker/cli", "consent", "broker", "schemas")
    for path in sorted((ROOT / folder).glob("**/*"))
    if path.suffix in {".py", ".toml", ".avsc"}
]
WORDS = {
    "fr": " ".join(row[key] for row in messages.table().values() for key in ("fr", "do_fr")),
    "en": " ".join(row[key] for row in messages.table().values() for key in ("en", "do_en")),
}


def test_a_term_is_one_that_the_program_uses() -> None:
    said = "\n".join(SAID).lower()
    told = [
        (language, word)
        for pair in TERMS
        for language, each in zip(("fr", "en"), pair, strict=True)
        for word in each.split(", ")
    ]

    assert len(told) > 80
    assert [] == [
        (language, word) for language, word in told if word.lower() not in f"{WORDS[language].lower()}\n{said}"
    ]


def test_no_word_stands_for_two_things() -> None:
    for column in (0, 1):
        words = [word.lower() for pair in TERMS for word in pair[column].split(", ")]
        allowed = {"reçu", "reçue", "retenue", "withheld"}  # as a state of a delivery, too
        assert [] == sorted({word for word in words if words.count(word) > 1} - allowed)
