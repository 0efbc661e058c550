"""Consent checks: heads, history, keys and ledger agree; nothing lives under a dead grant or a dead epoch."""

from collections.abc import Container, Iterable, Iterator, Mapping

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.parts import Part
from broker.store.rows.digests import row_digest
from consent import keyring, rows
from consent.grant import Grant, follows
from consent.registry import SET_ASIDE
from schemas.errors import Corrupt
from schemas.facts import FactKind, Facts
from schemas.names import GrantId, Instant

_KINDS = {FactKind.GRANTED, FactKind.CARRIED, FactKind.CHANGED, FactKind.REVOKED, FactKind.EXPIRED}


def check(
    part: Part, entries: Iterable[Facts], *, epoch_keys: Mapping[int, bytes], destroyed: Container[int], erased: Instant
) -> Iterator[Finding]:
    """Every check of the grants and consent keys of a part. `entries`: what the ledger says of its citizens; up to
    `erased` it may say no more. `destroyed`: the epochs that are.
    """
    entries = list(entries)
    told = {(entry.grant, entry.grant_version): entry for entry in entries if entry.kind in _KINDS}
    yield from _objections(part, entries, erased)
    heads: dict[GrantId, Grant] = {}
    unreadable: set[bytes] = set()  # what follows from such a row cannot be judged
    for row in part.of("grants"):
        found = rows.read(row)
        if isinstance(found, rows.Unreadable):
            unreadable.add(found.id)
            yield Finding("grants.unreadable", f"grants/{found.id.hex()}", found.code)
        else:
            heads[found.id] = found
    before: Grant | None = None
    last: dict[GrantId, Grant] = {}
    for row in part.of("versions"):
        place = f"grant_versions/{row.id.hex()}/{row.version}"
        version = rows.read(row)
        if isinstance(version, rows.Unreadable):
            unreadable.add(version.id)
            yield Finding("grants.unreadable", place, version.code)
            continue
        if version.id not in unreadable:
            yield from _version(version, before, told, place, erased)
        before = last[version.id] = version
    readable = {entry: told[entry] for entry in told if entry[0] not in unreadable}
    yield from _against_the_ledger({one: heads[one] for one in heads if one not in unreadable}, last, readable)
    yield from _keys(part, heads, unreadable, epoch_keys, destroyed)


def _objections(part: Part, entries: Iterable[Facts], erased: Instant) -> Iterator[Finding]:
    """Each stands, or was withdrawn, as an entry says. One that is gone is the journal of endings' to tell."""
    said = {(entry.kind, entry.detail) for entry in entries}
    for row in part.of("objections"):
        kind = FactKind.OBJECTED if row.withdrawn_at is None else FactKind.OBJECTION_WITHDRAWN
        changed_at = row.objected_at if row.withdrawn_at is None else row.withdrawn_at
        if (kind, row_digest("objections", row._mapping)) not in said and changed_at > erased:
            place = f"objections/{bytes(row.rule).hex()}"
            yield Finding("objections.untold", place, "the ledger does not tell of this objection as it is")


_Told = Mapping[tuple[GrantId | None, int | None], Facts]


def _against_the_ledger(
    heads: Mapping[GrantId, Grant], last: Mapping[GrantId, Grant], told: _Told
) -> Iterator[Finding]:
    for grant_id, head in heads.items():
        if last.get(grant_id) != head:
            yield Finding("grants.head", f"grants/{grant_id.hex()}", "the head is not the last version of its history")
    for grant, version_number in told:
        if grant is None or grant not in heads or version_number is None or version_number > heads[grant].version:
            yield Finding(
                "grants.lost",
                f"grants/{grant.hex() if grant else '?'}",
                "the ledger tells of a version that is not there",
            )


def _version(version: Grant, before: Grant | None, told: _Told, place: str, erased: Instant) -> list[Finding]:
    found = []
    first = before is None or before.id != version.id
    if first and version.version != 1:
        found.append(Finding("grants.history", place, "the history does not begin with version 1"))
    if before is not None and not first and not follows(before, version):
        found.append(Finding("grants.history", place, "this version cannot follow the one before"))
    entry = told.get((version.id, version.version))
    if entry is None and version.changed_at <= erased:
        return found
    if entry is None:
        found.append(Finding("grants.untold", place, "the ledger does not tell of this version"))
    elif entry.detail != rows.digest_of(version):
        found.append(Finding("grants.edited", place, "the row is not what the ledger committed to"))
    return found


def _keys(
    part: Part,
    heads: Mapping[GrantId, Grant],
    unreadable: Container[bytes],
    epoch_keys: Mapping[int, bytes],
    destroyed: Container[int],
) -> Iterator[Finding]:
    held = set()
    for row in part.of("keys"):
        grant_id = GrantId(row.grant_id)
        place = f"consent_keys/{grant_id.hex()}"
        held.add(grant_id)
        if grant_id not in unreadable and (grant_id not in heads or heads[grant_id].status.over):
            yield Finding("consent-keys.outlived", place, "a key without a living grant")
        if row.epoch == SET_ASIDE:
            yield Finding("consent-keys.damaged", place, "a rotation has set it aside: it does not unwrap")
        elif row.epoch in destroyed:
            yield Finding("consent-keys.dead-epoch", place, f"wrapped under epoch {row.epoch}, which was destroyed")
        elif row.epoch not in epoch_keys:
            yield Finding("consent-keys.no-epoch", place, f"the key of epoch {row.epoch} is not in the key store")
        else:
            try:
                keyring.unwrap(row.wrapped, keyring.Bound(grant_id, row.digest, row.epoch), epoch_keys[row.epoch])
            except (Corrupt, ValueError):
                yield Finding("consent-keys.damaged", place, "it does not unwrap")
            if grant_id in heads and row.digest != rows.digest_of(heads[grant_id]):
                yield Finding(
                    "consent-keys.other-version", place, "it is bound to another version than the one that stands"
                )
    for grant_id, head in heads.items():
        if not head.status.over and grant_id not in held:
            yield Finding("consent-keys.missing", f"grants/{grant_id.hex()}", "a living grant without its key")
