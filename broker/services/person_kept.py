"""Person kept: why each thing that is held about a person is kept, and until when, in words for that person.

Refuses: a section without a reason: a test holds these words to the sections of an export.
Keeps: figures are those of the settings of this home; each text of law is named, and is to be confirmed by counsel
(docs/legal/texts.md).
Source: Regulation (EU) 2016/679 (GDPR), articles 5(1)(e), 12(4), 17(3).
"""

from collections.abc import Mapping
from typing import Final

from broker.services.person_rows import Why
from broker.settings.choices import Settings
from broker.shapes import Json

_EVER: Final[Why] = ("aussi longtemps que le registre", "as long as the ledger")
_TRACES: Final[Why] = (
    "{declaration_retention_days} jours après la déclaration",
    "{declaration_retention_days} days after the declaration",
)
_MESSAGES: Final[Why] = (
    "{message_retention_days} jours, ou jusqu'à `unefois person erase`",
    "{message_retention_days} days, or until `unefois person erase`",
)
_GAVE: Final[Why] = (
    "preuve de ce que la personne a permis ou refusé, et quand (RGPD, art. 7(1) et 17(3)(e))",
    "proof of what the person allowed or refused, and when (GDPR, art. 7(1) and 17(3)(e))",
)
_TRACE: Final[Why] = (
    "trace de qui a reçu quoi, sans ce qui était déclaré (RGPD, art. 5(2) et 17(3)(b))",
    "trace of who got what, without what was declared (GDPR, art. 5(2) and 17(3)(b))",
)
_ACTS: Final[Why] = (
    "preuve de qui a pu agir, et a agi, pour qui (RGPD, art. 5(2) et 17(3)(e))",
    "proof of who could act, and acted, for whom (GDPR, art. 5(2) and 17(3)(e))",
)
_TELL: Final[Why] = (
    "pour prévenir la personne de ce qui arrive à ses déclarations",
    "to tell the person what becomes of their declarations",
)
_BACK: Final[Why] = (
    "pour que rien de ce qui a été repris ne parte",
    "so that nothing goes out of what was taken back",
)
_COMES: Final[Why] = (
    "pour que la personne puisse se connecter, et voir où elle l'est",
    "so that the person can sign in, and see where they are signed in",
)

KEPT: Final[Mapping[str, tuple[Why, Why]]] = {
    "consents": (_GAVE, _EVER),
    "objections": (_GAVE, _EVER),
    "submissions": (_TRACE, _TRACES),
    "declarations": (_TRACE, _TRACES),
    "deliveries": (_TRACE, _TRACES),
    "withholdings": (_TRACE, _TRACES),
    "repairs": (_TRACE, _TRACES),
    "retractions": (_BACK, _EVER),
    "dead_letters": (_TRACE, _TRACES),
    "representations": (_ACTS, _EVER),
    "acted_for": (_ACTS, _TRACES),
    "names": (
        (
            "pour savoir sous quels noms ce qui précède est le vôtre (RGPD, art. 5(1)(d) et 17(3)(e))",
            "to know under which names what stands here is yours (GDPR, art. 5(1)(d) and 17(3)(e))",
        ),
        _EVER,
    ),
    "households": (
        _ACTS,
        ("{message_retention_days} jours après sa fin", "{message_retention_days} days after its end"),
    ),
    "channels": (_TELL, ("jusqu'à ce que la personne les retire", "until the person takes them away")),
    "messages": (_TELL, _MESSAGES),
    "sessions": (_COMES, ("jusqu'à la déconnexion, 12 heures au plus", "until you sign out, 12 hours at most")),
    "accounts": (_COMES, ("jusqu'à `unefois person erase`", "until `unefois person erase`")),
    "codes": (_COMES, ("72 heures, ou jusqu'à son emploi", "72 hours, or until it is used")),
    "told_already": (
        (
            "pour dire à la personne qu'elle a déjà déclaré la même chose, sans garder ce que c'était",
            "to tell the person that they declared the same before, without keeping what it was",
        ),
        _TRACES,
    ),
    "drafts": (
        (
            "pour que la personne retrouve ce qu'elle a commencé à saisir",
            "so that the person finds again what they began to type",
        ),
        (
            "72 heures après la dernière saisie, ou jusqu'à l'envoi",
            "72 hours after it was last written, or until it is sent",
        ),
    ),
    "entries": (
        (
            "ce qui ouvre les entrées du registre : preuve de qui a reçu quoi (RGPD, art. 5(2), 17(3)(b) et (e))",
            "what opens the ledger's entries: proof of who got what (GDPR, art. 5(2), 17(3)(b) and (e))",
        ),
        (
            "{ledger_opening_days} jours, et 90 de plus au plus ; ensuite l'entrée ne dit plus rien à personne",
            "{ledger_opening_days} days, and 90 more at most; then the entry tells nobody anything",
        ),
    ),
}
"""By section: why, and until when."""


def kept(counts: Mapping[str, int], settings: Settings) -> list[Json]:
    """What is held, why, and until when; sections without a row are not told."""
    return [
        {
            "what": name,
            "count": counts[name],
            "why": {"fr": why[0], "en": why[1]},
            "until": {"fr": _filled(until[0], settings), "en": _filled(until[1], settings)},
        }
        for name, (why, until) in KEPT.items()
        if counts.get(name)
    ]


def _filled(text: str, settings: Settings) -> str:
    named = ("declaration_retention_days", "message_retention_days", "ledger_opening_days")
    return text.format_map({name: getattr(settings, name) for name in named})
