"""Letters: what a register's old encodings can hold, and how French names and words are cut.

Refuses: to drop a letter in silence. What has no counterpart stays as it is, and the encoder then says so.
Keeps: `transliterate` changes only characters that the target encoding lacks.
"""

import re
import unicodedata

from schemas.errors import Refused

# Letters that Unicode does not decompose, and signs that a typographer adds; French ones first.
COUNTERPARTS = {
    "œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "€": "EUR", "’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"',
    "«": '"', "»": '"', "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "…": "...", "\u00a0": " ", "\u202f": " ",
    "\u2009": " ", "ß": "ss", "ẞ": "SS", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d",
    "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i", "ŋ": "n", "Ŋ": "N", "ə": "e", "Ə": "E", "№": "No", "°": "o",
}  # fmt: skip


def _base(character: str) -> str:
    """The letters under a character's accents, or its counterpart, or itself."""
    counterpart = COUNTERPARTS.get(character)
    if counterpart is not None:
        return counterpart
    plain = "".join(part for part in unicodedata.normalize("NFD", character) if not unicodedata.combining(part))
    return plain or character


def strip_accents(text: str) -> str:
    """`Élodie Lefèvre-Ça` as `Elodie Lefevre-Ca`; letters without accents, ligatures included, stay as they are."""
    bare = (part for part in unicodedata.normalize("NFD", text) if not unicodedata.combining(part))
    return unicodedata.normalize("NFC", "".join(bare))


def ascii_letters(text: str) -> str:
    """The text in ASCII, by accents and counterparts. Raises Refused for a character that has neither."""
    plain = "".join(character if character.isascii() else _base(character) for character in text)
    if not plain.isascii():
        raise Refused("mapping.not-ascii")
    return plain


def transliterate(text: str, encoding: str) -> str:
    """Only what the encoding lacks, by its counterpart: in Latin-1 `Cœur d’Été` is `Coeur d'Été`."""
    return "".join(character if encodable(character, encoding) else _base(character) for character in text)


def encodable(text: str, encoding: str) -> bool:
    """Whether every character of the text exists in the encoding."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def squeeze(text: str) -> str:
    """One space where there were several, none at the ends; no-break and thin spaces count as spaces."""
    return re.sub(r"\s+", " ", text).strip()


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def pad(text: str, width: object, fill: str, *, right: bool) -> str:
    """The text at exactly `width` characters. Raises Refused when it is longer: nothing is cut in silence."""
    if len(fill) != 1 or not isinstance(width, int) or not 0 < width <= 1_000:
        raise Refused("mapping.width")
    if len(text) > width:
        raise Refused("mapping.too-long", length=len(text), limit=width)
    return text.ljust(width, fill) if right else text.rjust(width, fill)
