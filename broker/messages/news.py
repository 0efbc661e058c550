"""News: what citizens are told of, and in which words.

    a fact of the ledger ──► news ──► a subject line and a text in the channel's language

Refuses: a value, the name of an event or of an administration: whoever reads over somebody's shoulder learns that there
is news, and no more.
Keeps: the subject line is the same for everything but what protects the citizen: a channel that changed, a declaration
that waits for a word of theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from broker.messages.addresses import ChannelKind
from schemas.catalogue import BANK_ACCOUNT
from schemas.facts import FactKind, Facts
from schemas.messages import Language
from schemas.names import DeclarationId, EventType, Reason, uuid_text
from schemas.retractions import RETRACTIONS


class News(Enum):
    """What happened, as far as it is told."""

    RECEIVED = "received"
    CORRECTED = "corrected"
    APPLIED = "applied"
    REFUSED = "refused"
    """By a recipient."""
    GIVEN_UP = "given-up"
    """A recipient was tried too often."""
    WITHHELD = "withheld"
    """It goes out only if the citizen does something."""
    TO_COMPLETE = "to-complete"
    """A recipient does not find the citizen, or lacks a document: they can mend it."""
    AWAITING = "awaiting"
    """Somebody at a recipient decides."""
    LATE = "late"
    """Nothing was heard of a recipient for long."""
    HELD = "held"
    """It is of a type that waits before anybody may open it, and the citizen can stop it."""
    RECALLED = "recalled"
    """It is taken back."""
    UNDONE = "undone"
    """A recipient has heard that it was taken back."""
    CHECK = "check"
    """Something was asked for in the citizen's name that they alone may ask for."""
    CONSENT_CHANGED = "consent-changed"
    """A consent or a choice of the citizen's was given, changed or ended, or they object to a rule by law, or no more.
    """
    CHANNEL_ADDED = "channel-added"
    CHANNEL_ENDED = "channel-ended"
    LINK_CONFIRMED = "link-confirmed"
    """Another identity will soon count as the citizen's; they can refuse it."""
    LINK_ENDED = "link-ended"
    CODE_GIVEN = "code-given"
    """Whoever has a certain code can sign in as the citizen."""

    @property
    def of_channels(self) -> bool:
        """Whether it is about where the citizen is told, and so no declaration's."""
        return self in {News.CHANNEL_ADDED, News.CHANNEL_ENDED}


ACT: Final = frozenset({Reason.EXPIRED, Reason.NO_FIELDS, Reason.UNSOUND})
"""Reasons of a withholding that only the citizen can mend: a consent that is over, too narrow, or not as it was given.
What they have chosen themselves (a pause, a revocation, an objection) is no news to them.
"""
_TOLD: Final[Mapping[FactKind, News]] = {
    FactKind.RECEIVED: News.RECEIVED,
    FactKind.CORRECTED: News.CORRECTED,
    FactKind.APPLIED: News.APPLIED,
    FactKind.REJECTED: News.REFUSED,
    FactKind.WITHHELD: News.WITHHELD,
    FactKind.ANSWERED: News.TO_COMPLETE,
    FactKind.RETRACTED: News.RECALLED,
    FactKind.CHANNEL_ADDED: News.CHANNEL_ADDED,
    FactKind.CHANNEL_ENDED: News.CHANNEL_ENDED,
    FactKind.LINK_CONFIRMED: News.LINK_CONFIRMED,
    FactKind.LINK_ENDED: News.LINK_ENDED,
    FactKind.CODE_GIVEN: News.CODE_GIVEN,
}
KINDS: Final = tuple(sorted(kind.value for kind in _TOLD))
"""Kinds of facts that may be news."""


_WAITS: Final = frozenset({BANK_ACCOUNT})
"""Types that may be held. Told as such even where a setting lets them go at once: whoever did not declare them must
hear what they can do.
"""
_BY_REASON: Final[Mapping[tuple[FactKind, Reason | None], News]] = {
    (FactKind.REJECTED, Reason.PARKED): News.GIVEN_UP,
    (FactKind.ANSWERED, Reason.AWAITING_HUMAN): News.AWAITING,
}
_BY_TYPE: Final[Mapping[tuple[FactKind, EventType | None], News]] = {
    **{(FactKind.RECEIVED, one): News.HELD for one in _WAITS},
    **{(FactKind.APPLIED, one): News.UNDONE for one in RETRACTIONS},
}


def news_of(facts: Facts) -> News | None:
    """What the citizen is told of a fact about them; None: nothing."""
    silent = (
        (facts.kind is FactKind.WITHHELD and facts.reason not in ACT)
        or (facts.kind is FactKind.RETRACTED and facts.reason is Reason.STOPPED)  # by the citizen, a moment ago
        or (facts.kind in {FactKind.RECEIVED, FactKind.CORRECTED} and facts.event_type in RETRACTIONS)  # told by itself
    )
    if silent:
        return None
    news = _BY_REASON.get((facts.kind, facts.reason)) or _BY_TYPE.get((facts.kind, facts.event_type))
    return news or _TOLD.get(facts.kind)


# ── in words ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Sender:
    """Who writes, and where there is more to see. `link`: an address for everybody, the same in every message."""

    name: str
    contact: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A message in words. `subject` is for e-mail alone."""

    subject: str
    body: str


def text_of(
    news: News, declaration: DeclarationId | None, kind: ChannelKind, language: Language, sender: Sender
) -> Text:
    """In words, in full for e-mail, in one line for SMS."""
    words, sentence = _WORDS[language], _SENTENCES[news][_LANGUAGES.index(language)]
    title = words["check"] if news in _CHECK else words["news"]
    number = "" if declaration is None else words["number"].format(number=uuid_text(declaration))
    where = words["contact"].format(contact=sender.contact) if sender.link is None else sender.link
    if kind is ChannelKind.MOBILE:
        return Text("", " ".join(part for part in (f"{sender.name}{words['colon']} {sentence}", number, where) if part))
    seen = where if sender.link is None else words["link"].format(link=sender.link)
    parts = (words["hello"], sentence, number, seen, words["nothing"], f"-- \n{sender.name}\n{sender.contact}\n")
    return Text(f"{sender.name}{words['colon']} {title}", "\n\n".join(part for part in parts if part))


_LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
_CHECK: Final = frozenset(
    {
        *(News.CHECK, News.HELD, News.RECALLED, News.CONSENT_CHANGED, News.CHANNEL_ADDED, News.CHANNEL_ENDED),
        *(News.LINK_CONFIRMED, News.LINK_ENDED, News.CODE_GIVEN),
    }
)
_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "fr": {
        "colon": " :",
        "news": "il y a du nouveau",
        "check": "vérifiez que c'est bien vous",
        "hello": "Bonjour,",
        "number": "Numéro de déclaration : {number}",
        "link": "Pour en savoir plus : {link}",
        "contact": "Pour en savoir plus, adressez-vous à : {contact}",
        "nothing": (
            "Ce message est automatique et ne contient rien de ce que vous avez déclaré. Nous ne vous demanderons "
            "jamais d'y répondre, ni de nous donner un mot de passe."
        ),
    },
    "en": {
        "colon": ":",
        "news": "there is news",
        "check": "check that it was you",
        "hello": "Hello,",
        "number": "Declaration number: {number}",
        "link": "To learn more: {link}",
        "contact": "To learn more, ask: {contact}",
        "nothing": (
            "This message is automatic and holds nothing of what you have declared. We will never ask you to answer it,"
            " nor to give us a password."
        ),
    },
}
_SENTENCES: Final[Mapping[News, tuple[str, str]]] = {
    News.RECEIVED: ("Une déclaration a été reçue.", "A declaration was received."),
    News.CORRECTED: ("Une correction a été reçue.", "A correction was received."),
    News.APPLIED: (
        "Une administration a enregistré votre déclaration.",
        "An administration has recorded your declaration.",
    ),
    News.REFUSED: (
        "Une administration n'a pas pu prendre en compte votre déclaration.",
        "An administration could not take your declaration into account.",
    ),
    News.GIVEN_UP: (
        "Votre déclaration n'a pas pu être remise à une administration ; un agent va s'en occuper.",
        "Your declaration could not be handed to an administration; an agent will look into it.",
    ),
    News.WITHHELD: (
        "Votre déclaration n'est pas transmise à une administration : une décision de votre part est nécessaire.",
        "Your declaration does not go out to an administration: a decision of yours is needed.",
    ),
    News.TO_COMPLETE: (
        "Une administration a besoin d'un complément pour prendre en compte votre déclaration.",
        "An administration needs something more to take your declaration into account.",
    ),
    News.AWAITING: (
        "Dans une administration, un agent examine votre déclaration.",
        "At an administration, somebody is looking at your declaration.",
    ),
    News.LATE: (
        "Une administration n'a pas encore répondu à votre déclaration.",
        "An administration has not answered your declaration yet.",
    ),
    News.HELD: (
        "Une déclaration à protéger a été faite en votre nom. Si elle n'est pas de vous, arrêtez-la sans attendre.",
        "A declaration that needs care was made in your name. If it is not yours, stop it at once.",
    ),
    News.RECALLED: ("Une déclaration est reprise.", "A declaration is taken back."),
    News.UNDONE: (
        "Une administration a pris en compte qu'une déclaration est reprise.",
        "An administration has taken into account that a declaration is taken back.",
    ),
    News.CHECK: (
        "Un changement a été demandé dans votre dossier. S'il ne vient pas de vous, signalez-le avant trois jours.",
        "A change was asked for in your file. If it was not you, report it within three days.",
    ),
    News.CONSENT_CHANGED: (
        "Ce que vous autorisez à recevoir vos déclarations a changé. Si ce n'est pas vous, regardez, et arrêtez-le.",
        "What you allow to receive your declarations has changed. If it was not you, look at it, and end it.",
    ),
    News.CHANNEL_ADDED: (
        "Une adresse ou un numéro où vous prévenir a été ajouté. Si ce n'est pas vous, signalez-le.",
        "An address or a number at which you are told was added. If it was not you, report it.",
    ),
    News.CHANNEL_ENDED: (
        "Une adresse ou un numéro où vous prévenir a été retiré. Si ce n'est pas vous, signalez-le.",
        "An address or a number at which you are told was taken away. If it was not you, report it.",
    ),
    News.LINK_CONFIRMED: (
        "Une autre identité va être rapprochée de la vôtre. Si ce n'est pas la vôtre, refusez-le sans attendre.",
        "Another identity is about to be linked with yours. If it is not yours, refuse it at once.",
    ),
    News.LINK_ENDED: (
        "Le rapprochement d'une autre identité avec la vôtre est refusé ou terminé.",
        "The link of another identity with yours was refused, or has ended.",
    ),
    News.CODE_GIVEN: (
        "Un code pour se connecter à votre espace a été remis. Si ce n'est pas à vous, signalez-le sans attendre.",
        "A code to sign in to your space was handed over. If it was not to you, report it at once.",
    ),
}
