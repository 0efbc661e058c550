"""Declaration checks: log, submissions, declarations, withholdings and ledger tell one story, byte for byte."""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, select

from broker.checks.finding import Finding
from broker.ports import Log
from broker.router import TOPIC
from broker.store.engine import Transaction
from broker.store.tables import (
    consumed,
    dead_letters,
    declarations,
    deliveries,
    submissions,
    subscriptions,
    withholdings,
)
from schemas import signing
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.envelope import SignedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.intake_receipt import RECEIPT_TYPE
from schemas.names import Instant, Kid, Reason

Rows = Mapping[int, Row[Any]]
"""The rows of `declarations` by their number."""
Gone = frozenset[bytes]
"""Digests of manifests of which the ledger tells and which pruning took away."""
_RECEIVED = {FactKind.RECEIVED, FactKind.CORRECTED}


async def rows(tx: Transaction) -> Rows:
    """Every declaration."""
    return {row.seq: row for row in await tx.execute(select(declarations))}


def gone(entries: Iterable[Facts], kept: Rows, horizon: Instant | None) -> Gone:
    """What the ledger tells of and pruning may have taken: routed up to `horizon`, and not there."""
    there = {row.manifest_digest for row in kept.values()}
    old = (entry for entry in entries if horizon is not None and entry.kind in _RECEIVED and entry.at <= horizon)
    return frozenset(bytes(entry.declaration) for entry in old if entry.declaration is not None) - there


async def check(
    tx: Transaction,
    log: Log,
    entries: Iterable[Facts],
    *,
    kept: Rows,
    forgotten: Gone,
    erased: Instant,
    directory: Directory,
    catalogue: Catalogue,
) -> AsyncIterator[Finding]:
    """Every check of what was declared; `entries` in the order of the ledger, which up to `erased` may say no more."""
    written = {row.envelope_digest: row for row in await tx.execute(select(submissions))}
    for one in written.values():
        for finding in _receipt(one, directory):
            yield finding
    told: dict[bytes, list[Facts]] = {}
    for entry in entries:
        if entry.kind in _RECEIVED and entry.declaration is not None:
            told.setdefault(bytes(entry.declaration), []).append(entry)
    roots = {(row.source, row.declaration_id): row.root for row in kept.values()}
    for row in kept.values():
        for finding in (
            *_accepted(row, written.get(sha256(row.envelope).digest())),
            *_signed(row, directory, catalogue),
            *_told(row, told.pop(row.manifest_digest, []), roots, erased),
        ):
            yield finding
    for digest in told.keys() - forgotten:
        yield Finding(
            "declarations.missing", f"manifests/{digest.hex()}", "the ledger tells of it, but it is not there"
        )
    async for finding in _withholdings(tx, entries, kept, forgotten, erased):
        yield finding
    async for finding in _log(tx, log, entries, kept, forgotten=forgotten, erased=erased):
        yield finding


def _accepted(row: Row[Any], submission: Row[Any] | None) -> Iterator[Finding]:
    place = f"declarations/{row.seq}"
    if submission is None or (submission.source, submission.declaration_id) != (row.source, row.declaration_id):
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


def _told(
    row: Row[Any], entries: list[Facts], roots: Mapping[tuple[str, bytes], bytes | None], erased: Instant
) -> Iterator[Finding]:
    place = f"declarations/{row.seq}"
    kind = FactKind.RECEIVED if row.corrects is None else FactKind.CORRECTED
    gone = not entries and row.routed_at <= erased
    if not gone and [(entry.kind, entry.at) for entry in entries] != [(kind, row.routed_at)]:
        yield Finding("declarations.untold", place, f"the ledger does not say {kind.value} once, at that time")
    root = None if row.corrects is None else roots.get((row.source, row.corrects)) or row.corrects
    if row.root != root:
        yield Finding("declarations.differs", place, "it stands in another chain of corrections")


def _receipt(submission: Row[Any], directory: Directory) -> Iterator[Finding]:
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


async def _withholdings(
    tx: Transaction, entries: Iterable[Facts], kept: Rows, forgotten: Gone, erased: Instant
) -> AsyncIterator[Finding]:
    """Who got nothing has its row, with the reason and the time of the ledger's last word, or a delivery since."""
    told = {
        (bytes(entry.declaration), entry.recipient, entry.purpose): (entry.reason, entry.at)
        for entry in entries
        if entry.kind is FactKind.WITHHELD
        and entry.delivery is None
        and entry.declaration is not None
        and bytes(entry.declaration) not in forgotten
    }
    asked = {row.id: (row.recipient, row.purpose) for row in await tx.execute(select(subscriptions))}
    for row in await tx.execute(select(withholdings)):
        place = f"withholdings/{row.declaration}/{row.recipient}"
        if asked.get(row.subscription) != (row.recipient, row.purpose):
            yield Finding("withholdings.orphan", place, "its subscription is unknown, or another's")
        reason, at = told.pop((kept[row.declaration].manifest_digest, row.recipient, row.purpose), (None, None))
        if reason is None and row.at <= erased:
            continue
        if row.reason == Reason.NO_GRANT.value and reason is None:
            continue  # of whom nobody has said anything, the ledger says nothing
        if (row.reason, row.at) != (reason.value if reason is not None else None, at):
            yield Finding("withholdings.untold", place, "the ledger does not give this reason at that time")
    planned = {
        (kept[row.declaration].manifest_digest, row.recipient, row.purpose)
        for row in await tx.execute(select(deliveries.c.declaration, deliveries.c.recipient, deliveries.c.purpose))
    }
    for digest, recipient, _ in told.keys() - planned:
        place = f"withholdings/{digest.hex()}/{recipient}"
        yield Finding("withholdings.missing", place, "the ledger tells of it, but it is not there")


async def _log(
    tx: Transaction, log: Log, entries: Iterable[Facts], kept: Rows, *, forgotten: Gone, erased: Instant
) -> AsyncIterator[Finding]:
    """What was read from the log became a declaration or a letter that waits; nobody read further than the log goes."""
    known = {sha256(row.envelope).digest() for row in kept.values()}
    refused = {entry.detail for entry in entries if entry.kind is FactKind.REFUSED}
    for row in await tx.execute(select(dead_letters).where(dead_letters.c.record.is_not(None))):
        digest = sha256(row.record).digest()
        if digest not in refused and row.at > erased:
            yield Finding("dead-letters.untold", f"dead_letters/{row.id}", "the ledger does not tell of this record")
        if row.replayed_at is None:
            known.add(digest)
    for row in await tx.execute(select(consumed).where(consumed.c.topic == TOPIC)):
        place = f"consumed/{row.topic}/{row.partition}"
        if row.next_offset > await log.end(row.topic, row.partition):
            yield Finding("log.offset", place, "read further than the log goes: the log is another one, or was cut")
            continue
        at = await log.first(row.topic, row.partition)
        while at < row.next_offset:
            records = await log.read(row.topic, row.partition, at, min(500, row.next_offset - at))
            for record in records:
                read = (
                    record.position.offset < row.next_offset
                )  # what is asked for may be pruned, and the next ones come
                if read and sha256(record.value).digest() not in known and not _of(record.value, forgotten):
                    yield Finding("log.lost", f"{place}/{record.position.offset}", "read, but without effect")
            at = records[-1].position.offset + 1 if records else row.next_offset


def _of(record: bytes, forgotten: Gone) -> bool:
    """Whether a record is an envelope of what is forgotten: a log of Kafka's may keep it for longer."""
    try:
        return bool(forgotten) and sha256(SignedDeclaration.decode(record).payload).digest() in forgotten
    except Refused:
        return False
