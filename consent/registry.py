"""Registry: grants, their whole history and their wrapped keys in SQL, always inside the caller's transaction.

Refuses: to commit; to overwrite a version; to write a change that does not follow from the head that is there.
Keeps: the head equals its last version; a consent key lives exactly while its grant is active or paused, so revocation
and expiry destroy it in the transaction that records them. A key is bound to the version that stands: a grant whose row
was edited has no key, and is unsound. Nothing goes on under it, and no change but its end makes a version of it.

The caller holds the grant's lock (docs/architecture.md, "Transactions that matter"); the compare-and-set on the version
catches the one that forgot.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from sqlalchemy import Column, Row, Table, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from consent import asking, keyring, rows
from consent.basis import CONSENT, ENDLESS_SINCE, longest_end
from consent.grant import Grant, Status, follows
from consent.tables import consent_keys, grant_versions, grants
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.names import EventType, GrantId, Instant, SubjectRef

FIRST: Final = b""
"""Before every grant."""
SET_ASIDE: Final = 0
"""The epoch of keys that do not unwrap; epochs begin with 1."""

CHUNK = 500
"""Values in one IN list; SQLite's oldest limit is 999 parameters."""

# Made once: a statement costs more to make than to run, and what SQLAlchemy makes of a subquery are circles.
HEADS: Final = select(grants).where(asking.one_of_pairs(grants.c.id, grants.c.subject, "ids", "subjects"))
"""The statement of `of_pairs`, for up to CHUNK grants: `ids`, and in the same order whose they are, `subjects`."""
_THEIRS: Final = (asking.one_of(grants.c.subject, "subjects"), grants.c.event_type == bindparam("event_type"))
ROUTING: Final = select(grants).where(*_THEIRS).order_by(grants.c.subject, grants.c.id)
"""The statement of `for_routing`, for up to CHUNK citizens: `subjects` and `event_type`."""
_CURRENT: Final = select(grants).where(asking.one_of(grants.c.id, "ids"))
_KEYS_OF: Final = select(consent_keys).where(asking.one_of(consent_keys.c.grant_id, "ids"))
_REWRAP: Final = (
    update(consent_keys)
    .where(consent_keys.c.grant_id == bindparam("grant"), consent_keys.c.epoch == bindparam("under"))
    .values(epoch=bindparam("to"), wrapped=bindparam("anew"))
)
"""Once for each key of a batch, sent together: one statement for each was five sixths of what a rotation cost."""
_UNDER: Final = (
    select(func.count())
    .select_from(consent_keys)
    .where(asking.one_of(consent_keys.c.grant_id, "ids"), consent_keys.c.epoch == bindparam("under"))
)


async def add(conn: AsyncConnection, grant: Grant, epoch: int, wrapped: bytes) -> None:
    """Write a new grant's first version and its key, wrapped under `epoch` by `keyring.wrap`, bound to this version.

    Raises Refused `registry.not-new` (a first version is 1, active and unbound), `registry.exists`.
    """
    await add_all(conn, [(grant, rows.digest_of(grant), wrapped)], epoch)


async def add_all(conn: AsyncConnection, new: Sequence[tuple[Grant, bytes, bytes]], epoch: int) -> None:
    """As `add`, of many new grants, each with its digest (`rows.digest_of`) and its wrapped key."""
    for grant, _, _ in new:
        if grant.version != 1 or grant.status is not Status.ACTIVE:
            raise Refused("registry.not-new", "/version", version=grant.version, status=grant.status.value)
    for found in await of_pairs(conn, {grant.id: grant.subject for grant, _, _ in new}):
        raise Refused("registry.exists", "/id", grant=found.hex())
    made = [rows.row_of(grant) for grant, _, _ in new]
    wraps = [
        {"grant_id": grant.id, "epoch": epoch, "digest": digest, "wrapped": wrapped} for grant, digest, wrapped in new
    ]
    for table, told in ((grants, made), (grant_versions, made), (consent_keys, wraps)):
        await conn.execute(insert(table), told)
    # Crash here: the transaction is gone with all three rows of each. Whoever wanted them got no answer, and wants them
    # again; the keys that were wrapped were never used.


async def change(
    conn: AsyncConnection,
    new: Grant,
    epoch_keys: Mapping[int, bytes],
    entropy: Callable[[int], bytes],
    *,
    leap: bool = False,
) -> None:
    """Write the next version: the head, if it is still the one before; the history; its key, bound to the new version,
    or for a last version the key's end.

    `leap`: versions between the head and this one may be missing, as in a database that was restored.

    Raises Refused `registry.unknown-grant`; `registry.changed-meanwhile` (read again and decide again); Corrupt
    `registry.not-a-successor` (made otherwise than by a transition of the head), `registry.unsound` (the head is not
    what its key is bound to: only its end can follow).
    """
    head = (await of_pairs(conn, {new.id: new.subject})).get(new.id)
    if head is None:
        raise Refused("registry.unknown-grant", "/id", grant=new.id.hex())
    if not (head.version == new.version - 1 or (leap and head.version < new.version)):
        raise Refused("registry.changed-meanwhile", "/version", head=head.version, version=new.version)
    if not follows(replace(head, version=new.version - 1), new):
        raise Corrupt("registry.not-a-successor", grant=new.id.hex(), version=new.version)
    if not new.status.over:
        await _bind_anew(conn, head, new, epoch_keys, entropy)
    row = rows.row_of(new)
    same = (grants.c.id == new.id, grants.c.subject == new.subject, grants.c.version == head.version)
    moved = await conn.execute(update(grants).where(*same).values(row))
    if moved.rowcount != 1:  # a writer without the lock came between our reading and our writing
        raise Refused("registry.changed-meanwhile", "/version", head=head.version, version=new.version)
    if not (leap and await _in_history(conn, new)):  # where the head alone was put back, its history is there
        await conn.execute(insert(grant_versions).values(row))
    if new.status.over:
        await conn.execute(delete(consent_keys).where(consent_keys.c.grant_id == new.id))
    # Crash here: the transaction is gone, the grant stands as before and the key lives. Nobody was told that it ended,
    # so the citizen asks again, and expiry is found due again. At no moment is there a dead grant with a living key.


async def _in_history(conn: AsyncConnection, version: Grant) -> bool:
    same = (grant_versions.c.id == version.id, grant_versions.c.version == version.version)
    return (await conn.execute(select(grant_versions.c.version).where(*same))).one_or_none() is not None


async def current(conn: AsyncConnection, ids: Iterable[GrantId]) -> dict[GrantId, Grant]:
    """The heads of these grants; an unknown id is absent. Raises Corrupt `registry.unreadable`."""
    heads: dict[GrantId, Grant] = {}
    for chunk in _chunks(ids):
        found = await conn.execute(_CURRENT, {"ids": chunk})
        heads |= {grant.id: grant for grant in map(rows.grant_of, found)}
    return heads


async def readable(conn: AsyncConnection, ids: Iterable[GrantId]) -> dict[GrantId, Grant]:
    """As `current`, for who goes on with the others where somebody has made one unreadable: that one is absent."""
    heads: dict[GrantId, Grant] = {}
    for chunk in _chunks(ids):
        heads |= {grant.id: grant for grant in _readable(await conn.execute(_CURRENT, {"ids": chunk}))}
    return heads


async def of_pairs(conn: AsyncConnection, wanted: Mapping[GrantId, SubjectRef]) -> dict[GrantId, Grant]:
    """As `readable`, where it is known whose grants they are: each is looked for in one partition only.

    A grant of another citizen is absent where the table is partitioned, and found where it is not: callers compare.
    """
    heads: dict[GrantId, Grant] = {}
    for chunk in _chunks(sorted(wanted)):
        found = await conn.execute(HEADS, {"ids": chunk, "subjects": [wanted[GrantId(one)] for one in chunk]})
        heads |= {grant.id: grant for grant in _readable(found)}
    return heads


async def of_subject(conn: AsyncConnection, subject: SubjectRef) -> tuple[Grant, ...]:
    """Every grant of one citizen, ended ones too, oldest first."""
    found = await conn.execute(select(grants).where(grants.c.subject == subject).order_by(grants.c.id))
    return tuple(map(rows.grant_of, found))


async def for_routing(
    conn: AsyncConnection, subjects: Collection[SubjectRef], event_type: EventType
) -> tuple[rows.Read, ...]:
    """The heads that decide for these citizens and this type, by subject, then oldest first. A row that is no grant
    comes as `Unreadable`: it decides nothing, and stops nobody else.

    Ended ones are among them, because the citizen is told why nothing went out. `policy.decide` takes one subject's.
    """
    found: list[rows.Read] = []
    for chunk in _chunks(sorted(set(subjects))):
        found += map(rows.read, await conn.execute(ROUTING, {"subjects": chunk, "event_type": event_type}))
    return tuple(found)


async def history(conn: AsyncConnection, grant_id: GrantId) -> tuple[Grant, ...]:
    """Every version of a grant, oldest first; empty when there is no such grant."""
    versions = select(grant_versions).where(grant_versions.c.id == grant_id).order_by(grant_versions.c.version)
    return tuple(map(rows.grant_of, await conn.execute(versions)))


async def due_to_expire(conn: AsyncConnection, at: Instant, limit: int = CHUNK) -> tuple[Grant, ...]:
    """Heads whose end date has come and whose keys still live, longest overdue first; of `limit` rows, those that are
    grants.
    """
    living = grants.c.status.in_([Status.ACTIVE.value, Status.PAUSED.value])
    overdue = (
        select(grants).where(living, grants.c.expires_at <= at).order_by(grants.c.expires_at, grants.c.id).limit(limit)
    )
    found = tuple(_readable(await conn.execute(overdue)))
    if found or at < longest_end(ENDLESS_SINCE):
        return found
    endless = select(grants).where(
        living, grants.c.expires_at.is_(None), grants.c.basis == CONSENT.text, grants.c.starts_at <= at
    )
    oldest = _readable(await conn.execute(endless.order_by(grants.c.starts_at, grants.c.id).limit(limit)))
    return tuple(grant for grant in oldest if grant.until is not None and grant.until <= at)


async def consent_key(conn: AsyncConnection, grant: Grant, epoch_keys: Mapping[int, bytes]) -> bytes | None:
    """One grant's consent key, 32 bytes, or None where it has none. Raises as `consent_keys_of`."""
    return (await consent_keys_of(conn, [grant], epoch_keys)).get(grant.id)


async def consent_keys_of(
    conn: AsyncConnection, heads: Iterable[Grant], epoch_keys: Mapping[int, bytes]
) -> dict[GrantId, bytes]:
    """The living consent keys of these grants, 32 bytes each. `epoch_keys`: epoch -> 32 bytes.

    A grant whose key is bound to anything else than the version given, or does not unwrap, is absent: see `unsound`.
    Raises what `epoch_keys` raises.
    """
    opened: dict[GrantId, bytes] = {}
    wanted = {grant.id: grant for grant in heads}
    for chunk in _chunks(wanted):
        for row in await conn.execute(_KEYS_OF, {"ids": chunk}):
            grant = wanted[GrantId(row.grant_id)]
            found = _found(row, epoch_keys)
            if found is not None and row.digest == rows.digest_of(grant):
                opened[grant.id] = found[1].key
    return opened


async def unsound(conn: AsyncConnection, heads: Collection[Grant], keys: Mapping[GrantId, bytes]) -> set[GrantId]:
    """Those of these grants whose row and key contradict each other: that live by their row and have no key for it, or
    are over by it and have one. Somebody has edited the row, or the key's.

    `keys`: what `consent_keys_of` gave for them.
    """
    found = {grant.id for grant in heads if not grant.status.over and grant.id not in keys}
    for chunk in _chunks(sorted(grant.id for grant in heads if grant.status.over)):
        found.update(GrantId(row.grant_id) for row in await conn.execute(_KEYS_OF, {"ids": chunk}))
    return found


async def _bind_anew(
    conn: AsyncConnection,
    head: Grant,
    new: Grant,
    epoch_keys: Mapping[int, bytes],
    entropy: Callable[[int], bytes],
) -> None:
    """The key of a living grant goes over to its next version."""
    row = (await conn.execute(_KEYS_OF.with_for_update(), {"ids": [head.id]})).one_or_none()  # no rotation between
    found = None if row is None else _found(row, epoch_keys)
    if row is None or found is None or row.digest != rows.digest_of(head):
        raise Corrupt("registry.unsound", grant=head.id.hex())
    epoch, kept = found
    bound = keyring.Bound(new.id, rows.digest_of(new), epoch)
    anew = keyring.Kept(kept.key, new.expires_at)
    wrapped = keyring.wrap(anew, bound, epoch_keys[epoch], entropy(keyring.NONCE_BYTES))
    same = (consent_keys.c.grant_id == new.id, consent_keys.c.epoch == row.epoch)
    bind = update(consent_keys).where(*same).values(epoch=epoch, digest=bound.digest, wrapped=wrapped)
    if (await conn.execute(bind)).rowcount != 1:  # a rotation came between our reading and our writing
        raise Refused("registry.changed-meanwhile", "/version", head=head.version, version=new.version)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What one batch of a rotation did: how many keys were wrapped anew, the grants whose key was set aside because it
    does not unwrap, and those whose consent is over by what is wrapped with the key; `last`: where the next batch goes
    on, None after the last one.
    """

    moved: int
    aside: tuple[GrantId, ...]
    outlived: tuple[GrantId, ...]
    last: GrantId | None


async def rewrap(
    conn: AsyncConnection,
    into: int,
    *,
    epoch_keys: Mapping[int, bytes],
    at: Instant,
    entropy: Callable[[int], bytes],
    after: bytes = FIRST,
    limit: int = CHUNK,
) -> Rewrapped:
    """Look at up to `limit` keys of every epoch, whatever a row says of it, and wrap what is not under `into` anew.
    After a pass that leaves none under an older epoch, its key may be destroyed.

    What does not unwrap under any of `epoch_keys` is set aside, under no epoch, and so is the key of a consent that
    ended by its date: its grant stays closed, and the others go on. Raises Unavailable `registry.epoch-key-missing`.
    """
    new_key = _epoch_key(epoch_keys, into)
    batch = select(consent_keys).where(consent_keys.c.grant_id > after).order_by(consent_keys.c.grant_id).limit(limit)
    found = (await conn.execute(batch.with_for_update())).all()
    opened = {row.grant_id: _found(row, epoch_keys) for row in found}
    told = ((GrantId(row.grant_id), opened[row.grant_id], row.digest) for row in found)
    dated = await _dated(conn, {one: (said[1], of) for one, said, of in told if said is not None and not said[1].dated})
    aside: list[GrantId] = []
    outlived: list[GrantId] = []
    changed: list[dict[str, Any]] = []
    for row in found:
        grant_id, said = GrantId(row.grant_id), opened[row.grant_id]
        if said is not None and said[0] == row.epoch == into:
            continue
        kept = None if said is None else dated.get(grant_id, said[1])
        over = kept is not None and kept.until is not None and kept.until <= at
        if kept is None or over:
            if row.epoch == SET_ASIDE:
                continue
            changed.append({"grant": grant_id, "under": row.epoch, "to": SET_ASIDE, "anew": row.wrapped})
            (outlived if over else aside).append(grant_id)
        else:
            bound = keyring.Bound(grant_id, row.digest, into)
            wrapped = keyring.wrap(kept, bound, new_key, entropy(keyring.NONCE_BYTES))
            changed.append({"grant": grant_id, "under": row.epoch, "to": into, "anew": wrapped})
    # Only an UPDATE of what was read and is locked: a key that a revocation has destroyed before is not brought back.
    moved = 0
    if changed:
        await conn.execute(_REWRAP, changed)
        into_new = [one["grant"] for one in changed if one["to"] == into]
        moved = (await conn.execute(_UNDER, {"ids": into_new, "under": into})).scalar_one()
    # Crash here: this batch is gone, its keys are still under the old epoch, whose key still lives. The rotation goes
    # on with the same call.
    last = GrantId(found[-1].grant_id) if len(found) == limit else None
    return Rewrapped(moved, tuple(aside), tuple(outlived), last)


def _found(row: Row[Any], epoch_keys: Mapping[int, bytes]) -> tuple[int, keyring.Kept] | None:
    """The epoch that a row's key lies under, whichever the row says, and what it holds; None where it does not unwrap,
    or its epoch never was or is over.
    """
    for epoch in (row.epoch, *(each for each in epoch_keys if each != row.epoch)):
        if (kept := _unwrapped(row, epoch_keys, epoch)) is not None:
            return epoch, kept
    return None


async def _dated(
    conn: AsyncConnection, undated: Mapping[GrantId, tuple[keyring.Kept, bytes]]
) -> dict[GrantId, keyring.Kept]:
    """Keys that were wrapped before they had their end, with the one of their grant, where that is what they are bound
    to: its key, and the digest beside it.
    """
    heads = await readable(conn, undated)
    return {
        grant_id: keyring.Kept(kept.key, heads[grant_id].expires_at)
        for grant_id, (kept, digest) in undated.items()
        if grant_id in heads and rows.digest_of(heads[grant_id]) == digest
    }


def _unwrapped(row: Row[Any], epoch_keys: Mapping[int, bytes], epoch: int) -> keyring.Kept | None:
    """What a row holds, if it lies under this epoch."""
    epoch_key = epoch_keys.get(epoch)
    if epoch_key is None:
        return None
    try:
        return keyring.unwrap(row.wrapped, keyring.Bound(GrantId(row.grant_id), row.digest, epoch), epoch_key)
    except (Corrupt, ValueError):
        return None


async def epochs_in_use(conn: AsyncConnection) -> dict[int, int]:
    """How many keys each consent epoch still holds: epoch -> count. An epoch that is absent holds nothing."""
    living = select(consent_keys.c.epoch, func.count()).where(consent_keys.c.epoch != SET_ASIDE)
    counted = living.group_by(consent_keys.c.epoch).order_by(consent_keys.c.epoch)
    return {int(epoch): int(count) for epoch, count in await conn.execute(counted)}


async def epochs_used(conn: AsyncConnection) -> list[int]:
    """The consent epochs that still hold a key, oldest first: a search for each, however many keys there are."""
    found = [SET_ASIDE]
    while True:
        later = select(func.min(consent_keys.c.epoch)).where(consent_keys.c.epoch > found[-1])
        if (epoch := (await conn.execute(later)).scalar()) is None:
            return found[1:]
        found.append(int(epoch))


async def heads(conn: AsyncConnection, batch: int = CHUNK) -> AsyncIterator[tuple[rows.Read, ...]]:
    """All heads in order of id, in batches, for fsck. A row that is no grant comes as `Unreadable` instead."""
    async for found in _walk(conn, grants, (grants.c.id,), batch):
        yield tuple(map(rows.read, found))


async def versions(conn: AsyncConnection, batch: int = CHUNK) -> AsyncIterator[tuple[rows.Read, ...]]:
    """All versions in order of (id, version), in batches, as `heads`."""
    async for found in _walk(conn, grant_versions, (grant_versions.c.id, grant_versions.c.version), batch):
        yield tuple(map(rows.read, found))


async def keys(conn: AsyncConnection, batch: int = CHUNK) -> AsyncIterator[tuple[rows.KeyRow, ...]]:
    """All wrapped consent keys in order of grant id, in batches, as `heads`."""
    async for found in _walk(conn, consent_keys, (consent_keys.c.grant_id,), batch):
        yield tuple(rows.KeyRow(row.grant_id, row.epoch, row.digest, row.wrapped) for row in found)


async def _walk(
    conn: AsyncConnection, table: Table, key: tuple[Column[Any], ...], batch: int
) -> AsyncIterator[Sequence[Row[Any]]]:
    """A table from one end to the other by its key, so that a batch costs the same wherever it is."""
    page = select(table).order_by(*key).limit(batch)
    found = (await conn.execute(page)).all()
    while found:
        yield found
        last = tuple(found[-1]._mapping[column] for column in key)
        found = (await conn.execute(page.where(tuple_(*key) > last))).all()


def _readable(found: Iterable[Row[Any]]) -> Iterator[Grant]:
    return (one for one in map(rows.read, found) if isinstance(one, Grant))


def _chunks(values: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(values)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def _epoch_key(epoch_keys: Mapping[int, bytes], epoch: int) -> bytes:
    try:
        return epoch_keys[epoch]
    except KeyError:
        raise Unavailable("registry.epoch-key-missing", epoch=epoch) from None
