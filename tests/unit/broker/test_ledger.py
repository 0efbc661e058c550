"""The ledger: what is committed is ordered once, and what is ordered can be proven to anyone, offline."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from broker.ledger import sequencer as ledgers
from broker.ledger.recorder import Said
from broker.ledger.sequencer import GRACE_MS, Ledger, files_of, newest_checkpoint, size_of
from broker.store.engine import Transaction
from broker.store.tables import ledger_checkpoints, ledger_entries, ledger_openings
from consent.rows import digest_of
from schemas import checkpoint, merkle, receipt, tiles
from schemas.entry import Entry, opened
from schemas.errors import Fault, Refused
from schemas.facts import FactKind, Facts, subject_commitment
from schemas.names import Instant, LeafHash, PartyId
from schemas.note import Note
from schemas.signing import Algorithm, PrivateKey
from tests.signed import ours, pair_of
from tests.world import CAF, FAMILY, MOVED, VOICE, World, world

pytestmark = pytest.mark.asyncio


def entry(number: int) -> Entry:
    """One of many entries about nobody."""
    at = Instant(number + 1)
    return opened(at, Facts(at, FactKind.EPOCH_DESTROYED, PartyId("urn:unefois:broker")))


async def add(here: World, entries: Iterable[Entry], chain: bytes | None = None) -> None:
    """Entries that are committed and wait for their order."""
    told = [{"leaf": one.leaf_hash(), "entry": one.encode(), "window": one.window, "chain": chain} for one in entries]
    rows = [ours(row, here.home.macs) for row in told]
    async with here.home.store.begin() as tx:
        await tx.execute(insert(ledger_entries), rows)


async def fill(here: World, size: int) -> None:
    """A ledger of exactly `size` entries, ordered."""
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.read() as tx:
        old = await size_of(tx)
    await add(here, map(entry, range(old, size)))
    assert size - old == await here.home.ledger.sequence_unfinished()


async def leaf_at(here: World, position: int) -> LeafHash:
    async with here.home.store.read() as tx:
        where = ledger_entries.c.position == position
        return LeafHash((await tx.execute(select(ledger_entries.c.leaf).where(where))).scalar_one())


async def proven(here: World, position: int) -> receipt.CheckedReceipt:
    """The receipt of the entry at a position, checked as its holder will check it."""
    text = await here.home.ledger.prove(await leaf_at(here, position))
    return receipt.check(text, here.home.ledger.verifier_key)


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513])
async def test_a_ledger_of_any_size_around_a_tile_proves_its_entries(here: World, size: int) -> None:
    await fill(here, size)

    for position in sorted({0, 1, 254, min(255, size - 1), size - 2, size - 1}):
        checked = await proven(here, position)
        assert (position, size) == (checked.index, checked.size)


@pytest.mark.proof
async def test_a_ledger_beyond_a_tile_of_tiles_proves_its_entries_and_that_it_only_grew(tmp_path: Path) -> None:
    async with world(tmp_path) as here:  # without the fixture's fsck, which would read all of it once more
        await fill(here, 65_535)
        for size in (65_536, 65_537, 65_793):
            old, root = await tree(here)
            await fill(here, size)

            for position in (0, 255, 65_279, size - 1):
                assert (position, size) == ((checked := await proven(here, position)).index, checked.size)
            new, proof = await here.home.ledger.consistency(old)
            merkle.verify_consistency(old, new, root, (await tree(here))[1], proof)


async def tree(here: World) -> tuple[int, bytes]:
    """Size and root that the newest checkpoint signs."""
    async with here.home.store.read() as tx:
        _, note = await newest_checkpoint(tx)
    signed = checkpoint.verify(Note.parse(note.encode()), here.home.ledger.verifier_key).checkpoint
    return signed.size, signed.root


async def test_entries_get_their_order_batch_by_batch(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "BATCH", 7)
    await add(here, map(entry, range(21)))

    assert 21 == await here.home.ledger.sequence_unfinished()

    async with here.home.store.read() as tx:
        sizes = list(
            (await tx.execute(select(ledger_checkpoints.c.size).order_by(ledger_checkpoints.c.size))).scalars()
        )
    assert [7, 7, 7] == [after - before for before, after in zip(sizes[-4:], sizes[-3:], strict=False)]
    assert 0 == await here.home.ledger.sequence_unfinished()


async def test_a_long_backlog_is_read_once_and_what_is_set_aside_or_gone_meanwhile_leaves_no_hole_and_ends_no_turn(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "BATCH", 3)
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.read() as tx:
        old = await size_of(tx)
    await add(here, [replace(entry(number), window=Instant(number // 3)) for number in range(21)])
    async with here.home.store.begin() as tx:
        ids = list((await tx.execute(select(ledger_entries.c.id).order_by(ledger_entries.c.id))).scalars())[-21:]
        await tx.execute(update(ledger_entries).where(ledger_entries.c.id == ids[4]).values(leaf=bytes(32)))
    as_written = lambda size: b"".join(number.to_bytes(16, "big") for number in range(size // 16))  # noqa: E731
    monkeypatch.setattr(here.home.ledger, "_entropy", as_written)  # so that what goes is not the last of its window
    real, reads = Ledger._arranged, 0

    async def arranged(self: Ledger, tx: Transaction, before: int | None) -> list[list[int]]:
        nonlocal reads
        reads += 1
        found = await real(self, tx, before)
        await tx.execute(delete(ledger_entries).where(ledger_entries.c.id.in_([ids[9], *ids[18:]])))
        return found

    monkeypatch.setattr(Ledger, "_arranged", arranged)

    assert 16 == await here.home.ledger.sequence_unfinished()

    assert 1 == reads
    async with here.home.store.read() as tx:
        places = select(ledger_entries.c.position).where(ledger_entries.c.position >= old)
        assert list(range(old, old + 16)) == sorted((await tx.execute(places)).scalars())
    assert ["ledger.not-ours"] == [one.check for one in await here.home.fsck.check()]
    async with here.home.store.begin() as tx:
        await tx.execute(delete(ledger_entries).where(ledger_entries.c.id == ids[4]))


@pytest.mark.databases
async def test_any_number_of_sequencers_give_each_entry_one_place(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "BATCH", 3)
    await add(here, map(entry, range(40)))
    home = here.home
    others = [another(here, home.ledger._key.private) for _ in range(3)]

    counts = await asyncio.gather(*(one.sequence_unfinished() for one in (home.ledger, *others)))

    assert 40 == sum(counts)


def another(here: World, key: PrivateKey) -> Ledger:
    """Another process's sequencer of this ledger, or with another key a stranger's."""
    home = here.home
    return Ledger(
        store=home.store,
        openings=home.openings,
        macs=home.macs,
        said=Said(),
        origin=home.settings.ledger_origin,
        first_origin=None,
        key=pair_of(key),
        window_ms=home.settings.ledger_window_seconds * 1000,
        clock=home.clock,
        entropy=home.entropy,
    )


async def place_all_at(here: World, position: int) -> None:
    async with here.home.store.begin() as tx:
        free = ledger_entries.c.position.is_(None)
        await tx.execute(update(ledger_entries).where(free).values(position=position))


async def test_a_second_order_of_the_same_entries_cannot_be_written(here: World) -> None:
    # what a sequencer that does not wait its turn would try: the position is taken
    await add(here, [entry(1), entry(2)])
    await here.home.ledger.sequence_unfinished()
    await add(here, [entry(3)])

    with pytest.raises(IntegrityError):
        await place_all_at(here, 0)

    assert 1 == await here.home.ledger.sequence_unfinished()


async def test_what_rolls_back_leaves_no_entry(here: World) -> None:
    before = await here.entries()

    with suppress(ZeroDivisionError):
        async with here.home.store.begin() as tx:
            here.home.recorder.record(tx, FactKind.VIEWED, here.clock(), about=here.subject())
            raise ZeroDivisionError

    assert before == await here.entries()


async def test_an_entry_outside_a_writing_transaction_is_refused(here: World) -> None:
    async with here.home.store.read() as tx:
        with pytest.raises(ValueError, match="reading transaction"):
            here.home.recorder.record(tx, FactKind.VIEWED, here.clock(), about=here.subject())


async def test_a_citizen_is_a_commitment_under_a_salt_of_the_entrys_own(here: World) -> None:
    async with here.home.store.begin() as tx:
        leaves = [here.home.recorder.record(tx, FactKind.VIEWED, here.clock(), about=here.subject()) for _ in range(2)]

    first, second = await here.entries(FactKind.VIEWED)
    assert first.subject != second.subject
    openings, salts = here.home.openings, []
    async with here.home.store.read() as tx:
        for leaf in leaves:
            opened = await openings.of_leaf(tx, leaf)
            assert opened is not None
            salts.append(openings.salt(here.subject(), opened.opening.blind))
    assert [one.subject for one in (first, second)] == [subject_commitment(salt, here.subject()) for salt in salts]


async def test_an_entry_is_the_brokers_unless_somebody_is_named(here: World) -> None:
    async with here.home.store.begin() as tx:
        here.home.recorder.record(tx, FactKind.VIEWED, here.clock())
        here.home.recorder.record(tx, FactKind.VIEWED, here.clock(), actor=CAF)

    assert [here.home.party, CAF] == [one.actor for one in await here.entries(FactKind.VIEWED)]


async def test_the_entry_of_a_grant_commits_to_the_whole_of_its_version(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    revoked = await here.home.consents.revoke(given.grant.id, VOICE)

    told = await here.entries(FactKind.GRANTED, FactKind.REVOKED)

    assert [digest_of(given.grant), digest_of(revoked.grant)] == [one.detail for one in told]
    assert told[0].detail != told[1].detail


async def test_an_entry_that_never_was_is_not_proven(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.ledger.prove(LeafHash(bytes(32)))

    assert ("ledger.unknown-entry", "/entry") == (refused.value.code, refused.value.pointer)


async def test_an_entry_that_has_no_place_yet_is_not_proven(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])

    with pytest.raises(Refused) as refused:
        await here.home.ledger.prove(given.entry)
    assert "ledger.not-sequenced-yet" == refused.value.code

    await here.home.ledger.sequence_unfinished()
    assert given.entry == leaf_of(here, await here.home.ledger.prove(given.entry))


def leaf_of(here: World, text: str) -> LeafHash | None:
    """Of the entry that a receipt proves, once it is checked."""
    entry = receipt.check(text, here.home.ledger.verifier_key).entry
    return None if entry is None else entry.leaf_hash()


async def test_what_is_in_a_window_that_is_not_over_waits_for_its_end(here: World) -> None:
    window = here.home.settings.ledger_window_seconds * 1000
    await here.home.ledger.sequence_unfinished()
    here.clock.pass_(window - here.clock() % window)  # the first instant of a window
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])

    here.clock.pass_(window + GRACE_MS - 1)
    assert 0 == await here.home.ledger.sequence()
    here.clock.pass_(1)
    assert 1 == await here.home.ledger.sequence()

    assert given.entry == leaf_of(here, await here.home.ledger.prove(given.entry))


async def test_of_what_waits_a_whole_window_comes_though_a_batch_is_smaller(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "BATCH", 3)
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.read() as tx:
        old = await size_of(tx)
    await add(here, [replace(entry(number), window=Instant(1)) for number in range(5)])
    await add(here, [replace(entry(number), window=Instant(2)) for number in range(5, 7)])

    assert 7 == await here.home.ledger.sequence_unfinished()

    async with here.home.store.read() as tx:
        sizes = select(ledger_checkpoints.c.size).where(ledger_checkpoints.c.size > old)
        found = (await tx.execute(sizes.order_by(ledger_checkpoints.c.size))).scalars()
        assert [5, 7] == [size - old for size in found]


async def test_within_a_window_the_order_is_not_that_of_the_writing_and_what_is_public_has_its_end_of_it(
    here: World,
) -> None:
    await here.home.ledger.sequence_unfinished()
    home, written = here.home, []
    async with home.store.begin() as tx:
        for number in range(40):
            written.append(home.recorder.record(tx, FactKind.VIEWED, here.clock(), about=here.subject()))
            if number == 19:
                ends = home.recorder.record(tx, FactKind.EPOCH_DESTROYED, here.clock())
    await home.ledger.sequence_unfinished()

    async with home.store.read() as tx:
        ordered = select(ledger_entries.c.leaf).order_by(ledger_entries.c.position.desc()).limit(41)
        placed = [LeafHash(leaf) for leaf in (await tx.execute(ordered)).scalars()][::-1]
    assert ends == placed[-1]
    assert set(written) == set(placed[:-1])
    assert written != placed[:-1]


async def test_an_entry_whose_opening_is_gone_is_not_proven_any_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        given = await here.give(CAF, MOVED, FAMILY, ["subject"])
        await here.home.ledger.sequence_unfinished()
        async with here.home.store.begin() as tx:
            await tx.execute(delete(ledger_openings).where(ledger_openings.c.leaf == given.entry))

        with pytest.raises(Refused) as refused:
            await here.home.ledger.prove(given.entry)

    assert ("ledger.erased", "/entry") == (refused.value.code, refused.value.pointer)


async def test_an_open_entry_is_proven_without_an_opening(here: World) -> None:
    await here.home.ledger.sequence_unfinished()
    leaf, facts = (await here.told(FactKind.PARTY_ADDED))[0]

    checked = receipt.check(await here.home.ledger.prove(leaf), here.home.ledger.verifier_key)

    assert facts == checked.facts


async def test_an_empty_ledger_has_no_checkpoint(here: World) -> None:
    async with here.home.store.begin() as tx:
        kept = [dict(row._mapping) for row in await tx.execute(select(ledger_checkpoints))]
        await tx.execute(ledger_checkpoints.delete())
        with pytest.raises(Refused) as refused:
            await newest_checkpoint(tx)
        await tx.execute(insert(ledger_checkpoints), kept)

    assert "ledger.empty" == refused.value.code


@pytest.mark.parametrize("language", ["fr", "en"])
async def test_a_receipt_that_was_changed_anywhere_does_not_verify(here: World, language: str) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.ledger.sequence_unfinished()
    text = await here.home.ledger.prove(given.entry, language)  # type: ignore[arg-type]
    key = here.home.ledger.verifier_key
    assert given.entry == leaf_of(here, text)

    for at in range(0, len(text), 5):
        other = "x" if text[at] != "x" else "y"
        with pytest.raises(Fault):
            receipt.check(text[:at] + other + text[at + 1 :], key)
    for cut in (text[:-1], text + " ", text.replace("\n", "\n\n", 1)):
        with pytest.raises(Fault):
            receipt.check(cut, key)


async def test_a_receipt_of_another_log_does_not_verify(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.ledger.sequence_unfinished()
    text = await here.home.ledger.prove(given.entry)
    stranger = another(here, PrivateKey.generate(Algorithm.ED25519))

    with pytest.raises(Refused):
        receipt.check(text, stranger.verifier_key)


async def test_the_files_of_the_log_are_there_in_the_width_that_is_asked_and_no_wider(here: World) -> None:
    await fill(here, 300)
    async with here.home.store.read() as tx:

        def look(path: str) -> int | None:
            try:
                return len(files_of(tx.conn.sync_connection)(path))  # type: ignore[arg-type]
            except LookupError:
                return None

        assert 256 * 32 == await tx.conn.run_sync(lambda _: look("tile/0/000"))
        assert 32 == await tx.conn.run_sync(lambda _: look("tile/0/000.p/1"))
        assert 44 * 32 == await tx.conn.run_sync(lambda _: look("tile/0/001.p/44"))
        assert 32 == await tx.conn.run_sync(lambda _: look("tile/1/000.p/1"))
        for absent in ("tile/0/001.p/45", "tile/0/001", "tile/0/002.p/1", "tile/entries/001.p/45"):
            assert await tx.conn.run_sync(lambda _, path=absent: look(path)) is None
        whole = (
            await tx.conn.run_sync(lambda conn: list(tiles.verified_entries(*signed, files_of(conn))))
            if (signed := await tree(here))
            else []
        )
        placed = select(ledger_entries.c.entry).order_by(ledger_entries.c.position)
        assert whole == list((await tx.execute(placed)).scalars())
