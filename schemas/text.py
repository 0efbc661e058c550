"""Text on the wire: UTF-8, composed (NFC), printable, short.

Refuses: nothing itself; it answers, and the caller refuses with its own code.
Keeps: two texts that look alike to a machine are the same bytes, and no text moves a terminal's cursor.
Source: docs/protocol.md, first paragraph; Unicode Standard Annex 15.
"""

import json
import unicodedata
from typing import Any, Final

VALUES: Final = 65_536
"""In one JSON text: each costs as much as a hundred bytes of any other, to read and to refuse."""


def is_plain(text: str, limit: int) -> bool:
    """Is this text of 1 to `limit` bytes in NFC, without control, format, private or unassigned characters?"""
    return text.isprintable() and 1 <= len(text.encode()) <= limit and unicodedata.is_normalized("NFC", text)


def from_utf8(raw: bytes) -> str | None:
    """The text of these bytes, or None when they are no UTF-8.

    Python's own error holds every byte, and would hang on whatever is raised while it is in hand: a value in a log.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: no lone surrogate. A question, for the same reason as `from_utf8`."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_unicode(told: Any) -> None:
    """Whether every text of a JSON value, names included, can be written as UTF-8 (RFC 7493, 2.1).

    Raises ValueError, which does not hold the text; RecursionError for what is too deep.
    """
    if not is_unicode(json.dumps(told, ensure_ascii=False)):
        raise ValueError("a lone surrogate")


def check_count(raw: bytes) -> None:
    """Whether a JSON text can have no more than VALUES values, before it is read: they stand between commas, and what
    we read has few of them in its texts.

    Raises ValueError.
    """
    if raw.count(b",") >= VALUES:
        raise ValueError("too many values")
