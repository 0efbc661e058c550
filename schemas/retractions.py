"""Retractions: the two event types that take a declaration back, and who may send them.

    cancelled   the person takes it back, through the source that declared it
    recalled    it should never have been sent: by its source, or by the broker on the word of two operators

The manifest's `corrects` names the declaration that is taken back, so that everybody sees which one, and the fields
repeat it with a reason code. There is no other value in them.

Refuses: nothing; `schemas.directory` and the intake do.
Keeps: no party needs a right of its own for them: whoever may publish anything may take back what it has declared.
Source: docs/protocol.md, section 3; GDPR, article 19.
"""

from typing import Final

from schemas.names import EventType

CANCELLED: Final = EventType("fr.unefois.declaration.cancelled.v1")
RECALLED: Final = EventType("fr.unefois.declaration.recalled.v1")
RETRACTIONS: Final = frozenset({CANCELLED, RECALLED})
"""They go to whoever got what they take back, and nobody subscribes to them."""
ARTICLE: Final = "RGPD, art. 19"
"""On which a recipient gets them without a consent: whoever got the data is told that it is erased or put right."""
