"""Words: what a citizen reads of where things stand, what they can do, and what follows, in French and English.

Refuses: nothing.
Keeps: plain words of a reading age of twelve; no value and no name of a person. The states are HubEE's words.
Source: HubEE, "Portail", states of a case (Transmise, Reçue, En cours, Traitée, Refusée).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from broker.flow.tracking import Progress, Step
from consent.basis import BasisKind
from consent.purposes import Texts
from schemas.names import Reason

PROGRESS: Final[Mapping[Progress, Texts]] = {
    Progress.SENT: {"fr": "Transmise", "en": "Sent"},
    Progress.RECEIVED: {"fr": "Reçue", "en": "Received"},
    Progress.IN_PROGRESS: {"fr": "En cours", "en": "In progress"},
    Progress.DONE: {"fr": "Traitée", "en": "Done"},
    Progress.REFUSED: {"fr": "Refusée", "en": "Refused"},
    Progress.WITHHELD: {"fr": "Retenue", "en": "Withheld"},
    Progress.TO_COMPLETE: {"fr": "À compléter", "en": "To complete"},
    Progress.TECHNICAL: {"fr": "Problème technique", "en": "Technical problem"},
}


class Awaited(Enum):
    """For whom a step waits."""

    CITIZEN = "citizen"
    ADMINISTRATION = "administration"
    BROKER = "broker"
    NOBODY = "nobody"


AWAITED: Final[Mapping[Awaited, Texts]] = {
    Awaited.CITIZEN: {"fr": "C'est à vous d'agir.", "en": "It is your turn."},
    Awaited.ADMINISTRATION: {
        "fr": "L'administration doit faire la suite.",
        "en": "The administration has to do the next step.",
    },
    Awaited.BROKER: {"fr": "Nous devons faire la suite.", "en": "We have to do the next step."},
    Awaited.NOBODY: {"fr": "Rien n'est attendu.", "en": "Nothing is waited for."},
}
_AWAITS: Final[Mapping[Progress, Awaited]] = {
    Progress.SENT: Awaited.ADMINISTRATION,
    Progress.RECEIVED: Awaited.ADMINISTRATION,
    Progress.IN_PROGRESS: Awaited.ADMINISTRATION,
    Progress.TO_COMPLETE: Awaited.CITIZEN,
    Progress.TECHNICAL: Awaited.BROKER,
}
MENDABLE: Final = frozenset({Reason.PAUSED, Reason.EXPIRED, Reason.NO_FIELDS, Reason.UNSOUND, Reason.ASSURANCE})
"""Why a step is withheld that its citizen can let go on."""


def awaited(step: Step) -> Awaited:
    """For whom one administration's step waits; for a hold, which its citizen may stop, nobody has to act."""
    if step.held_until is not None:
        return Awaited.NOBODY
    if step.progress is Progress.WITHHELD and step.reason in MENDABLE:
        return Awaited.CITIZEN
    return _AWAITS.get(step.progress, Awaited.NOBODY)


REMEDY: Final[Mapping[BasisKind, Texts]] = {
    BasisKind.CONSENT: {
        "fr": "Vous pouvez retirer cette autorisation à tout moment.",
        "en": "You can withdraw this at any time.",
    },
    BasisKind.CHOICE: {
        "fr": "Vous pouvez revenir sur ce choix à tout moment.",
        "en": "You can take back this choice at any time.",
    },
    BasisKind.LAW: {
        "fr": "La loi le prévoit : votre accord n'est pas demandé.",
        "en": "The law provides for it: you are not asked to agree.",
    },
}
OBJECT: Final[Texts] = {"fr": "Vous pouvez vous y opposer.", "en": "You can object to it."}
NO_OBJECTION: Final[Texts] = {
    "fr": "Ce texte ne prévoit pas d'opposition. Vous pouvez demander un effacement ou une rectification à "
    "l'administration.",
    "en": "This text provides for no objection. You can ask the administration to erase or correct what it has.",
}

NEXT: Final[Mapping[str, Texts]] = {
    "given": {
        "fr": "À votre prochaine déclaration de ce type, cette administration recevra ces informations.",
        "en": "With your next declaration of this type, this administration will receive this information.",
    },
    "given-once": {
        "fr": "Cette administration recevra ces informations avec une seule déclaration de ce type : la prochaine.",
        "en": "This administration will receive this information with one declaration of this type: the next one.",
    },
    "paused": {
        "fr": "Tant que la pause dure, cette administration ne reçoit rien. Ce qui attend part à la reprise.",
        "en": "While the pause lasts this administration receives nothing. What waits goes out when you resume.",
    },
    "resumed": {
        "fr": "Ce qui attendait part maintenant, et vos prochaines déclarations de ce type aussi.",
        "en": "What waited goes out now, and so do your next declarations of this type.",
    },
    "narrowed": {
        "fr": "Dès maintenant, cette administration ne reçoit plus que les informations que vous avez gardées.",
        "en": "From now on this administration receives only the information that you have kept.",
    },
    "ended": {
        "fr": "Dès maintenant, cette administration ne reçoit plus rien par cette autorisation. Elle garde ce "
        "qu'elle a déjà reçu : demandez-lui de l'effacer.",
        "en": "From now on this administration receives nothing more by this. What it has received it has: ask it to "
        "erase that.",
    },
    "objected": {
        "fr": "Dès maintenant, plus rien de vous ne part vers cette administration par cette loi.",
        "en": "From now on nothing of yours goes to this administration by this law.",
    },
    "objection-withdrawn": {
        "fr": "À votre prochaine déclaration de ce type, la loi s'applique de nouveau. Rien de plus ancien ne part.",
        "en": "With your next declaration of this type the law applies again. Nothing older goes out.",
    },
}
"""What each change means for the next time."""
