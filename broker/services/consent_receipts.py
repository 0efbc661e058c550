"""Consent receipts: the paper that a citizen is shown before, and keeps after, a consent or a mandate by law.

Refuses: nothing of its own; it composes what `consent.receipt` signs from the directory's words about the parties.
Keeps: the citizen is named by the pseudonym of a sector of its own, which no administration ever sees; the text shown
is made from the same catalogue and purposes that decide, and its SHA-256 is what the grant records.
"""

from base64 import b32encode
from collections.abc import Collection
from typing import Final

from broker.consents.consents import Recorded
from broker.directory.reading import Party
from broker.setup.wiring import Home
from consent import purposes
from consent.grant import Basis, BasisKind, Grant, Scope
from consent.receipt import make_receipt
from consent.receipt_content import Party as ReceiptParty
from consent.receipt_content import Terms
from schemas.catalogue import EventSchema
from schemas.messages import Language
from schemas.names import Instant, Purpose, SubjectRef, rfc3339

SECTOR: Final = "citizen"
"""The sector whose pseudonym is the citizen's own number in receipts."""

_STORED_IN: Final = ("France",)
_WITHDRAW: Final[dict[BasisKind, dict[Language, str]]] = {
    BasisKind.CONSENT: {
        "fr": "À tout moment, en retirant ce consentement auprès de {name} ({contact}).",
        "en": "At any time, by withdrawing this consent with {name} ({contact}).",
    },
    BasisKind.CHOICE: {
        "fr": "À tout moment, en revenant sur ce choix auprès de {name} ({contact}).",
        "en": "At any time, by taking back this choice with {name} ({contact}).",
    },
}
_CONSENT: Final[dict[Language, str]] = {
    "fr": "J'autorise {who} à recevoir, {scope} « {event} » me concernant : {fields}.",
    "en": "I allow {who} to receive, {scope} “{event}” about me: {fields}.",
}
_MANDATE: Final[dict[Language, str]] = {
    "fr": "La loi ({article}) prévoit que {who} reçoive, {scope} « {event} » vous concernant : {fields}.",
    "en": "The law ({article}) provides that {who} receives, {scope} “{event}” about you: {fields}.",
}
_CHOICE: Final[dict[Language, str]] = {
    "fr": "Un texte ({article}) me laisse choisir qui reçoit « {event} » ; je choisis {who}, {scope} : {fields}.",
    "en": "A text ({article}) lets me choose who receives “{event}”; I choose {who}, {scope}: {fields}.",
}
_SCOPES: Final[dict[Scope, dict[Language, str]]] = {
    Scope.STANDING: {"fr": "à chaque déclaration de type", "en": "with each declaration of the type"},
    Scope.ONCE: {"fr": "pour une seule déclaration de type", "en": "for one declaration of the type"},
}
_PURPOSE: Final[dict[Language, str]] = {"fr": "Finalité : {label}. {sentence}", "en": "Purpose: {label}. {sentence}"}
_UNTIL: Final[dict[Language, str]] = {"fr": "Fin : {until}.", "en": "Ends: {until}."}


async def receipt_of(home: Home, recorded: Recorded) -> bytes:
    """The signed receipt of one version of a grant, JSON. Raises Refused: `consent-receipt.*`, `keyring.*`."""
    grant = recorded.grant
    async with home.store.read() as tx:
        recipient = await home.lookup.party(tx, grant.recipient)
        broker = await home.lookup.party(tx, home.party)
        signer = home.keyring.signer(await home.lookup.directory(tx), home.party, home.clock())
    terms = Terms(
        controller=_reachable(recipient),
        issuer=_reachable(broker),
        storage_locations=_STORED_IN,
        retention_period=recipient.retention,
        withdrawal_method=_how_to_withdraw(grant, broker),
    )
    number = principal(home, grant.subject)
    return make_receipt(grant, terms, principal=number, ledger_entry=recorded.entry, signer=signer)


def principal(home: Home, subject: SubjectRef) -> str:
    """The citizen's own number: 32 letters and digits, the same in all their receipts."""
    return b32encode(home.identity.pseudonym(subject, SECTOR)[0]).decode("ascii")


def text_shown(
    language: Language,
    recipient: Party,
    event: EventSchema,
    *,
    fields: Collection[str],
    purpose: Purpose,
    basis: Basis,
    scope: Scope,
    until: Instant | None,
) -> str:
    """What a citizen is shown before a grant, in whole sentences. Raises Refused `purposes.unknown`."""
    entry = purposes.by_id(purpose)
    labels = [each.label[language] for each in event.fields if each.name in fields]
    allowed = {BasisKind.CONSENT: _CONSENT, BasisKind.CHOICE: _CHOICE, BasisKind.LAW: _MANDATE}[basis.kind]
    lines = [
        allowed[language].format(
            who=recipient.name,
            article=basis.article,
            scope=_SCOPES[scope][language],
            event=event.label[language],
            fields=", ".join(labels),
        ),
        _PURPOSE[language].format(label=entry.label[language], sentence=entry.sentence[language]),
    ]
    lines += [] if until is None else [_UNTIL[language].format(until=rfc3339(until))]
    return "\n".join(lines) + "\n"


def _reachable(party: Party) -> ReceiptParty:
    return ReceiptParty(party.id, party.name, party.address, party.contact)


def _how_to_withdraw(grant: Grant, broker: Party) -> str | None:
    """Nobody withdraws a mandate by law."""
    if grant.by_law:
        return None
    return _WITHDRAW[grant.basis.kind][grant.language].format(name=broker.name, contact=broker.contact)
