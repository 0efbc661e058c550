"""Receipts: one text file that a citizen or an agency keeps, and that proves a fact of the ledger without us.

Refuses: a sentence that is not what the opening says; an opening of another entry; an entry that the proof does not
    prove.
Keeps: from its `c2sp.org/tlog-proof` line on, the file is a proof that foreign tools read; above are the sentences and
    the opening, which are written anew and compared, so nobody can put a false sentence above a true proof. A receipt
    of the first format, whose entries were in clear, stays checkable.
Source: docs/protocol.md, section 8; c2sp.org/tlog-proof, with the entry's bytes in its `extra` line.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from schemas import facts_v1, merkle, proof
from schemas.checkpoint import Checkpoint, Cosigned
from schemas.entry import OPEN_FACTS, Entry, Opening
from schemas.errors import Refused
from schemas.facts import KINDS, REASONS, REQUIRED, FactKind, Facts
from schemas.messages import Language
from schemas.names import Instant, rfc3339, uuid_text
from schemas.note import VerifierKey
from schemas.proof import Proof

RECEIPT_BYTES: Final = proof.PROOF_BYTES + 8_192
"""A proof of the largest size, the sentences, and an opening."""

_TITLES: Final[Mapping[Language, str]] = {
    "fr": "Reçu Unefois, version {version}",
    "en": "Unefois receipt, version {version}",
}
_VERSIONS: Final = (2, 1)
_OPENINGS: Final[Mapping[Language, str]] = {
    "fr": "Ce qui ouvre l'entrée du registre, qui sans cela ne dit rien à personne :\n\n{opening}\n\n",
    "en": "What opens the ledger's entry, which without it tells nobody anything:\n\n{opening}\n\n",
}
_FRAMES: Final[Mapping[Language, str]] = {
    "fr": (
        "{title}\n\n"
        "Ce fichier prouve que le registre {origin} contient, au numéro {index}, le fait suivant.\n"
        "Pour le vérifier, sans réseau : unefois audit check CE-FICHIER --key CLÉ-DU-REGISTRE\n\n"
        "{facts}\n"
        "{opening}"
        "La preuve, à conserver telle quelle :\n\n"
    ),
    "en": (
        "{title}\n\n"
        "This file proves that the ledger {origin} holds, as number {index}, the following fact.\n"
        "To check it, without a network: unefois audit check THIS-FILE --key KEY-OF-THE-LEDGER\n\n"
        "{facts}\n"
        "{opening}"
        "The proof, to be kept as it is:\n\n"
    ),
}
_LABELS: Final[Mapping[str, tuple[str, str]]] = {
    "kind": ("fait", "fact"),
    "at": ("instant", "instant"),
    "actor": ("acteur", "actor"),
    "recipient": ("destinataire", "recipient"),
    "event_type": ("type", "type"),
    "purpose": ("finalité", "purpose"),
    "declaration": ("déclaration", "declaration"),
    "delivery": ("livraison", "delivery"),
    "grant": ("consentement", "consent"),
    "grant_version": ("version", "version"),
    "fields": ("champs", "fields"),
    "reason": ("raison", "reason"),
    "basis": ("base", "basis"),
    "sealed_to": ("clé", "key"),
    "count": ("nombre", "count"),
    "subject": ("personne", "person"),
    "detail": ("détail", "detail"),
}
_MEANINGS: Final[Mapping[FactKind, tuple[str, str]]] = {
    FactKind.RECEIVED: ("une déclaration a été reçue et vérifiée", "a declaration was received and verified"),
    FactKind.REFUSED: ("une déclaration a été refusée", "a declaration was refused"),
    FactKind.PLANNED: ("une livraison a été préparée", "a delivery was prepared"),
    FactKind.WITHHELD: ("rien n'a été transmis", "nothing was handed over"),
    FactKind.RELEASED: (
        "le destinataire a reçu de quoi lire ces champs",
        "the recipient was enabled to read these fields",
    ),
    FactKind.APPLIED: ("le destinataire a enregistré la livraison", "the recipient has recorded the delivery"),
    FactKind.REJECTED: ("le destinataire a rejeté la livraison", "the recipient has rejected the delivery"),
    FactKind.ANSWERED: (
        "le destinataire n'a pas enregistré la livraison, et ne l'a pas refusée",
        "the recipient has not recorded the delivery, and has not refused it",
    ),
    FactKind.GRANTED: ("un consentement a été donné", "a consent was given"),
    FactKind.CHANGED: ("un consentement a été modifié", "a consent was changed"),
    FactKind.REVOKED: ("un consentement a été retiré", "a consent was withdrawn"),
    FactKind.EXPIRED: ("un consentement a expiré", "a consent has expired"),
    FactKind.CORRECTED: ("une déclaration en corrige une autre", "a declaration corrects another one"),
    FactKind.KEY_ADDED: ("une clé a été ajoutée à l'annuaire", "a key was added to the directory"),
    FactKind.KEY_REVOKED: ("une clé a été révoquée", "a key was revoked"),
    FactKind.SUBSCRIPTION_APPROVED: ("un abonnement a été approuvé", "a subscription was approved"),
    FactKind.SUBSCRIPTION_ENDED: ("un abonnement a pris fin", "a subscription has ended"),
    FactKind.EPOCH_DESTROYED: ("les clés d'une époque ont été détruites", "the keys of an epoch were destroyed"),
    FactKind.VIEWED: ("un dossier a été consulté", "a file was looked at"),
    FactKind.REPLAYED: ("une livraison en attente a été relancée", "a parked delivery was tried again"),
    FactKind.PARTY_ADDED: ("une administration a été inscrite", "an administration was registered"),
    FactKind.RIGHT_GRANTED: ("une source peut déclarer ce type", "a source may declare this type"),
    FactKind.RIGHT_ENDED: ("une source ne peut plus déclarer ce type", "a source may declare this type no more"),
    FactKind.POLICY_SET: ("des signatures sont exigées d'une source", "signatures are demanded of a source"),
    FactKind.LEDGER_OPENED: ("ce registre prend la suite d'un autre", "this ledger goes on where another ended"),
    FactKind.CARRIED: (
        "un consentement en vigueur a été repris dans ce registre",
        "a consent in force was carried over into this ledger",
    ),
    FactKind.MIGRATED: (
        "tout ce qui est en vigueur a été repris dans ce registre",
        "everything in force was carried over into this ledger",
    ),
    FactKind.ERASED: ("ce qui ouvre des entrées a été effacé", "what opens some entries was erased"),
    FactKind.DISCLOSED: (
        "ce qui ouvre les entrées d'une période a été remis à un auditeur",
        "what opens the entries of a period was given to an auditor",
    ),
    FactKind.OPERATOR_ADDED: ("un agent du courtier a reçu un compte", "somebody of the broker got an account"),
    FactKind.OPERATOR_CHANGED: ("le compte d'un agent a changé", "the account of somebody of the broker was changed"),
    FactKind.OPERATOR_ENDED: ("le compte d'un agent a pris fin", "the account of somebody of the broker has ended"),
    FactKind.ACTED: ("un agent du courtier a agi", "somebody of the broker has acted"),
    FactKind.PARTY_CHANGED: (
        "les coordonnées d'une administration ont changé",
        "how an administration is called was changed",
    ),
    FactKind.RULE_APPROVED: (
        "par la loi, une administration reçoit ce type de déclaration pour tous",
        "by law, an administration receives this type of declaration about everybody",
    ),
    FactKind.RULE_ENDED: ("une règle prévue par la loi a pris fin", "a rule by law has ended"),
    FactKind.RULE_NARROWED: ("une règle prévue par la loi a été réduite", "a rule by law was narrowed"),
    FactKind.PURPOSE_APPROVED: (
        "une finalité a été ajoutée à celles qui peuvent être nommées",
        "a purpose was added to those that can be named",
    ),
    FactKind.OBJECTED: ("une personne s'est opposée à une règle", "a person has objected to a rule"),
    FactKind.OBJECTION_WITHDRAWN: (
        "une personne a retiré son opposition à une règle",
        "a person has withdrawn their objection to a rule",
    ),
    FactKind.RETRACTED: (
        "une déclaration a été annulée, rappelée ou arrêtée",
        "a declaration was cancelled, recalled or stopped",
    ),
    FactKind.RETRACTION_LIFTED: (
        "une personne a arrêté le rappel de sa déclaration",
        "a person has stopped the recall of their declaration",
    ),
    FactKind.CHANNEL_ADDED: (
        "une adresse où prévenir une personne a été ajoutée",
        "an address at which a person is told was added",
    ),
    FactKind.CHANNEL_ENDED: (
        "une adresse où prévenir une personne a été retirée",
        "an address at which a person is told was taken away",
    ),
    FactKind.REPRESENTATION_STARTED: (
        "une personne peut agir pour une autre",
        "a person may act for another",
    ),
    FactKind.REPRESENTATION_ENDED: (
        "une personne ne peut plus agir pour une autre",
        "a person may act for another no more",
    ),
    FactKind.ACTED_FOR: (
        "une déclaration a été faite par une personne pour une autre",
        "a declaration was made by one person for another",
    ),
    FactKind.DECLARATION_ERASED: (
        "ce qui était scellé d'une déclaration a été effacé à la demande de la personne",
        "what was sealed of a declaration was erased on the person's word",
    ),
    FactKind.REFERENCE_RENEWED: (
        "une personne est reconnue sous une autre écriture de son identité",
        "a person is known again under another spelling of their identity",
    ),
    FactKind.LINK_ASKED: (
        "il a été demandé de rapprocher deux identités d'une même personne",
        "it was asked to link two identities of one person",
    ),
    FactKind.LINK_CONFIRMED: (
        "le rapprochement de deux identités d'une même personne a été confirmé",
        "the link between two identities of one person was confirmed",
    ),
    FactKind.LINK_ENDED: (
        "le rapprochement de deux identités a été refusé ou a pris fin",
        "the link between two identities was refused or has ended",
    ),
    FactKind.CODE_GIVEN: (
        "un code pour se connecter à votre place a été établi",
        "a code was made by which one signs in as you",
    ),
}
_COLUMN: Final = max(len(label) for pair in _LABELS.values() for label in pair) + 2


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A proven fact: entry number `index` (from 0) of the log `origin`, seen in its tree of `size` entries.

    `entry` is what anyone reads there; None for a receipt of the first format, whose entries were the facts.
    """

    facts: Facts
    entry: Entry | None
    index: int
    size: int
    origin: str
    witnesses: tuple[Cosigned, ...]


def meaning(facts: Facts, language: Language, *, older: bool = False) -> tuple[tuple[str, str], ...]:
    """What facts say, as (label, text) in the order of the encoding; what they do not name is left out.

    `older`: as it was written when the id of a delivery had no dashes.
    """
    column = 0 if language == "fr" else 1
    told = {name: getattr(facts, name) for name in _LABELS}
    words = {name: _words(name, value, column, older) for name, value in told.items() if value is not None}
    return tuple((_LABELS[name][column], text) for name, text in words.items())


def make(entry: Entry, opening: Opening | None, found: Proof, language: Language = "fr", *, older: bool = False) -> str:
    """The receipt's text: sentences, the opening of a sealed entry, then the proof with the entry's bytes in it.

    Nothing is verified here: whoever makes a receipt runs `check` on it before handing it out.
    Raises Refused: `receipt.no-opening`, and what `Checkpoint.parse` raises.
    """
    facts = entry.open if opening is None else opening.facts
    if facts is None:
        raise Refused("receipt.no-opening")
    spelled = "" if opening is None else _OPENINGS[language].format(opening=b64encode(opening.encode()).decode())
    return _text(2, facts, spelled, replace(found, extra=entry.encode()), language, older=older)


def wording() -> dict[str, Any]:
    """Every sentence that a receipt of the second format may have, and what its facts need, for whoever checks one with
    other means than this: JSON types only.
    """
    both = ("fr", "en")
    return {
        "titles": dict(_TITLES),
        "openings": dict(_OPENINGS),
        "frames": dict(_FRAMES),
        "labels": [[name, dict(zip(both, pair, strict=True))] for name, pair in _LABELS.items()],
        "meanings": {kind.value: dict(zip(both, pair, strict=True)) for kind, pair in _MEANINGS.items()},
        "column": _COLUMN,
        "kinds": list(KINDS),
        "reasons": list(REASONS),
        "required": {kind.value: list(names) for kind, names in REQUIRED.items()},
        "open": sorted(kind.value for kind in OPEN_FACTS),
    }


def _text(version: int, facts: Facts, opening: str, found: Proof, language: Language, *, older: bool) -> str:
    tree = Checkpoint.parse(found.signed.text)
    title = _TITLES[language].format(version=version)
    lines = "".join(f"  {label:<{_COLUMN}}{text}\n" for label, text in meaning(facts, language, older=older))
    frame = _FRAMES[language]
    above = frame.format(title=title, origin=tree.origin, index=found.index, facts=lines, opening=opening)
    return above + found.encode().decode()


def check(text: str, log: VerifierKey, witnesses: Sequence[VerifierKey] = (), needed: int = 0) -> CheckedReceipt:
    """Prove a receipt with nothing but the log's key, and the witnesses' if any are needed.

    A mark of byte order and Windows line ends are forgiven: an editor put them there, and nothing is read from them.
    Raises Refused: `receipt.*`; `proof.*` and `note.*`; `entry.*`, `avro.*` and `name.*`; `checkpoint.*`; `merkle.*`.
    """
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if len(plain) > RECEIPT_BYTES:
        raise Refused("receipt.too-long", got=len(plain), limit=RECEIPT_BYTES)
    version, language = _title(plain)  # 1 this is a receipt, of this format and in this language
    found = _proof(plain)  # 2 the proof has one spelling
    if not found.extra:
        raise Refused("receipt.no-entry")
    if version == 1:
        entry, facts = None, facts_v1.decode(found.extra)
        spellings = {_text(1, facts, "", found, language, older=True)}
    else:
        entry = Entry.decode(found.extra)  # 3 the entry has one spelling, and all that its kind must
        opening = None if entry.open is not None else _opening(plain, language)
        facts = _opened(entry, opening)  # 4 an opening of another entry, or one that was made up
        spellings = {make(entry, opening, found, language, older=older) for older in (False, True)}
    leaf = merkle.leaf_hash(found.extra)
    seen = proof.verify(found, leaf, log, witnesses, needed)  # 5 log 6 witnesses 7 inclusion: an entry that was made up
    if plain not in spellings:  # 8 a false sentence above a true proof
        raise Refused("receipt.meaning-differs")
    tree = seen.at.checkpoint
    return CheckedReceipt(facts, entry, found.index, tree.size, tree.origin, seen.at.witnesses)


def _title(text: str) -> tuple[int, Language]:
    title = text.partition("\n")[0]
    for version in _VERSIONS:
        for language, known in _TITLES.items():
            if title == known.format(version=version):
                return version, language
    raise Refused("receipt.not-a-receipt")


def _opening(text: str, language: Language) -> Opening:
    before, after = _OPENINGS[language].split("{opening}")
    _, mark, below = text.partition(before)
    spelled, end, _ = below.partition(after)
    if not mark or not end:
        raise Refused("receipt.no-opening")
    try:
        raw = b64decode(spelled, validate=True)
    except ValueError:
        raise Refused("receipt.no-opening") from None
    return Opening.decode(raw)


def _opened(entry: Entry, opening: Opening | None) -> Facts:
    if opening is not None:
        return opening.check(entry)
    if entry.open is None:
        raise Refused("receipt.no-opening")
    return entry.open


def _proof(text: str) -> Proof:
    _, mark, below = text.partition(f"\n{proof.HEADER}\n")
    if not mark:
        raise Refused("receipt.no-proof")
    return Proof.parse((mark[1:] + below).encode("utf-8", "replace"))  # a lone surrogate becomes ?, and step 7 sees it


def _words(name: str, value: object, column: int, older: bool) -> str:
    match value:
        case FactKind():
            return f"{value.value}: {_MEANINGS[value][column]}"
        case int() if name == "at":
            return rfc3339(Instant(value))
        case bytes() if name == "fields":
            return ", ".join(str(at) for at in range(len(value) * 8) if value[at // 8] & 0x80 >> at % 8)
        case bytes() if name == "grant" or (name == "delivery" and not older):
            return uuid_text(value)
        case bytes():
            return value.hex()
        case _:
            return str(getattr(value, "value", value))
