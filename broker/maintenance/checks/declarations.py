"""Declaration checks: submissions, declarations, withholdings and ledger tell one story, byte for byte."""

import json
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, select

from broker.flow.erased import EMPTY
from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.ground import Asked, Ground
from broker.maintenance.checks.parts import Part
from broker.store.engine import Transaction
from broker.store.tables import declarations
from consent.asking import one_of
from schemas import signing
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.envelope import SignedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.intake_receipt import RECEIPT_TYPE
from schemas.names import DeliveryId, Instant, Kid, Reason

Gone = frozenset[bytes]
"""Digests of manifests of which the ledger tells and which pruning took away."""
Roots = Mapping[tuple[str, bytes], bytes | None]
"""The first of each chain of corrections, by source and id of a declaration."""
_RECEIVED = {FactKind.RECEIVED, FactKind.CORRECTED}
_AT_ONCE = 500


async def gone(tx: Transaction, part: Part, entries: Sequence[Facts], horizon: Instant | None, erased: Instant) -> Gone:
    """What the ledger tells of and pruning may have taken: routed up to `horizon`, and not there.

    When it was received, the ledger may tell no more of what is older than `erased`.
    """
    named = {bytes(entry.declaration) for entry in entries if entry.declaration is not None}
    received = {
        bytes(entry.declaration): entry.at
        for entry in entries
        if entry.kind in _RECEIVED and entry.declaration is not None
    }
    latest = -1 if horizon is None else horizon
    unknown = erased if erased >= 0 else latest + 1
    old = {of for of in named if received.get(of, unknown) <= latest}
    old -= {row.manifest_digest for row in part.of("declarations")}
    return frozenset(old - await _elsewhere(tx, sorted(old)))


async def _elsewhere(tx: Transaction, digests: Sequence[bytes]) -> set[bytes]:
    """Those that are there after all, as somebody else's."""
    found: set[bytes] = set()
    for at in range(0, len(digests), _AT_ONCE):
        rows = await tx.execute(_OF_MANIFESTS, {"digests": digests[at : at + _AT_ONCE]})
        found |= {bytes(one) for one in rows.scalars()}
    return found


async def roots(tx: Transaction, part: Part) -> Roots:
    """Of what the declarations of a part correct, wherever that is."""
    wanted, found = sorted({row.corrects for row in part.of("declarations") if row.corrects is not None}), {}
    for at in range(0, len(wanted), _AT_ONCE):
        for row in await tx.execute(_OF_IDS, {"ids": wanted[at : at + _AT_ONCE]}):
            found[row.source, row.declaration_id] = row.root
    return found


_OF_MANIFESTS = select(declarations.c.manifest_digest).where(one_of(declarations.c.manifest_digest, "digests"))
_OF_IDS = select(declarations.c.source, declarations.c.declaration_id, declarations.c.root).where(
    one_of(declarations.c.declaration_id, "ids")
)


@dataclass(frozen=True, slots=True)
class Told:
    """What the ledger says of a part's citizens."""

    entries: Sequence[Facts]
    """In the order of writing."""
    forgotten: Gone
    """Of what it tells, those that pruning took."""
    erased: Instant
    """Up to this instant it may say no more."""
    tags: Mapping[bytes, DeliveryId]
    """The delivery of each tag that something opens."""


def check(part: Part, said: Told, roots: Roots, ground: Ground) -> Iterator[Finding]:
    """Every check of what a part's citizens declared. `roots`: as the function gives them."""
    directory = ground.directory
    if directory is None:
        return
    written = {(row.source, row.declaration_id): row for row in part.of("submissions")}
    for one in written.values():
        yield from receipt(one, directory)
    told: dict[bytes, list[Facts]] = {}
    for entry in said.entries:
        if entry.kind in _RECEIVED and entry.declaration is not None:
            told.setdefault(bytes(entry.declaration), []).append(entry)
    erased = {bytes(one.declaration or b"") for one in said.entries if one.kind is FactKind.DECLARATION_ERASED}
    for row in part.of("declarations"):
        yield from _erased(row, erased, said.erased)
        yield from _accepted(row, written.get((row.source, row.declaration_id)))
        if row.envelope != EMPTY:
            yield from _signed(row, directory, ground.catalogue)
        yield from _told(row, told.pop(row.manifest_digest, []), roots, said.erased)
    for digest in told.keys() - said.forgotten:
        yield Finding(
            "declarations.missing", f"manifests/{digest.hex()}", "the ledger tells of it, but it is not there"
        )
    yield from _withholdings(part, said, ground.asked)


def _erased(row: Row[Any], told: Collection[bytes], until: Instant) -> Iterator[Finding]:
    """A row is empty where the ledger says that it was erased, and nowhere else."""
    place, empty, said = f"declarations/{row.seq}", row.envelope == EMPTY, row.manifest_digest in told
    if said and not empty:
        yield Finding("declarations.came-back", place, "it was erased on its citizen's word, and is there again")
    if empty and not said and row.routed_at > until:
        yield Finding("declarations.emptied", place, "the ledger does not say that it was erased")


def _accepted(row: Row[Any], submission: Row[Any] | None) -> Iterator[Finding]:
    place = f"declarations/{row.seq}"
    other = submission is not None and submission.envelope_digest != sha256(row.envelope).digest()
    if submission is None or (other and row.envelope != EMPTY):
        yield Finding("declarations.not-accepted", place, "the intake never accepted these bytes")
        return
    kept = (submission.subject, submission.received_at, submission.event_type)
    if kept != (row.subject, row.received_at, row.event_type):
        yield Finding("declarations.differs", place, "subject, time or type differ from what the intake wrote down")
    if row.trace is not None and (len(row.trace) != 16 or not any(row.trace)):
        yield Finding("declarations.trace", place, "its trace id is not one")


def _signed(row: Row[Any], directory: Directory, catalogue: Catalogue) -> Iterator[Finding]:
    place = f"declarations/{row.seq}"
    try:
        signed = SignedDeclaration.decode(row.envelope)
        verified = verify_declaration(signed, directory, catalogue, Instant(row.received_at))
    except Refused as fault:
        yield Finding("declarations.invalid", place, f"the envelope does not verify: {fault.code}")
        return
    manifest = verified.manifest
    said = (manifest.source, manifest.declaration_id, manifest.event_type, manifest.schema, manifest.corrects)
    if (row.source, row.declaration_id, row.event_type, row.schema_id, row.corrects) != said or (
        row.manifest_digest,
        row.gate_kid,
    ) != (verified.digest, signed.gate_kid):
        yield Finding("declarations.differs", place, "the row says other than the envelope")


def _told(row: Row[Any], entries: list[Facts], roots: Roots, erased: Instant) -> Iterator[Finding]:
    place = f"declarations/{row.seq}"
    kind = FactKind.RECEIVED if row.corrects is None else FactKind.CORRECTED
    gone = not entries and row.routed_at <= erased
    if not gone and [(entry.kind, entry.at) for entry in entries] != [(kind, row.routed_at)]:
        yield Finding("declarations.untold", place, f"the ledger does not say {kind.value} once, at that time")
    root = None if row.corrects is None else roots.get((row.source, row.corrects)) or row.corrects
    if row.root != root:
        yield Finding("declarations.differs", place, "it stands in another chain of corrections")


def receipt(submission: Row[Any], directory: Directory) -> Iterator[Finding]:
    """What the source was answered says this submission, under a key of the broker."""
    place = f"submissions/{bytes(submission.declaration_id).hex()}"
    try:
        receipt = json.loads(submission.receipt)
        body = b64decode(receipt["payload"], validate=True)
        (one,) = receipt["signatures"]
        key = directory.signing_key(Kid.parse(one["keyid"]))
        signature = b64decode(one["sig"], validate=True)
        valid = signing.verify(key.algorithm, key.public, signature, signing.pae(RECEIPT_TYPE, body))
        told = json.loads(body)
        said = (told["source"], told["declaration"], told["received_at"])
    except (Refused, ValueError, TypeError, KeyError):
        yield Finding("submissions.receipt", place, "the receipt cannot be read")
        return
    row_says = (submission.source, bytes(submission.declaration_id).hex(), submission.received_at)
    if not valid or key.party != directory.broker or said != row_says:
        yield Finding("submissions.receipt", place, "the receipt is not the broker's about this declaration")


def _withholdings(part: Part, said: Told, asked: Asked) -> Iterator[Finding]:
    """Who got nothing has its row, with the reason and the time of the ledger's last word, or a delivery since."""
    told = {
        (bytes(entry.declaration), entry.recipient, entry.purpose): (entry.reason, entry.at)
        for entry in said.entries
        if entry.kind is FactKind.WITHHELD
        and entry.delivery is None
        and entry.declaration is not None
        and bytes(entry.declaration) not in said.forgotten
    }
    manifests = {row.seq: row.manifest_digest for row in part.of("declarations")}
    for row in part.of("withholdings"):
        place = f"withholdings/{row.declaration}/{row.recipient}"
        recipient, _, purpose = asked.get(row.subscription, (None, None, None))
        if (recipient, purpose) != (row.recipient, row.purpose):
            yield Finding("withholdings.orphan", place, "its subscription is unknown, or another's")
        reason, at = told.pop((manifests[row.declaration], row.recipient, row.purpose), (None, None))
        if reason is None and row.at <= said.erased:
            continue
        if row.reason == Reason.NO_GRANT.value and reason is None:
            continue  # of whom nobody has said anything, the ledger says nothing
        if (row.reason, row.at) != (reason.value if reason is not None else None, at):
            yield Finding("withholdings.untold", place, "the ledger does not give this reason at that time")
    theirs = (row for name in ("deliveries", "away") for row in part.of(name) if row.declaration in manifests)
    planned = {(manifests[row.declaration], row.recipient, row.purpose) for row in theirs}
    for digest, recipient, _ in told.keys() - planned:
        place = f"withholdings/{digest.hex()}/{recipient}"
        yield Finding("withholdings.missing", place, "the ledger tells of it, but it is not there")
