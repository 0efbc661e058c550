"""Receipts: one text file that a citizen or an agency keeps, and that proves an entry of the ledger without us.

Refuses: a sentence that is not what the proven entry says; an entry that the proof does not prove.
Keeps: from its `c2sp.org/tlog-proof` line on, the file is a proof that foreign tools read; above are the sentences, and
    they are written anew from the entry and compared, so nobody can put a false sentence above a true proof.
Source: docs/protocol.md, section 8; c2sp.org/tlog-proof, with the entry's bytes in its `extra` line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from schemas import merkle, proof
from schemas.checkpoint import Checkpoint, Cosigned
from schemas.entry import Entry, EntryKind
from schemas.errors import Refused
from schemas.instants import rfc3339
from schemas.messages import Language
from schemas.names import Instant
from schemas.note import VerifierKey
from schemas.proof import Proof

RECEIPT_BYTES: Final = proof.PROOF_BYTES + 4_096
"""A proof of the largest size, and the sentences."""

_TITLES: Final[Mapping[Language, str]] = {"fr": "Reçu Unefois, version 1", "en": "Unefois receipt, version 1"}
_FRAMES: Final[Mapping[Language, str]] = {
    "fr": (
        "{title}\n\n"
        "Ce fichier prouve que le registre {origin} contient, au numéro {index}, le fait suivant.\n"
        "Pour le vérifier, sans réseau : unefois audit check CE-FICHIER --key CLÉ-DU-REGISTRE\n\n"
        "{facts}\n"
        "La preuve, à conserver telle quelle :\n\n"
    ),
    "en": (
        "{title}\n\n"
        "This file proves that the ledger {origin} holds, as number {index}, the following fact.\n"
        "To check it, without a network: unefois audit check THIS-FILE --key KEY-OF-THE-LEDGER\n\n"
        "{facts}\n"
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
    "subject": ("personne", "person"),
    "detail": ("détail", "detail"),
}
_MEANINGS: Final[Mapping[EntryKind, tuple[str, str]]] = {
    EntryKind.RECEIVED: ("une déclaration a été reçue et vérifiée", "a declaration was received and verified"),
    EntryKind.REFUSED: ("une déclaration a été refusée", "a declaration was refused"),
    EntryKind.PLANNED: ("une livraison a été préparée", "a delivery was prepared"),
    EntryKind.WITHHELD: ("rien n'a été transmis", "nothing was handed over"),
    EntryKind.RELEASED: (
        "le destinataire a reçu de quoi lire ces champs",
        "the recipient was enabled to read these fields",
    ),
    EntryKind.APPLIED: ("le destinataire a enregistré la livraison", "the recipient has recorded the delivery"),
    EntryKind.REJECTED: ("le destinataire a rejeté la livraison", "the recipient has rejected the delivery"),
    EntryKind.GRANTED: ("un consentement a été donné", "a consent was given"),
    EntryKind.CHANGED: ("un consentement a été modifié", "a consent was changed"),
    EntryKind.REVOKED: ("un consentement a été retiré", "a consent was withdrawn"),
    EntryKind.EXPIRED: ("un consentement a expiré", "a consent has expired"),
    EntryKind.CORRECTED: ("une déclaration en corrige une autre", "a declaration corrects another one"),
    EntryKind.KEY_ADDED: ("une clé a été ajoutée à l'annuaire", "a key was added to the directory"),
    EntryKind.KEY_REVOKED: ("une clé a été révoquée", "a key was revoked"),
    EntryKind.SUBSCRIPTION_APPROVED: ("un abonnement a été approuvé", "a subscription was approved"),
    EntryKind.SUBSCRIPTION_ENDED: ("un abonnement a pris fin", "a subscription has ended"),
    EntryKind.EPOCH_DESTROYED: ("les clés d'une époque ont été détruites", "the keys of an epoch were destroyed"),
    EntryKind.VIEWED: ("un dossier a été consulté", "a file was looked at"),
    EntryKind.REPLAYED: ("une livraison en attente a été relancée", "a parked delivery was tried again"),
    EntryKind.PARTY_ADDED: ("une administration a été inscrite", "an administration was registered"),
    EntryKind.RIGHT_GRANTED: ("une source peut déclarer ce type", "a source may declare this type"),
    EntryKind.RIGHT_ENDED: ("une source ne peut plus déclarer ce type", "a source may declare this type no more"),
    EntryKind.POLICY_SET: ("des signatures sont exigées d'une source", "signatures are demanded of a source"),
}
_COLUMN: Final = max(len(label) for pair in _LABELS.values() for label in pair) + 2


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """A proven fact: entry number `index` (from 0) of the log `origin`, seen in its tree of `size` entries."""

    entry: Entry
    index: int
    size: int
    origin: str
    witnesses: tuple[Cosigned, ...]


def meaning(entry: Entry, language: Language) -> tuple[tuple[str, str], ...]:
    """What an entry says, as (label, text) in the order of the entry; what it does not name is left out."""
    column = 0 if language == "fr" else 1
    told = {name: getattr(entry, name) for name in _LABELS}
    words = {name: _words(name, value, column) for name, value in told.items() if value is not None}
    return tuple((_LABELS[name][column], text) for name, text in words.items())


def make(entry: Entry, found: Proof, language: Language = "fr") -> str:
    """The receipt's text: sentences, then the proof with the entry's bytes in it.

    Nothing is verified here: whoever makes a receipt runs `check` on it before handing it out.
    Raises Refused: what `Checkpoint.parse` raises.
    """
    tree = Checkpoint.parse(found.signed.text)
    facts = "".join(f"  {label:<{_COLUMN}}{text}\n" for label, text in meaning(entry, language))
    above = _FRAMES[language].format(title=_TITLES[language], origin=tree.origin, index=found.index, facts=facts)
    return above + replace(found, extra=entry.encode()).encode().decode()


def check(text: str, log: VerifierKey, witnesses: Sequence[VerifierKey] = (), needed: int = 0) -> CheckedReceipt:
    """Prove a receipt with nothing but the log's key, and the witnesses' if any are needed.

    A mark of byte order and Windows line ends are forgiven: an editor put them there, and nothing is read from them.
    Raises Refused: `receipt.*`; `proof.*` and `note.*`; `entry.*`, `avro.*` and `name.*`; `checkpoint.*`; `merkle.*`.
    """
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if len(plain) > RECEIPT_BYTES:
        raise Refused("receipt.too-long", got=len(plain), limit=RECEIPT_BYTES)
    language = _language(plain)  # 1 this is a receipt, and in this language
    found = _proof(plain)  # 2 the proof has one spelling
    if not found.extra:
        raise Refused("receipt.no-entry")
    entry = Entry.decode(found.extra)  # 3 the entry has one spelling, and says all that its kind must
    leaf = merkle.leaf_hash(found.extra)
    seen = proof.verify(found, leaf, log, witnesses, needed)  # 4 log 5 witnesses 6 inclusion: an entry that was made up
    if make(entry, found, language) != plain:  # 7 a false sentence above a true proof
        raise Refused("receipt.meaning-differs")
    tree = seen.at.checkpoint
    return CheckedReceipt(entry, found.index, tree.size, tree.origin, seen.at.witnesses)


def _language(text: str) -> Language:
    title = text.partition("\n")[0]
    for language, known in _TITLES.items():
        if title == known:
            return language
    raise Refused("receipt.not-a-receipt")


def _proof(text: str) -> Proof:
    _, mark, below = text.partition(f"\n{proof.HEADER}\n")
    if not mark:
        raise Refused("receipt.no-proof")
    return Proof.parse((mark[1:] + below).encode("utf-8", "replace"))  # a lone surrogate becomes ?, and step 7 sees it


def _words(name: str, value: object, column: int) -> str:
    match value:
        case EntryKind():
            return f"{value.value}: {_MEANINGS[value][column]}"
        case int() if name == "at":
            return rfc3339(Instant(value))
        case bytes() if name == "fields":
            return ", ".join(str(at) for at in range(len(value) * 8) if value[at // 8] & 0x80 >> at % 8)
        case bytes() if name == "grant":
            return str(UUID(bytes=value))
        case bytes():
            return value.hex()
        case _:
            return str(getattr(value, "value", value))
