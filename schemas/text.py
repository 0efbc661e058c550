"""Text on the wire: UTF-8, composed (NFC), printable, short.

Refuses: nothing itself; it answers, and the caller refuses with its own code.
Keeps: two texts that look alike to a machine are the same bytes, and no text moves a terminal's cursor.
Source: docs/protocol.md, first paragraph; Unicode Standard Annex 15.
"""

import unicodedata


def is_plain(text: str, limit: int) -> bool:
    """Is this text of 1 to `limit` bytes in NFC, without control, format, private or unassigned characters?"""
    return text.isprintable() and 1 <= len(text.encode()) <= limit and unicodedata.is_normalized("NFC", text)
