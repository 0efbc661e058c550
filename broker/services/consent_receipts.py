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
from consent.basis import Basis, BasisKind
from consent.grant import Grant, Scope
from consent.receipt import make_receipt
from consent.receipt_content import Party as ReceiptParty
from consent.receipt_content import Terms
from schemas.catalogue import EventSchema
from schemas.messages import Language
from schemas.names import Instant, Purpose, SubjectRef, rfc3339

SECTOR: Final = "citizen"
"""The sector whose pseudonym is the citizen's own number in receipts."""

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
_KEPT: Final[dict[Language, str]] = {
    "fr": "{who} garde ces données : {retention}.",
    "en": "{who} keeps these data: {retention}.",
}
_RIGHTS: Final[dict[BasisKind, dict[Language, str]]] = {
    BasisKind.CONSENT: {
        "fr": "Vous pouvez retirer cet accord à tout moment, sans que cela change ce qui a déjà été fait.",
        "en": "You can withdraw this at any time; what was done before stays lawful.",
    },
    BasisKind.CHOICE: {
        "fr": "Vous pouvez revenir sur ce choix à tout moment, pour la suite.",
        "en": "You can take back this choice at any time, for what comes.",
    },
    BasisKind.LAW: {
        "fr": "Aucun accord n'est demandé, car la loi le prévoit ; vous en êtes informé.",
        "en": "No consent is asked for, because the law provides for it; you are informed of it.",
    },
}
_ASK: Final[dict[Language, str]] = {
    "fr": "Pour voir, corriger ou effacer ces données, ou en limiter l'usage : {who}, {contact}. En cas de désaccord : "
    "la CNIL, www.cnil.fr.",
    "en": "To see, correct or erase these data, or to restrict their use: {who}, {contact}. If you disagree: the CNIL, "
    "www.cnil.fr.",
}
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
        storage_locations=home.settings.storage_locations,
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
    """What a citizen is shown before a grant, in whole sentences: who, what, what for, until when, which rights, how
    long it is kept and whom to ask (GDPR, articles 7 and 13; to be confirmed by counsel).

    Raises Refused `purposes.unknown`.
    """
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
    lines += [
        _RIGHTS[basis.kind][language],
        _KEPT[language].format(who=recipient.name, retention=recipient.retention),
        _ASK[language].format(who=recipient.name, contact=recipient.contact),
    ]
    return "\n".join(lines) + "\n"


def _reachable(party: Party) -> ReceiptParty:
    return ReceiptParty(party.id, party.name, party.address, party.contact)


def _how_to_withdraw(grant: Grant, broker: Party) -> str | None:
    """Nobody withdraws a mandate by law."""
    if grant.by_law:
        return None
    return _WITHDRAW[grant.basis.kind][grant.language].format(name=broker.name, contact=broker.contact)
