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
from consent.grant import Grant, Status, follows
from consent.tables import consent_keys, grant_versions, grants
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.names import EventType, GrantId, Instant, SubjectRef

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


async def add(conn: AsyncConnection, grant: Grant, epoch: int, wrapped: bytes) -> None:
    """Write a new grant's first version and its key, wrapped under `epoch` by `keyring.wrap`, bound to this version.

    Raises Refused `registry.not-new` (a first version is 1, active and unbound), `registry.exists`.
    """
    if grant.version != 1 or grant.status is not Status.ACTIVE:
        raise Refused("registry.not-new", "/version", version=grant.version, status=grant.status.value)
    if await of_pairs(conn, {grant.id: grant.subject}):
        raise Refused("registry.exists", "/id", grant=grant.id.hex())
    row = rows.row_of(grant)
    await conn.execute(insert(grants).values(row))
    await conn.execute(insert(grant_versions).values(row))
    await conn.execute(
        insert(consent_keys).values(grant_id=grant.id, epoch=epoch, digest=rows.digest_of(grant), wrapped=wrapped)
    )
    # Crash here: the transaction is gone with all three rows. The citizen got no answer and grants again; the key that
    # was wrapped was never used.


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
    return tuple(_readable(await conn.execute(overdue)))


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
            key = _unwrapped(row, epoch_keys)
            if key is not None and row.digest == rows.digest_of(grant):
                opened[grant.id] = key
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
    row = (await conn.execute(_KEYS_OF, {"ids": [head.id]})).one_or_none()
    key = None if row is None else _unwrapped(row, epoch_keys)
    if row is None or key is None or row.digest != rows.digest_of(head):
        raise Corrupt("registry.unsound", grant=head.id.hex())
    bound = keyring.Bound(new.id, rows.digest_of(new), row.epoch)
    wrapped = keyring.wrap(key, bound, epoch_keys[row.epoch], entropy(keyring.NONCE_BYTES))
    mine = consent_keys.c.grant_id == new.id
    await conn.execute(update(consent_keys).where(mine).values(digest=bound.digest, wrapped=wrapped))


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What one batch of a rotation did: how many keys were wrapped anew, and the grants whose key was set aside."""

    moved: int
    aside: tuple[GrantId, ...]


async def rewrap(
    conn: AsyncConnection,
    old_epoch: int,
    new_epoch: int,
    *,
    epoch_keys: Mapping[int, bytes],
    entropy: Callable[[int], bytes],
    limit: int = CHUNK,
) -> Rewrapped:
    """Wrap up to `limit` keys of the old epoch anew. When there is nothing more, the old epoch key may be destroyed.

    What does not unwrap is set aside, under no epoch: its grant stays closed, and the others go on.
    Raises Unavailable `registry.epoch-key-missing`.
    """
    old_key, new_key = _epoch_key(epoch_keys, old_epoch), _epoch_key(epoch_keys, new_epoch)
    batch = select(consent_keys).where(consent_keys.c.epoch == old_epoch).order_by(consent_keys.c.grant_id).limit(limit)
    moved, aside = 0, []
    for row in (await conn.execute(batch.with_for_update())).all():
        grant_id = GrantId(row.grant_id)
        key = _unwrapped(row, {old_epoch: old_key})
        same = (consent_keys.c.grant_id == grant_id) & (consent_keys.c.epoch == old_epoch)
        if key is None:
            await conn.execute(update(consent_keys).where(same).values(epoch=SET_ASIDE))
            aside.append(grant_id)
            continue
        bound = keyring.Bound(grant_id, row.digest, new_epoch)
        anew = keyring.wrap(key, bound, new_key, entropy(keyring.NONCE_BYTES))
        # Only an UPDATE: a key that a revocation has destroyed since is not brought back.
        moved += (await conn.execute(update(consent_keys).where(same).values(epoch=new_epoch, wrapped=anew))).rowcount
    # Crash here: this batch is gone, its keys are still under the old epoch, whose key still lives. The rotation goes
    # on with the same call.
    return Rewrapped(moved, tuple(aside))


def _unwrapped(row: Row[Any], epoch_keys: Mapping[int, bytes]) -> bytes | None:
    """The key of a row; None where it does not unwrap, or lies under an epoch that never was or is over."""
    epoch_key = epoch_keys.get(row.epoch)
    if epoch_key is None:
        return None
    try:
        return keyring.unwrap(row.wrapped, keyring.Bound(GrantId(row.grant_id), row.digest, row.epoch), epoch_key)
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
