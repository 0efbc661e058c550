"""Grants, their history and their keys in SQL."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from consent import registry
from consent.basis import law
from consent.grant import Grant, Status
from consent.keyring import Bound, Kept, unwrap, wrap
from consent.rows import KeyRow, Unreadable, digest_of, row_of
from consent.tables import consent_keys, grant_versions, grants
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.names import EventType, GrantId, Instant, Purpose, SubjectRef
from tests.furnished import write_tables

NOW = Instant(1_795_521_493_000)
ADDRESS = EventType("fr.unefois.address.changed.v1")
NAMES = EventType("fr.unefois.name.changed.v1")
MANDATE = {"basis": law("CGI, art. 1649 A ter"), "purpose": Purpose("income-tax")}
EPOCHS = {1: b"1" * 32, 2: b"2" * 32}
OTHER = SubjectRef(b"z" * 32)

GrantOf = Callable[..., Grant]


@pytest_asyncio.fixture
async def conn(home_settings: dict[str, Any], tmp_path: Path) -> AsyncIterator[AsyncConnection]:
    if not home_settings:  # a PostgreSQL database has the tables of the revisions
        write_tables(tmp_path / "store.db")
    engine = create_async_engine(home_settings.get("database_url", f"sqlite+aiosqlite:///{tmp_path / 'store.db'}"))
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


def key_of(grant: Grant) -> bytes:
    return grant.id + b"k" * 16


async def add(conn: AsyncConnection, grant: Grant, epoch: int = 1) -> Grant:
    kept = Kept(key_of(grant), grant.expires_at)
    await registry.add(conn, grant, epoch, wrap(kept, bound(grant, epoch), EPOCHS[epoch], b"n" * 12))
    return grant


def bound(grant: Grant, epoch: int = 1) -> Bound:
    return Bound(grant.id, digest_of(grant), epoch)


async def rotate(conn: AsyncConnection, at: Instant = NOW, **more: Any) -> registry.Rewrapped:
    """One batch of a rotation from the first epoch into the second."""
    return await registry.rewrap(conn, 2, **{"epoch_keys": EPOCHS, "at": at, "entropy": os.urandom, **more})


async def change(conn: AsyncConnection, new: Grant) -> None:
    """The next version, with the epochs' keys at hand."""
    await registry.change(conn, new, EPOCHS, os.urandom)


def fault(raised: pytest.ExceptionInfo[Fault]) -> tuple[str, str]:
    return raised.value.code, raised.value.pointer


# ── adding ──


@pytest.mark.asyncio
async def test_a_new_grant_has_its_head_its_first_version_and_its_key(conn: AsyncConnection, grant_of: GrantOf) -> None:
    grant = await add(conn, grant_of())
    assert {grant.id: grant} == await registry.current(conn, [grant.id])
    assert (grant,) == await registry.history(conn, grant.id)
    assert key_of(grant) == await registry.consent_key(conn, grant, EPOCHS)


@pytest.mark.asyncio
async def test_nothing_is_committed_before_the_caller_commits(conn: AsyncConnection, grant_of: GrantOf) -> None:
    grant = await add(conn, grant_of())
    await change(conn, grant.pause(NOW))
    await conn.rollback()
    assert {} == await registry.current(conn, [grant.id])
    assert () == await registry.history(conn, grant.id)
    assert None is await registry.consent_key(conn, grant, EPOCHS)


@pytest.mark.asyncio
@pytest.mark.parametrize("changes", [{"version": 2}, {"status": Status.REVOKED}], ids=["a change", "an end"])
async def test_what_is_not_new_is_not_added(conn: AsyncConnection, grant_of: GrantOf, changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        await add(conn, grant_of(**changes))
    assert ("registry.not-new", "/version") == fault(refused)


@pytest.mark.asyncio
async def test_a_grant_is_added_once(conn: AsyncConnection, grant_of: GrantOf) -> None:
    await add(conn, grant_of())
    with pytest.raises(Refused) as refused:
        await add(conn, grant_of())
    assert ("registry.exists", "/id") == fault(refused)


# ── changing ──


@pytest.mark.asyncio
async def test_every_version_is_kept_whole_and_the_head_is_the_last(conn: AsyncConnection, grant_of: GrantOf) -> None:
    first = await add(conn, grant_of())
    paused = first.pause(Instant(NOW + 1))
    narrowed = paused.narrow(frozenset({"household"}), Instant(NOW + 2))
    revoked = narrowed.revoke(Instant(NOW + 3))
    for version in (paused, narrowed, revoked):
        await change(conn, version)
    assert (first, paused, narrowed, revoked) == await registry.history(conn, first.id)
    assert {first.id: revoked} == await registry.current(conn, [first.id])


@pytest.mark.asyncio
async def test_pausing_and_narrowing_keep_the_key(conn: AsyncConnection, grant_of: GrantOf) -> None:
    first = await add(conn, grant_of())
    paused = first.pause(NOW)
    narrowed = paused.narrow(frozenset({"household"}), NOW)
    for before, after in ((first, paused), (paused, narrowed)):
        await change(conn, after)
        assert key_of(after) == await registry.consent_key(conn, after, EPOCHS)
        assert None is await registry.consent_key(conn, before, EPOCHS)  # it is bound to the version that stands


ENDS: dict[str, tuple[dict[str, Any], Callable[[Grant], Grant]]] = {
    "revoked": ({}, lambda grant: grant.revoke(NOW)),
    "expired": ({}, lambda grant: grant.expire(Instant(NOW + 1000))),
    "mandate ended": (MANDATE, lambda grant: grant.end_mandate(NOW)),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ENDS)
async def test_an_end_destroys_the_key_and_only_this_one(conn: AsyncConnection, grant_of: GrantOf, end: str) -> None:
    changes, over = ENDS[end]
    ending, staying = await add(conn, grant_of(1, **changes)), await add(conn, grant_of(2))
    await change(conn, over(ending))
    asked = [ending, over(ending), staying]
    assert {staying.id: key_of(staying)} == await registry.consent_keys_of(conn, asked, EPOCHS)
    assert 1 == (await conn.execute(select(func.count()).select_from(consent_keys))).scalar_one()


@pytest.mark.asyncio
async def test_a_grant_that_is_not_there_cannot_change(conn: AsyncConnection, grant_of: GrantOf) -> None:
    with pytest.raises(Refused) as refused:
        await change(conn, grant_of().pause(NOW))
    assert ("registry.unknown-grant", "/id") == fault(refused)


@pytest.mark.asyncio
async def test_a_change_decided_on_an_older_head_is_refused_and_changes_nothing(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    first = await add(conn, grant_of())
    await change(conn, first.revoke(NOW))
    with pytest.raises(Refused) as refused:
        await change(conn, first.pause(NOW))
    assert ("registry.changed-meanwhile", "/version") == fault(refused)
    assert Status.REVOKED is (await registry.current(conn, [first.id]))[first.id].status


@pytest.mark.asyncio
async def test_a_writer_without_the_lock_is_caught_by_the_write_itself(
    conn: AsyncConnection, grant_of: GrantOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await add(conn, grant_of())

    async def read_too_early(*_: object) -> dict[GrantId, Grant]:
        return {first.id: first}

    await change(conn, first.pause(NOW))
    monkeypatch.setattr(registry, "current", read_too_early)
    with pytest.raises(Refused) as refused:
        await change(conn, first.revoke(NOW))
    assert ("registry.changed-meanwhile", "/version") == fault(refused)
    assert 2 == len(await registry.history(conn, first.id))


@pytest.mark.asyncio
async def test_a_version_that_no_transition_made_is_not_written(conn: AsyncConnection, grant_of: GrantOf) -> None:
    await add(conn, grant_of())
    with pytest.raises(Corrupt) as corrupt:
        await change(conn, grant_of(version=2, fields=frozenset({"new_address", "household", "iban"})))
    assert ("registry.not-a-successor", "") == fault(corrupt)
    assert 1 == len(await registry.history(conn, grant_of().id))


# ── reading ──


@pytest.mark.asyncio
async def test_a_citizens_page_shows_every_grant_ended_ones_too_and_nobody_elses(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    second, first = await add(conn, grant_of(2)), await add(conn, grant_of(1, event_type=NAMES))
    await add(conn, grant_of(3, subject=OTHER))
    revoked = second.revoke(NOW)
    await change(conn, revoked)
    assert (first, revoked) == await registry.of_subject(conn, first.subject)


@pytest.mark.asyncio
async def test_routing_reads_the_heads_of_its_citizens_and_its_type(conn: AsyncConnection, grant_of: GrantOf) -> None:
    wanted = [await add(conn, grant_of(n, subject=s)) for n, s in ((1, grant_of().subject), (4, OTHER))]
    revoked = (await add(conn, grant_of(2))).revoke(NOW)
    await change(conn, revoked)
    await add(conn, grant_of(3, event_type=NAMES))
    await add(conn, grant_of(5, subject=SubjectRef(b"q" * 32)))
    found = await registry.for_routing(conn, [OTHER, grant_of().subject, OTHER], ADDRESS)
    assert (wanted[0], revoked, wanted[1]) == found
    assert () == await registry.for_routing(conn, [], ADDRESS)


@pytest.mark.asyncio
async def test_more_grants_than_one_statement_takes_are_read_in_several(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    many = [grant_of(number, subject=SubjectRef(number.to_bytes(32, "big"))) for number in range(1, 1202)]
    await conn.execute(insert(grants), [row_of(grant) for grant in many])
    assert len(many) == len(await registry.current(conn, [grant.id for grant in many]))
    assert tuple(many) == await registry.for_routing(conn, [grant.subject for grant in many], ADDRESS)


@pytest.mark.asyncio
async def test_what_has_come_to_its_end_date_is_found_longest_overdue_first(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    late = await add(conn, grant_of(1, expires_at=Instant(NOW + 10)))
    later = (await add(conn, grant_of(2, expires_at=Instant(NOW + 20)))).pause(NOW)
    await change(conn, later)
    await add(conn, grant_of(3, expires_at=Instant(NOW + 21)))
    await add(conn, grant_of(4, expires_at=None))
    await change(conn, (await add(conn, grant_of(5, expires_at=Instant(NOW + 10)))).revoke(NOW))
    assert (late, later) == await registry.due_to_expire(conn, Instant(NOW + 20))
    assert (late,) == await registry.due_to_expire(conn, Instant(NOW + 20), limit=1)
    assert () == await registry.due_to_expire(conn, Instant(NOW + 9))


@pytest.mark.asyncio
async def test_a_head_that_is_no_grant_stops_the_reader(conn: AsyncConnection, grant_of: GrantOf) -> None:
    grant = await add(conn, grant_of())
    await conn.execute(update(grants).values(status="asleep"))
    with pytest.raises(Corrupt) as corrupt:
        await registry.current(conn, [grant.id])
    assert ("registry.unreadable", "") == fault(corrupt)


@pytest.mark.asyncio
async def test_who_asks_for_many_gets_the_others_of_a_head_that_is_no_grant(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    broken, sound = [await add(conn, grant_of(number, expires_at=Instant(NOW + 9))) for number in (1, 2)]
    await conn.execute(update(grants).where(grants.c.id == broken.id).values(status="asleep", event_type="-"))
    await conn.execute(update(grants).where(grants.c.id == broken.id).values(status="active"))
    ids = [broken.id, sound.id]
    assert {sound.id: sound} == await registry.readable(conn, ids)
    assert {sound.id: sound} == await registry.of_pairs(conn, dict.fromkeys(ids, sound.subject))
    assert (sound,) == await registry.due_to_expire(conn, Instant(NOW + 9))


# ── keys and epochs ──


@pytest.mark.asyncio
async def test_a_grant_whose_key_lies_under_an_epoch_that_is_not_at_hand_has_none(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    grant = await add(conn, grant_of(), 2)
    assert EPOCHS.keys() >= {1, 2}
    assert None is await registry.consent_key(conn, grant, {1: EPOCHS[1]})
    assert None is not await registry.consent_key(conn, grant, EPOCHS)


EDITED: dict[str, Any] = {
    "another's key": lambda one, other: (consent_keys, {"wrapped": other.wrapped}),
    "another's key and digest": lambda one, other: (consent_keys, {"wrapped": other.wrapped, "digest": other.digest}),
    "a byte of the key": lambda one, _: (consent_keys, {"wrapped": one.wrapped[:-1] + bytes([one.wrapped[-1] ^ 1])}),
    "a key cut short": lambda one, _: (consent_keys, {"wrapped": one.wrapped[:-1]}),
    "the digest": lambda *_: (consent_keys, {"digest": bytes(32)}),
    "a digest that is none": lambda *_: (consent_keys, {"digest": b"x"}),
    "the recipient": lambda *_: (grants, {"recipient": "urn:unefois:thief"}),
    "the fields": lambda *_: (grants, {"fields": '["household", "iban", "new_address"]'}),
    "the end": lambda *_: (grants, {"expires_at": None}),
    "a pause": lambda *_: (grants, {"status": "paused"}),
    "an end that nobody wished": lambda *_: (grants, {"status": "revoked"}),
}


async def key_rows(conn: AsyncConnection) -> dict[bytes, KeyRow]:
    return {key.grant_id: key for batch in await flat(registry.keys(conn)) for key in batch}


async def edit(conn: AsyncConnection, edited: str, mine: Grant, other: Grant) -> None:
    """Change the row of one grant, or its key's, by hand."""
    keyed = await key_rows(conn)
    table, values = EDITED[edited](keyed[mine.id], keyed[other.id])
    column = table.c.grant_id if table is consent_keys else table.c.id
    await conn.execute(update(table).where(column == mine.id).values(values))


@pytest.mark.asyncio
@pytest.mark.parametrize("edited", EDITED)
async def test_a_grant_whose_row_or_key_was_edited_has_no_key_and_is_unsound_and_no_other(
    conn: AsyncConnection, grant_of: GrantOf, edited: str
) -> None:
    mine, other = await add(conn, grant_of(1), 2), await add(conn, grant_of(2), 2)
    at_hand = {2: EPOCHS[2]}
    await edit(conn, edited, mine, other)
    heads = await registry.current(conn, [mine.id, other.id])

    opened = await registry.consent_keys_of(conn, heads.values(), at_hand)

    assert {other.id: key_of(other)} == opened
    assert {mine.id} == await registry.unsound(conn, heads.values(), opened)


@pytest.mark.asyncio
async def test_a_living_grant_without_a_key_is_unsound_and_one_that_is_over_is_not(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    mine, over = await add(conn, grant_of(1)), await add(conn, grant_of(2))
    await change(conn, over.revoke(NOW))
    await conn.execute(delete(consent_keys))
    heads = await registry.current(conn, [mine.id, over.id])
    assert {mine.id} == await registry.unsound(conn, heads.values(), {})


@pytest.mark.asyncio
@pytest.mark.parametrize("edited", [one for one in EDITED if one != "an end that nobody wished"])
async def test_of_an_edited_grant_nothing_follows_but_its_end(
    conn: AsyncConnection, grant_of: GrantOf, edited: str
) -> None:
    mine, other = await add(conn, grant_of(1), 2), await add(conn, grant_of(2), 2)
    await edit(conn, edited, mine, other)
    head = (await registry.current(conn, [mine.id]))[mine.id]
    next_ = head.resume(NOW) if head.status is Status.PAUSED else head.pause(NOW)
    with pytest.raises(Corrupt) as corrupt:
        await registry.change(conn, next_, {2: EPOCHS[2]}, os.urandom)
    assert ("registry.unsound", "") == fault(corrupt)
    assert (mine,) == await registry.history(conn, mine.id)

    await registry.change(conn, head.revoke(NOW), {2: EPOCHS[2]}, os.urandom)

    assert {other.id} == set(await key_rows(conn))


@pytest.mark.asyncio
async def test_rotation_wraps_the_living_anew_in_batches_until_the_old_epoch_is_empty(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    living = [await add(conn, grant_of(number)) for number in range(1, 6)]
    dead = await add(conn, grant_of(9))
    await change(conn, dead.revoke(NOW))
    counter = iter(range(100))

    async def turn(after: bytes) -> registry.Rewrapped:
        return await rotate(conn, entropy=lambda size: next(counter).to_bytes(size, "big"), after=after, limit=2)

    assert {1: 5} == await registry.epochs_in_use(conn)
    assert [1] == await registry.epochs_used(conn)
    turns = [await turn(registry.FIRST)]
    while turns[-1].last is not None:
        turns.append(await turn(turns[-1].last))
    assert [(2, ()), (2, ()), (1, ())] == [(done.moved, done.aside) for done in turns]
    assert (0, ()) == ((await rotate(conn)).moved, (await rotate(conn)).aside)  # it may be said again
    assert {2: 5} == await registry.epochs_in_use(conn)
    only_new = {2: EPOCHS[2]}
    asked = [*living, dead]
    assert {grant.id: key_of(grant) for grant in living} == await registry.consent_keys_of(conn, asked, only_new)


@pytest.mark.asyncio
async def test_rotation_sets_aside_what_does_not_unwrap_and_finishes(conn: AsyncConnection, grant_of: GrantOf) -> None:
    first, damaged, *living = [await add(conn, grant_of(number)) for number in range(1, 6)]
    row = consent_keys.c.grant_id == damaged.id
    (kept,) = (await conn.execute(select(consent_keys.c.wrapped).where(row))).scalars()
    await conn.execute(update(consent_keys).where(row).values(wrapped=bytes(60)))

    turns = [await rotate(conn) for _ in range(2)]

    assert [(4, (damaged.id,)), (0, ())] == [(done.moved, done.aside) for done in turns]
    assert {2: 4} == await registry.epochs_in_use(conn)  # so that the old key may go
    assert [2] == await registry.epochs_used(conn)
    found = await registry.consent_keys_of(conn, [first, damaged, *living], {2: EPOCHS[2]})
    assert {grant.id: key_of(grant) for grant in [first, *living]} == found
    await conn.execute(update(consent_keys).where(row).values(wrapped=kept))  # too late: its epoch is over
    assert None is await registry.consent_key(conn, damaged, {2: EPOCHS[2]})


@pytest.mark.asyncio
async def test_rotation_uses_a_fresh_nonce_for_each_key(conn: AsyncConnection, grant_of: GrantOf) -> None:
    for number in (1, 2):
        await add(conn, grant_of(number))
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return len(asked).to_bytes(size, "big")

    await rotate(conn, entropy=entropy)
    assert [12, 12] == asked
    wrapped = (await conn.execute(select(consent_keys.c.wrapped))).scalars().all()
    assert 2 == len({each[:12] for each in wrapped})


@pytest.mark.asyncio
async def test_after_rotation_a_backups_rows_do_not_open_under_the_new_epoch_key(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    grant = await add(conn, grant_of())
    backup = (await conn.execute(select(consent_keys.c.wrapped))).scalar_one()
    await rotate(conn)
    with pytest.raises(Corrupt):
        unwrap(backup, bound(grant, 2), EPOCHS[2])


@pytest.mark.asyncio
async def test_rotation_needs_the_new_epochs_key(conn: AsyncConnection) -> None:
    with pytest.raises(Unavailable) as away:
        await rotate(conn, epoch_keys={1: EPOCHS[1]})
    assert ("registry.epoch-key-missing", "") == fault(away)


@pytest.mark.asyncio
@pytest.mark.parametrize("said", [1, 7, registry.SET_ASIDE])
async def test_a_key_opens_under_its_own_epoch_whichever_its_row_says_and_its_next_version_says_it(
    conn: AsyncConnection, grant_of: GrantOf, said: int
) -> None:
    grant = await add(conn, grant_of(), 2)
    await conn.execute(update(consent_keys).values(epoch=said))
    assert key_of(grant) == await registry.consent_key(conn, grant, {2: EPOCHS[2]})
    await change(conn, grant.pause(NOW))
    assert {2: 1} == await registry.epochs_in_use(conn)


@pytest.mark.asyncio
@pytest.mark.parametrize("said", [2, 7, registry.SET_ASIDE])
async def test_a_key_that_is_said_to_be_of_another_epoch_is_found_under_its_own(
    conn: AsyncConnection, grant_of: GrantOf, said: int
) -> None:
    grant = await add(conn, grant_of())
    await conn.execute(update(consent_keys).values(epoch=said))
    assert 1 == (await rotate(conn)).moved
    assert key_of(grant) == await registry.consent_key(conn, grant, {2: EPOCHS[2]})


@pytest.mark.asyncio
async def test_the_key_of_a_consent_that_is_over_is_not_carried_on_whatever_its_row_says(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    ends = Instant(NOW + 1000)
    over, stands = [await add(conn, grant_of(number, expires_at=ends)) for number in (1, 2)]
    await conn.execute(update(grants).where(grants.c.id == over.id).values(expires_at=NOW + 10**9))
    await conn.execute(update(consent_keys).where(consent_keys.c.grant_id == stands.id).values(epoch=2))

    done = await rotate(conn, Instant(ends - 1))
    assert (2, (), ()) == (done.moved, done.aside, done.outlived)
    done = await registry.rewrap(conn, 3, epoch_keys=EPOCHS | {3: b"3" * 32}, at=ends, entropy=os.urandom)
    assert (0, (), (over.id, stands.id)) == (done.moved, done.aside, done.outlived)
    assert {} == await registry.epochs_in_use(conn)


@pytest.mark.asyncio
async def test_a_key_from_before_gets_its_end_where_its_grant_is_what_it_is_bound_to(
    conn: AsyncConnection, grant_of: GrantOf
) -> None:
    ends = Instant(NOW + 1000)
    sound, edited = [await add(conn, grant_of(number, expires_at=ends)) for number in (1, 2)]
    for grant in (sound, edited):
        old = wrap(Kept(key_of(grant), None, dated=False), bound(grant), EPOCHS[1], b"o" * 12)
        await conn.execute(update(consent_keys).where(consent_keys.c.grant_id == grant.id).values(wrapped=old))
    await conn.execute(update(grants).where(grants.c.id == edited.id).values(expires_at=NOW + 10**9))

    assert 2 == (await rotate(conn)).moved
    found = {row.grant_id: row.wrapped for row in await conn.execute(select(consent_keys))}
    assert Kept(key_of(sound), ends) == unwrap(found[sound.id], bound(sound, 2), EPOCHS[2])
    assert Kept(key_of(edited), None, dated=False) == unwrap(found[edited.id], bound(edited, 2), EPOCHS[2])


MEANWHILE = {
    "destroyed by a revocation": (delete(consent_keys), {}),
    "wrapped by another rotation": (update(consent_keys).values(epoch=3), {3: 1}),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_rotation_leaves_alone_what_changed_since_it_was_read(
    conn: AsyncConnection, grant_of: GrantOf, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    await add(conn, grant_of())
    execute, statements = type(conn).execute, 0

    async def another_writer_after_the_read(self: AsyncConnection, statement: Any, *rest: Any) -> Any:
        nonlocal statements
        result, statements = await execute(self, statement, *rest), statements + 1
        if statements == 1:
            await execute(self, MEANWHILE[meanwhile][0])
        return result

    monkeypatch.setattr(type(conn), "execute", another_writer_after_the_read)
    done = await rotate(conn)
    monkeypatch.undo()
    assert (0, MEANWHILE[meanwhile][1]) == (done.moved, await registry.epochs_in_use(conn))
    assert sorted(MEANWHILE[meanwhile][1]) == await registry.epochs_used(conn)


# ── walking everything, for fsck ──


async def flat(batches: AsyncIterator[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [batch async for batch in batches]


@pytest.mark.asyncio
@pytest.mark.parametrize("batch", [1, 2, 3, 500])
async def test_all_heads_versions_and_keys_are_walked_in_order(
    conn: AsyncConnection, grant_of: GrantOf, batch: int
) -> None:
    first, second, third = [await add(conn, grant_of(number)) for number in (1, 2, 3)]
    paused, over = second.pause(NOW), third.revoke(NOW)
    for version in (paused, over):
        await change(conn, version)
    walks = [await flat(walk(conn, batch)) for walk in (registry.heads, registry.versions, registry.keys)]
    assert all(len(found) <= batch for walk in walks for found in walk)
    heads, versions, keys = ([each for found in walk for each in found] for walk in walks)
    assert [first, paused, over] == heads
    assert [first, second, paused, third, over] == versions
    assert [(first.id, 1), (paused.id, 1)] == [(key.grant_id, key.epoch) for key in keys]
    assert all(isinstance(key, KeyRow) for key in keys)


@pytest.mark.asyncio
async def test_the_walk_goes_on_past_a_row_that_is_no_grant(conn: AsyncConnection, grant_of: GrantOf) -> None:
    broken, sound = await add(conn, grant_of(1)), await add(conn, grant_of(2))
    for table in (grants, grant_versions):
        await conn.execute(update(table).where(table.c.id == broken.id).values(basis="habit"))
    expected = [(Unreadable(broken.id, broken.subject, 1, "grant.basis"), sound)]
    assert expected == await flat(registry.heads(conn))
    assert expected == await flat(registry.versions(conn))


@pytest.mark.asyncio
async def test_an_empty_registry_has_nothing_to_walk(conn: AsyncConnection) -> None:
    for walk in (registry.heads, registry.versions, registry.keys):
        assert [] == await flat(walk(conn))


@pytest.mark.asyncio
async def test_history_is_only_ever_added_to(conn: AsyncConnection, grant_of: GrantOf) -> None:
    grant = await add(conn, grant_of())
    before = row_of(grant)
    await change(conn, grant.pause(NOW))
    kept = (await conn.execute(select(grant_versions).where(grant_versions.c.version == 1))).one()
    assert before == dict(kept._mapping)
    assert 2 == (await conn.execute(select(func.count()).select_from(grant_versions))).scalar_one()
