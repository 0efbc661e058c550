"""The ledger's vectors, made from fixed inputs: `python -m tests.vectors.ledger` writes protocol/ledger-v2.json anew.

Whoever writes another reader has in them every byte that is hashed, and what it gives.
"""

import json
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from consent.basis import Basis, BasisKind
from consent.grant import Grant, Scope, Status
from consent.rows import DIGESTED, digest_of, row_of
from schemas import checkpoint, merkle, receipt
from schemas.checkpoint import Checkpoint
from schemas.entry import OPEN_FACTS, Opening, kind_of, opened
from schemas.facts import FactKind, Facts, subject_commitment
from schemas.names import (
    Capacity,
    Channel,
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    Kid,
    ManifestDigest,
    PartyId,
    Purpose,
    Reason,
    SchemaId,
    SubjectRef,
)
from schemas.note import VerifierKey
from schemas.proof import Proof
from schemas.signing import Algorithm, PrivateKey

FILE: Final = Path(__file__).parent / "protocol" / "ledger-v2.json"
ORIGIN: Final = "example.org/ledger"
WINDOW, AT = Instant(1_789_999_980_000), Instant(1_790_000_000_123)
SUBJECT, SALT = SubjectRef(bytes(range(32))), bytes(range(16))
COMMITTED: Final = subject_commitment(SALT, SUBJECT)
BROKER, TOWN, CAF = PartyId("urn:unefois:broker"), PartyId("urn:fr:siret:21440109300015"), PartyId("urn:unefois:caf")
GRANT: Final = Grant(
    id=GrantId(bytes.fromhex("0190d3a47b6c7e8f9a0b1c2d3e4f5061")),
    version=2,
    subject=SUBJECT,
    recipient=CAF,
    event_type=EventType("fr.unefois.address.changed.v1"),
    schema=SchemaId(bytes([7]) * 32),
    fields=frozenset({"subject", "new_address", "household"}),
    purpose=Purpose("family-benefits"),
    basis=Basis(BasisKind.CONSENT),
    granted_at=Instant(AT - 9_000),
    starts_at=Instant(AT - 9_000),
    expires_at=None,
    scope=Scope.ONCE,
    once_for=DeclarationId(bytes([9]) * 16),
    status=Status.ACTIVE,
    given_by="self",
    capacity=Capacity.SELF,
    channel=Channel.ONLINE,
    language="fr",
    text_hash=bytes([5]) * 32,
    changed_at=AT,
)
_ABOUT: Final[dict[str, Any]] = {
    "recipient": CAF,
    "event_type": GRANT.event_type,
    "purpose": GRANT.purpose,
    "grant": GRANT.id,
    "grant_version": 2,
    "subject": COMMITTED,
}
_DELIVERY: Final = _ABOUT | {
    "declaration": ManifestDigest(bytes([1]) * 32),
    "delivery": DeliveryId(bytes([2]) * 16),
    "fields": b"\xa0\x01",
}
_DIGEST: Final = digest_of(GRANT)
TOLD: Final[tuple[Facts, ...]] = (
    Facts(
        AT,
        FactKind.RECEIVED,
        TOWN,
        event_type=GRANT.event_type,
        declaration=_DELIVERY["declaration"],
        subject=COMMITTED,
    ),
    Facts(AT, FactKind.REFUSED, TOWN, reason=Reason.INVALID_SIGNATURE, count=37, detail=bytes([3]) * 32),
    Facts(AT, FactKind.GRANTED, BROKER, **_ABOUT | {"grant_version": 1}, basis="consent", detail=bytes([4]) * 32),
    Facts(AT, FactKind.CHANGED, BROKER, **_ABOUT, basis="consent", detail=_DIGEST),
    Facts(AT, FactKind.PLANNED, BROKER, **_DELIVERY, basis="consent"),
    Facts(Instant(AT + 1), FactKind.RELEASED, BROKER, **_DELIVERY, basis="consent", sealed_to=Kid(bytes([6]) * 32)),
    Facts(Instant(AT + 2), FactKind.APPLIED, CAF, **_DELIVERY),
    Facts(Instant(AT + 2), FactKind.REJECTED, CAF, **_DELIVERY, reason=Reason.SYSTEM_REFUSED),
    Facts(Instant(AT + 2), FactKind.WITHHELD, BROKER, **_DELIVERY, reason=Reason.REVOKED),
    Facts(AT, FactKind.WITHHELD, BROKER, recipient=CAF, declaration=_DELIVERY["declaration"], reason=Reason.UNSOUND),
    Facts(AT, FactKind.VIEWED, TOWN, subject=COMMITTED),
    Facts(AT, FactKind.KEY_ADDED, BROKER, recipient=CAF, detail=bytes([6]) * 32),
    Facts(AT, FactKind.ERASED, BROKER, detail=bytes([8]) * 32),
)
"""One of each shape."""


def _plain(value: object) -> object:
    value = getattr(value, "value", value)
    return value.hex() if isinstance(value, bytes) else value


def _entry(number: int, facts: Facts) -> dict[str, Any]:
    told = {field.name: _plain(getattr(facts, field.name)) for field in fields(Facts)}
    out: dict[str, Any] = {"told": {name: value for name, value in told.items() if value is not None}}
    out |= {"facts": facts.encode().hex(), "window": WINDOW}
    if facts.kind in OPEN_FACTS:
        entry = opened(WINDOW, facts)
    else:
        with_plan = facts.kind in {FactKind.PLANNED, FactKind.RELEASED}
        plan_blind = sha256(b"plan").digest() if with_plan else None
        opening = Opening(sha256(b"%d" % number).digest(), plan_blind, facts)
        entry = opening.seal(WINDOW, sha256(b"tag").digest()[:16])
        out |= {"blind": opening.blind.hex(), "opening": opening.encode().hex()}
        if plan_blind is not None:
            out |= {"plan": facts.plan().hex(), "plan_blind": plan_blind.hex()}
    for name in ("tag", "content"):
        value = getattr(entry, name)
        out |= {} if value is None else {name: value.hex()}
    commitment = {} if entry.facts is None else {"commitment": entry.facts.hex()}
    return out | commitment | {"kind": entry.kind.value, "entry": entry.encode().hex(), "leaf": entry.leaf_hash().hex()}


def _receipts(entries: list[dict[str, Any]]) -> dict[str, Any]:
    key = PrivateKey.from_raw(Algorithm.ED25519, bytes([1] * 32))
    leaves = [bytes.fromhex(one["leaf"]) for one in entries]

    def read(level: int, index: int) -> bytes:
        return merkle.root_of(leaves[index << level : (index + 1) << level])

    signed = checkpoint.sign(Checkpoint(ORIGIN, len(leaves), merkle.root_of(leaves)), key)
    texts = []
    for index, language in ((5, "fr"), (5, "en"), (11, "en")):
        found = Proof(index, merkle.inclusion_proof(index, len(leaves), read), signed)
        facts = TOLD[index]
        opening = None if facts.kind in OPEN_FACTS else Opening.decode(bytes.fromhex(entries[index]["opening"]))
        entry = opened(WINDOW, facts) if opening is None else opening.seal(WINDOW, bytes.fromhex(entries[index]["tag"]))
        text = receipt.make(entry, opening, found, "fr" if language == "fr" else "en")
        texts.append({"language": language, "index": index, "text": text})
    return {"origin": ORIGIN, "vkey": VerifierKey.of(ORIGIN, key).text, "receipts": texts}


def made() -> dict[str, Any]:
    """Everything, as the file has it."""
    entries = [_entry(number, facts) for number, facts in enumerate(TOLD)]
    row = row_of(GRANT)
    plain = {name: _plain(row[name]) for name in DIGESTED}
    return {
        "about": "The ledger's entries: what is hashed, and what that gives. Bytes in hexadecimal.",
        "subject": {"reference": SUBJECT.hex(), "salt": SALT.hex(), "commitment": COMMITTED.hex()},
        "grant": {"json": json.dumps(plain, sort_keys=True, separators=(",", ":")), "digest": _DIGEST.hex()},
        "entries": entries,
        "kinds": [kind_of(facts).value for facts in TOLD],
        **_receipts(entries),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n", "utf-8")
