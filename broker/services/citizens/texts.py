"""Texts: the exact words that a citizen was shown before they agreed, held by their SHA-256.

Refuses: an agreement to other words than those that would count now.
Keeps: what a grant records is the digest of the very text that was on the screen; instants in it are whole days, so
that it reads the same when it is sent.
"""

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from schemas.errors import Refused
from schemas.names import Instant

DAY_MS: Final = 86_400_000


def digest(text: str) -> str:
    """SHA-256 of a text in UTF-8, hexadecimal."""
    return sha256(text.encode()).hexdigest()


def check_text(text: str, shown: str) -> None:
    """That this is what was shown. Raises Refused `citizens.other-text`."""
    if not compare_digest(digest(text).encode(), shown.lower().encode()):
        raise Refused("citizens.other-text", "/text_sha256")


def day(at: Instant) -> Instant:
    """The beginning of its day, UTC."""
    return Instant(at - at % DAY_MS)
