"""Cosigning: witnesses are asked from where they are; what they sign is kept; what they refuse is heard."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from broker.outbound import Reply
from broker.store.tables import cosignatures, ledger_checkpoints, ledger_entries
from broker.transparency import cosigning as module
from broker.transparency.cosigning import FIRST_MS, KEPT, MOST_MS, Cosigning
from schemas import checkpoint, merkle
from schemas.checkpoint import Checkpoint
from schemas.errors import Refused, Unavailable
from schemas.facts import FactKind
from schemas.note import KeyType, Note, VerifierKey
from schemas.witnessing import Known, Submission
from tests.witnesses import Reached, key_of, witnessed
from tests.world import CAF, FAMILY, MINUTE, MOVED, World

pytestmark = pytest.mark.asyncio
ZERO, ONE = (f"https://witness{number}.example/add-checkpoint" for number in range(2))


async def grows(here: World) -> int:
    """A few more entries and a checkpoint; the size."""
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=named(here.clock()))
    here.clock.pass_(1)
    await here.home.ledger.sequence_unfinished()
    async with here.home.store.read() as tx:
        return (await tx.execute(select(func.max(ledger_checkpoints.c.size)))).scalar_one()


def named(number: int) -> dict[str, Any]:
    """Somebody else for each number."""
    return {**_PERSON, "family_name": "".join(chr(ord("a") + int(digit)) for digit in str(number))}


_PERSON: dict[str, Any] = {
    "given_names": ["Anna"],
    "birthdate": "1985-04-12",
    "gender": "female",
    "birthplace": "44109",
    "birthcountry": "99100",
}


async def signed(here: World, cosigning: Cosigning) -> tuple[int, Note]:
    async with here.home.store.read() as tx:
        return await cosigning.witnessed(tx)


def codes(cosigning: Cosigning) -> Sequence[str | None]:
    return [None if fault is None else fault.code for fault in cosigning.faults().values()]


async def test_what_a_quorum_has_signed_verifies_for_whoever_pins_the_witnesses(here: World, tmp_path: Path) -> None:
    size = await grows(here)
    with witnessed(tmp_path / "w", here, 3, quorum=2) as cosigning:
        assert 3 == await cosigning.step()
        assert 0 == await cosigning.step()  # nothing is new to them
        found, note = await signed(here, cosigning)
    verified = checkpoint.verify(note, here.home.ledger.verifier_key, _keys(3), 3)
    assert (size, size, 3) == (found, verified.checkpoint.size, len(verified.witnesses))


def _keys(count: int) -> list[VerifierKey]:
    kind = KeyType.COSIGNATURE_ED25519
    return [VerifierKey.of(f"witness.example/{number}", key_of(number), kind) for number in range(count)]


async def test_each_submission_begins_where_the_last_cosignature_ended(here: World, tmp_path: Path) -> None:
    network, sizes = Reached(), [await grows(here)]
    with witnessed(tmp_path / "w", here, reached=network) as cosigning:
        await cosigning.step()
        sizes.append(await grows(here))
        await cosigning.step()
    assert [0, sizes[0]] == [Submission.parse(body).old for _, body in network.asked]
    with witnessed(tmp_path / "w", here, reached=network) as cosigning:  # another process of the log
        await grows(here)
        await cosigning.step()
    assert sizes[1] == Submission.parse(network.asked[-1][1]).old


async def test_a_checkpoint_counts_as_witnessed_when_enough_have_signed_that_one(here: World, tmp_path: Path) -> None:
    network = Reached()
    network.at[ONE] = lambda _: Reply(503, {}, b"", whole=True)
    first = await grows(here)
    with witnessed(tmp_path / "w", here, 2, quorum=2, reached=network) as cosigning:
        assert 1 == await cosigning.step()
        with pytest.raises(Refused, match=r"cosigning\.none"):
            await signed(here, cosigning)
        assert [None, "cosigning.answer"] == codes(cosigning)
        del network.at[ONE]
    with witnessed(tmp_path / "w", here, 2, quorum=2, reached=network) as cosigning:
        await cosigning.step()
        assert first == (await signed(here, cosigning))[0]
        network.at[ZERO] = lambda _: Reply(503, {}, b"", whole=True)
        await grows(here)
        await cosigning.step()
        assert first == (await signed(here, cosigning))[0]  # one of two has signed the newest: that is not enough


async def test_a_witness_that_is_away_is_asked_ever_more_seldom_and_the_others_are_not_kept_waiting(
    here: World, tmp_path: Path
) -> None:
    network, asked = Reached(), []

    def away(_: bytes) -> Reply:
        asked.append(here.clock())
        raise Unavailable("outbound.away", error="ConnectError")

    network.at[ZERO] = away
    size = await grows(here)
    with witnessed(tmp_path / "w", here, 2, reached=network) as cosigning:
        assert 1 == await cosigning.step()
        assert (size, ["cosigning.away", None]) == ((await signed(here, cosigning))[0], codes(cosigning))
        while len(asked) < 12:
            here.clock.pass_(1000)
            await cosigning.step()
    waits = [later - sooner for sooner, later in pairwise(asked)]
    expected = [min(MOST_MS, FIRST_MS << number) for number in range(11)]
    assert all(least <= wait <= least * 1.25 + 1000 for least, wait in zip(expected, waits, strict=True)), waits


async def test_where_the_logs_own_memory_is_behind_the_witnesses_size_is_taken(here: World, tmp_path: Path) -> None:
    network, sizes = Reached(), [await grows(here)]
    with witnessed(tmp_path / "w", here, reached=network) as cosigning:
        await cosigning.step()
        async with here.home.store.begin() as tx:
            await tx.execute(delete(cosignatures))  # as after a crash between its signature and our writing it down
        sizes.append(await grows(here))
    with witnessed(tmp_path / "w", here, reached=network) as cosigning:
        assert 1 == await cosigning.step()
        assert [None] == codes(cosigning)
    assert [0, 0, sizes[0]] == [Submission.parse(body).old for _, body in network.asked]


async def test_a_log_that_was_rolled_back_hears_that_its_witness_is_ahead(here: World, tmp_path: Path) -> None:
    size = await grows(here)
    with witnessed(tmp_path / "w", here) as cosigning:
        await cosigning.step()
    forget, newest = ledger_checkpoints.c, (size,)
    async with here.home.store.begin() as tx:  # an older backup is put back: without the newest checkpoint
        row = (await tx.execute(select(ledger_checkpoints).where(forget.size.in_(newest)))).one()
        await tx.execute(delete(cosignatures))
        await tx.execute(delete(ledger_checkpoints).where(forget.size.in_(newest)))
    try:
        with witnessed(tmp_path / "w", here) as cosigning:
            assert 0 == await cosigning.step()
            assert ["cosigning.ahead"] == codes(cosigning)
            fault = cosigning.faults()["witness.example/0"]
            assert fault is not None
            assert size == fault.details["seen"]
    finally:
        async with here.home.store.begin() as tx:
            tx.add(ledger_checkpoints, dict(row._mapping))


async def test_a_log_that_forked_is_refused_and_hears_it(here: World, tmp_path: Path) -> None:
    size = await grows(here)
    with witnessed(tmp_path / "w", here) as cosigning:
        await cosigning.step()
    async with here.home.store.begin() as tx:
        row = (await tx.execute(select(ledger_checkpoints).where(ledger_checkpoints.c.size == size))).one()
        other = Checkpoint(here.home.ledger.verifier_key.name, size, merkle.leaf_hash(b"another past"))
        note = checkpoint.sign(other, here.home.ledger._key.private).encode().decode()
        await tx.execute(update(ledger_checkpoints).where(ledger_checkpoints.c.size == size).values(note=note))
        await tx.execute(delete(cosignatures))
    try:
        with witnessed(tmp_path / "w", here) as cosigning:
            assert 0 == await cosigning.step()
            assert ["cosigning.fork"] == codes(cosigning)
    finally:
        async with here.home.store.begin() as tx:
            await tx.execute(update(ledger_checkpoints).where(ledger_checkpoints.c.size == size).values(note=row.note))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(200, {}, b"", whole=True), "witnessing.answer"),
        (Reply(200, {}, "— witness.example/0 AAAAAA==\n".encode(), whole=True), "note.signature-line"),
        (Reply(200, {}, "— witness.example/9 AAAAAAAA\n".encode(), whole=True), "checkpoint.quorum"),
        (Reply(200, {}, b"x" * 10, whole=False), "cosigning.answer"),
        (Reply(302, {"location": "/"}, b"", whole=True), "cosigning.answer"),
        (Reply(404, {}, b"", whole=True), "cosigning.answer"),
        (Reply(409, {}, b"many\n", whole=True), "cosigning.answer"),
        (Reply(409, {}, b"0\n", whole=True), "cosigning.fork"),
        (Reply(409, {}, b"99999999\n", whole=True), "cosigning.ahead"),
        (Reply(422, {}, b"", whole=True), "cosigning.fork"),
        (Reply(500, {}, b"", whole=True), "cosigning.answer"),
    ],
)
async def test_whatever_a_witness_answers_stops_nobody(here: World, tmp_path: Path, answer: Reply, code: str) -> None:
    network = Reached()
    network.at[ZERO] = lambda _: answer
    await grows(here)
    with witnessed(tmp_path / "w", here, reached=network) as cosigning:
        assert 0 == await cosigning.step()
        assert [code] == codes(cosigning)
    async with here.home.store.read() as tx:
        assert 0 == (await tx.execute(select(func.count()).select_from(cosignatures))).scalar_one()


async def test_another_witnesses_signature_is_not_taken_for_its_own(here: World, tmp_path: Path) -> None:
    network = Reached()
    await grows(here)
    with witnessed(tmp_path / "w", here, 2, reached=network) as cosigning:
        network.at[ZERO] = network.at[ONE]
        await cosigning.step()
        assert ["checkpoint.quorum", None] == codes(cosigning)


async def test_keys_stay_closed_while_checkpoints_wait_where_the_settings_say_so(here: World, tmp_path: Path) -> None:
    network, home = Reached(), here.home
    with witnessed(tmp_path / "w", here, stale_ms=5 * MINUTE, reached=network) as cosigning:
        home.gate._cosigning = cosigning
        await grows(here)
        await cosigning.step()
        await here.declare(MOVED, here.moved(named(here.clock() - 1)))
        await home.ledger.sequence_unfinished()
        here.clock.pass_(5 * MINUTE + 1)
        leased = [one.id for one in await here.inbox(CAF).lease(10)]
        with pytest.raises(Unavailable, match=r"cosigning\.stale"):
            await home.gate.release(CAF, leased)
        assert [] == await here.entries(FactKind.RELEASED)
        await cosigning.step()
        assert leased == [one.delivery_id for one in (await home.gate.release(CAF, leased)).locked]
        here.clock.pass_(90 * MINUTE)  # nothing is new: nothing waits
        await cosigning.step()


async def test_only_so_many_cosignatures_are_kept_and_the_witnessed_ones_among_them(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    assert KEPT == 100
    network = Reached()
    with witnessed(tmp_path / "w", here, 2, quorum=2, reached=network) as cosigning:
        first = await grows(here)
        await cosigning.step()
        network.at[ONE] = lambda _: Reply(503, {}, b"", whole=True)
        for _ in range(4):
            newest = await grows(here)
            await cosigning.step()
        assert first == (await signed(here, cosigning))[0]
    async with here.home.store.read() as tx:
        kept = (await tx.execute(select(cosignatures.c.size).order_by(cosignatures.c.size))).scalars().all()
    assert (4, [first, first], newest) == (len(kept), kept[:2], kept[-1])


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("nonsense https://a.example", "note.key-malformed"),
        ("{log} https://a.example", "checkpoint.cosignature-type"),
        ("{witness}", "cosigning.address"),
        ("{witness} ftp://a.example", "cosigning.address"),
    ],
)
async def test_a_witness_is_told_by_key_and_address(here: World, told: str, code: str) -> None:
    (key,) = _keys(1)
    with pytest.raises(Refused) as caught:
        Known.parse(told.format(log=here.home.ledger.verifier_key.text, witness=key.text))
    assert code == caught.value.code
    assert f"{key.text} https://a.example" == " ".join(
        (Known.parse(f" {key.text} https://a.example/ ").key.text, Known.parse(f"{key.text} https://a.example/").url)
    )


@pytest.mark.databases
async def test_it_is_asked_signed_and_kept_on_both_databases(here: World, tmp_path: Path) -> None:
    size = await grows(here)
    with witnessed(tmp_path / "w", here, 2, quorum=2) as cosigning:
        assert 2 == await cosigning.step()
        assert size == (await signed(here, cosigning))[0]
        async with here.home.store.read() as tx:
            seen = await cosigning.seen(tx)
    assert {"witness.example/0": (size, here.clock()), "witness.example/1": (size, here.clock())} == seen
    async with here.home.store.read() as tx:
        assert (await tx.execute(select(func.count()).select_from(ledger_entries))).scalar_one() >= size
