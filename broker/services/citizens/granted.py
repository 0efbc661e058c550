"""Granted: a grant as its citizen reads it, with the text that was shown, and what they can do with it.

Refuses: nothing; whose it is was asked before.
Keeps: a text is told only where its SHA-256 is what the grant holds; where the words of the directory have changed
since, the digest alone is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from broker.directory.reading import Party
from broker.services.citizens.outlook import labelled, party, purpose_label
from broker.services.citizens.texts import digest
from broker.services.citizens.words import NEXT
from broker.services.consent_receipts import text_shown
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from consent import purposes
from consent.grant import Grant, Scope, Status
from consent.purposes import LANGUAGES
from consent.rules import Rule
from schemas.catalogue import EventSchema
from schemas.messages import Language
from schemas.names import Instant, PartyId

ACTIONS: Final[Mapping[Status, tuple[str, ...]]] = {
    Status.ACTIVE: ("pause", "narrow", "end"),
    Status.PAUSED: ("resume", "narrow", "end"),
    Status.REVOKED: (),
    Status.EXPIRED: (),
}
MEANS: Final = {"pause": "paused", "resume": "resumed", "narrow": "narrowed", "end": "ended"}
"""What each action is called in `words.NEXT`."""


@dataclass(frozen=True, slots=True)
class Book:
    """The directory's words, read once for many grants."""

    parties: Mapping[PartyId, Party]
    purposes: purposes.Catalogue

    def text(
        self,
        one: Grant | Rule,
        event: EventSchema,
        language: Language,
        *,
        until: Instant | None,
        scope: Scope = Scope.STANDING,
    ) -> str | None:
        """What a grant or a rule says, in the words of today; None where the directory has its words no more."""
        recipient, purpose = self.parties.get(one.recipient), self.purposes.get(one.purpose)
        if recipient is None or purpose is None:
            return None
        return text_shown(
            language, recipient, event, fields=one.fields, purpose=purpose, basis=one.basis, scope=scope, until=until
        )


async def book(home: Home) -> Book:
    """As it is now."""
    async with home.store.read() as tx:
        return Book({one.id: one for one in await home.lookup.parties(tx)}, await home.lookup.purposes(tx))


def grant_shape(home: Home, there: Book, one: Grant, language: Language) -> Json:
    """`{id, version, status, recipient, event_type, event_label, purpose, purpose_label, fields, basis, article, rule,
    once, once_for, granted_at, starts_at, until, changed_at, given_by, channel, language, text, text_sha256, actions}`.

    `actions`: what the citizen can do, each `{action, text, text_sha256}`, in `language`; none with what is by law.
    """
    event = home.catalogue.by_id(one.schema)
    actions = () if one.by_law else ACTIONS[one.status]
    sentences = ((name, action_text(home, there, one, MEANS[name], language)) for name in actions)
    return {
        "id": uuid_of(one.id),
        "version": one.version,
        "status": one.status.value,
        "recipient": party(there.parties, one.recipient),
        "event_type": one.event_type,
        "event_label": dict(event.label),
        "purpose": one.purpose,
        "purpose_label": purpose_label(one.purpose, there.purposes),
        "fields": labelled(event, one.fields),
        "basis": one.basis.kind.value,
        "article": one.basis.article,
        "rule": uuid_of(one.rule),
        "once": one.scope.value == "once",
        "once_for": uuid_of(one.once_for),
        "granted_at": time_of(one.granted_at),
        "starts_at": time_of(one.starts_at),
        "until": time_of(one.until),
        "changed_at": time_of(one.changed_at),
        "given_by": one.given_by,
        "channel": one.channel.value,
        "language": one.language,
        "text": _shown(home, there, one),
        "text_sha256": one.text_hash.hex(),
        "actions": [{"action": name, "text": text, "text_sha256": digest(text)} for name, text in sentences],
    }


def action_text(home: Home, there: Book, one: Grant, what: str, language: Language) -> str:
    """The sentence under which a grant is changed: of whom, of which type, and what it means."""
    known = there.parties.get(one.recipient)
    who = str(one.recipient) if known is None else known.name
    event = home.catalogue.by_id(one.schema)
    return f"{who}, {event.label[language]}. {NEXT[what][language]}"


def _shown(home: Home, there: Book, one: Grant) -> str | None:
    return next((text for text in _candidates(home, there, one) if digest(text) == one.text_hash.hex()), None)


def _candidates(home: Home, there: Book, one: Grant) -> Iterator[str]:
    """Every text that a citizen is shown about a grant, in the words of today."""
    for language in LANGUAGES:
        for what in MEANS.values():
            yield action_text(home, there, one, what, language)
        yield NEXT["ended"][language]
    text = there.text(one, home.catalogue.by_id(one.schema), one.language, until=one.expires_at, scope=one.scope)
    if text is not None:
        yield text
