"""Consent receipts: the paper that a citizen is shown before, and keeps after, a consent or a mandate by law.

Refuses: nothing of its own; `broker.consents.receipts` signs.
Keeps: the text shown is made from the same catalogue and purposes that decide, and its SHA-256 is what the grant
records.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from broker.consents.consents import Recorded
from broker.consents.receipts import principal_of
from broker.directory.reading import Party
from broker.setup.wiring import Home
from broker.shapes import day_in_words
from consent.basis import Basis, BasisKind
from consent.grant import Scope
from consent.purposes import PurposeEntry
from schemas.catalogue import EventSchema
from schemas.messages import Language
from schemas.names import Instant, SubjectRef

DAY_MS: Final = 86_400_000
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
_LEGAL: Final[dict[Language, str]] = {"fr": "Texte : {text}.", "en": "Text of law: {text}."}
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
    """The signed receipt of one version of a grant, JSON. Raises as `home.receipts` does."""
    return await home.receipts.of(recorded)


def principal(home: Home, subject: SubjectRef) -> str:
    """The citizen's own number: 32 letters and digits, the same in all their receipts."""
    return principal_of(home.identity, subject)


def text_shown(
    language: Language,
    recipient: Party,
    event: EventSchema,
    *,
    fields: Collection[str],
    purpose: PurposeEntry,
    basis: Basis,
    scope: Scope,
    until: Instant | None,
) -> str:
    """What a citizen is shown before a grant, in whole sentences: who, what, what for, until when, which rights, how
    long it is kept and whom to ask (GDPR, articles 7 and 13; to be confirmed by counsel). Where a purpose says by which
    text, for how long or whom to ask, that is shown.
    """
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
        _PURPOSE[language].format(label=purpose.label[language], sentence=purpose.sentence[language]),
    ]
    lines += [_LEGAL[language].format(text=text)] if (text := purpose.legal[language]) else []
    lines += [] if until is None else [_UNTIL[language].format(until=_moment(until, language))]
    lines += [
        _RIGHTS[basis.kind][language],
        _KEPT[language].format(who=recipient.name, retention=purpose.retention[language] or recipient.retention),
        _ASK[language].format(who=recipient.name, contact=purpose.contact or recipient.contact),
    ]
    return "\n".join(lines) + "\n"


def _moment(at: Instant, language: Language) -> str:
    """A day as people write it; with the time (UTC) where it is not the day's beginning."""
    when = datetime.fromtimestamp(at / 1000, UTC)
    day = day_in_words(when.date(), language)
    if at % DAY_MS == 0:
        return day
    return f"{day} {'à' if language == 'fr' else 'at'} {when:%H:%M:%S} UTC"
