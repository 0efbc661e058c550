"""Entries as a foreign log has them: nothing can be read in them but their window, their kind, and which are of one
delivery.
"""

from hashlib import sha256

from schemas.entry import Entry, EntryKind
from schemas.names import Instant

TAG = b"t" * 16
PLAN = b"p" * 32
"""What is planned, and released, for the delivery of that tag."""


def sealed(number: int = 0, kind: EntryKind = EntryKind.FACT, tag: bytes = TAG, plan: bytes = PLAN) -> bytes:
    """One entry; another number is another one. The tag and the plan where its kind has them."""
    tagged = kind not in {EntryKind.FACT, EntryKind.RECEIVED}
    planned = kind in {EntryKind.PLANNED, EntryKind.RELEASED}
    facts = sha256(number.to_bytes(8, "big")).digest()
    return Entry(Instant(number), kind, tag if tagged else None, plan if planned else None, facts).encode()
