"""The ledger: what somebody with the database alone writes into it, takes out of it or sets back is never signed."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256

import pytest

from broker.access.credentials import Scope
from broker.store.rows.digests import row_digest
from broker.transparency.export import export
from schemas.entry import Entry, EntryKind, opened
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.hpke import SealingKey, Suite
from schemas.merkle import leaf_hash
from tests.insider.door import issued, knocks
from tests.insider.forging import is_signed, listed, slip_in_entry
from tests.insider.hand import Row
from tests.insider.open import ENDLESS, FORK, SIGNED
from tests.insider.watch import Watch
from tests.world import CAF, FAMILY, MOVED, VOICE, YANN

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HERS = ["subject", "new_address"]


async def lived(watch: Watch) -> None:
    """A home with a past: somebody moved, somebody heard of it; and what was published of it until now."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await here.step()
    await export(here.home.store, here.home.ledger.verifier_key, here.folder / "published")
    await watch.begins()


async def test_an_entry_that_was_edited_is_found(watch: Watch) -> None:
    await lived(watch)
    row = await watch.hand.row("ledger_entries", position=3)

    await watch.hand.flip("ledger_entries", {"id": row["id"]}, entry=bytes(reversed(row["entry"])))

    await watch.judge("ledger: entry edited")


async def test_an_entry_that_was_replaced_with_its_leaf_is_found(watch: Watch) -> None:
    await lived(watch)
    row = (await watch.hand.rows("ledger_entries"))[-1]
    entry = Entry.decode(row["entry"])
    other = replace(entry, window=entry.window - 1).encode()

    await watch.hand.flip("ledger_entries", {"id": row["id"]}, entry=other, leaf=leaf_hash(other))

    await watch.judge("ledger: entry replaced")


async def test_an_entry_that_was_deleted_is_found(watch: Watch) -> None:
    await lived(watch)

    await watch.hand.remove("ledger_entries", position=3)

    await watch.judge("ledger: entry deleted")


async def test_positions_that_were_swapped_are_found(watch: Watch) -> None:
    await lived(watch)

    for was, becomes in ((3, -1), (4, 3), (-1, 4)):
        await watch.hand.flip("ledger_entries", {"position": was}, position=becomes)

    await watch.judge("ledger: positions swapped")


async def test_a_checkpoint_that_is_gone_is_found(watch: Watch) -> None:
    await lived(watch)
    newest = (await watch.hand.rows("ledger_checkpoints"))[-1]

    await watch.hand.remove("ledger_checkpoints", size=newest["size"])

    await watch.judge("ledger: newest checkpoint gone")


async def test_an_entry_that_an_insider_wrote_is_not_signed(watch: Watch) -> None:
    """A release that never was: who could prove that the house did not do it?"""
    await lived(watch)
    (said,) = await public(watch, EntryKind.RELEASED)

    leaf = await slip_in_entry(watch.hand, replace(said, tag=bytes(16), facts=bytes(32)))
    await watch.lets(watch.here.home.ledger.sequence_unfinished())
    if await is_signed(watch.hand, leaf):
        watch.gained.add(SIGNED)

    await watch.judge("ledger: entry slipped in")


async def test_an_open_entry_that_an_insider_wrote_is_not_signed(watch: Watch) -> None:
    """That a subscription has ended, in clear, while it stands; and what the house wrote at that moment is not lost."""
    here = watch.here
    await lived(watch)
    (told, *_) = await here.entries(FactKind.SUBSCRIPTION_APPROVED)
    lie = replace(told, kind=FactKind.SUBSCRIPTION_ENDED, at=here.clock())

    leaf = await slip_in_entry(watch.hand, opened(here.clock(), lie))
    given = await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    await watch.lets(here.home.ledger.sequence_unfinished())
    if await is_signed(watch.hand, leaf):
        watch.gained.add(SIGNED)
    elif not await is_signed(watch.hand, given.entry):
        watch.gained.add(ENDLESS)

    await watch.judge("ledger: open entry slipped in")


async def test_a_sealing_key_that_is_slipped_in_with_its_entry_is_sealed_to_by_nobody(watch: Watch) -> None:
    """So that fsck compares the row with an entry that the ledger has signed: all of it stays, and all is well."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    await here.step()
    await watch.begins()
    here.clock.pass_(1)
    key = SealingKey.generate(Suite.X25519)
    model = await watch.hand.row("sealing_keys", party=CAF)
    told = [entry for entry in await here.entries(FactKind.KEY_ADDED) if entry.detail == model["kid"]]

    await watch.hand.insert("sealing_keys", {**model, **listed(watch, key)})
    await slip_in_entry(watch.hand, opened(here.clock(), replace(told[0], at=here.clock(), detail=bytes(key.kid))))
    watch.restart()
    await watch.takes(CAF, key)

    await watch.judge("sealing key: slipped in with its entry")


async def test_a_token_that_is_slipped_in_with_its_entry_lets_nobody_in(watch: Watch) -> None:
    here = watch.here
    model, _ = await issued(watch, Scope.RECEIVE)
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    await here.step()
    await watch.begins()
    (told,) = [one for one in await here.entries(FactKind.KEY_ADDED) if one.detail == await digest(watch, model)]

    await watch.hand.copy("api_tokens", {"id": model}, id=bytes(8), digest=sha256(bytes(32)).digest())
    await slip_in_entry(watch.hand, opened(here.clock(), replace(told, detail=await digest(watch, bytes(8)))))
    await knocks(watch, f"unefois_{bytes(8).hex()}_{urlsafe_b64encode(bytes(32)).decode().rstrip('=')}")

    await watch.judge("token: inserted with its entry")


async def public(watch: Watch, kind: EntryKind) -> list[Entry]:
    """The entries of this kind, as everybody reads them."""
    found = [Entry.decode(row["entry"]) for row in await watch.hand.rows("ledger_entries")]
    return [entry for entry in found if entry.kind is kind]


async def taken_away(watch: Watch, row: Row) -> None:
    """An entry that has no place yet, with its opening."""
    await watch.hand.remove("ledger_openings", leaf=row["leaf"])
    await watch.hand.remove("ledger_entries", id=row["id"])


async def digest(watch: Watch, token: bytes) -> bytes:
    """What a token's entry commits to."""
    return row_digest("api_tokens", await watch.hand.row("api_tokens", id=token))


async def test_a_release_whose_entry_is_taken_away_before_it_has_its_place_is_noticed(watch: Watch) -> None:
    """The recipient holds a statement that names an entry; nobody else knows that anything went out."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    made = await here.declare(MOVED, here.moved())
    watch.allow(CAF, made.declaration_id, *HERS)
    await here.step()
    before = {"deliveries": await watch.hand.rows("deliveries")}
    here.clock.pass_(1_000)

    await watch.takes(CAF)
    for row in await watch.hand.rows("ledger_entries", position=None):
        await taken_away(watch, row)
    await watch.hand.put("deliveries", before["deliveries"])

    await watch.judge("ledger: a release's entry taken away")


async def test_a_revocation_whose_entry_is_taken_away_before_it_has_its_place_stays_a_revocation(watch: Watch) -> None:
    """All rows are set back to what they were a moment ago, as if nobody had said no."""
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    await here.declare(MOVED, here.moved())
    await here.step()
    await watch.begins()
    names = {"grants": "id", "grant_versions": "id", "consent_keys": "grant_id", "deliveries": "grant_id"}
    before = {table: await watch.hand.rows(table, **{name: given.grant.id}) for table, name in names.items()}

    await here.home.consents.revoke(given.grant.id, VOICE)
    for row in await watch.hand.rows("ledger_entries", position=None):
        await taken_away(watch, row)
    await watch.hand.remove("grant_versions", id=given.grant.id, version=2)
    for table, rows in before.items():
        await watch.hand.put(table, rows)
    watch.restart()
    await watch.takes(CAF)

    await watch.judge("revocation: unsaid before it has its place")


async def test_a_history_that_is_cut_and_grown_otherwise_is_not_signed(watch: Watch) -> None:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.step()
    tables = ("ledger_tiles", "ledger_checkpoints", "ledger_entries")
    before = {table: await watch.hand.rows(table) for table in tables}
    await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    await here.step()
    await export(here.home.store, here.home.ledger.verifier_key, here.folder / "published")

    for table in tables:
        await watch.hand.remove(table)
        await watch.hand.put(table, before[table])
    (told,) = await public(watch, EntryKind.FACT)
    await slip_in_entry(watch.hand, replace(told, facts=bytes(32)))
    watch.restart()
    if await watch.lets(watch.here.home.ledger.sequence_unfinished()):
        try:
            await export(here.home.store, here.home.ledger.verifier_key, here.folder / "published")
        except Refused:
            watch.gained.add(FORK)

    await watch.judge("ledger: history cut and grown otherwise")


async def test_a_ledger_that_is_set_back_with_all_tables_is_not_signed_again(watch: Watch) -> None:
    """Every table is as it was an hour ago, in the database of a process that goes on."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.step()
    before = await watch.hand.every_table()
    await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    await here.step()
    await export(here.home.store, here.home.ledger.verifier_key, here.folder / "published")

    for table, rows in before.items():
        await watch.hand.remove(table)
        await watch.hand.put(table, rows)
    here.clock.pass_(1_000)
    await watch.lets(here.give(CAF, MOVED, FAMILY, HERS, person=YANN))
    if await watch.lets(here.home.ledger.sequence_unfinished()):
        try:
            await export(here.home.store, here.home.ledger.verifier_key, here.folder / "published")
        except Refused:
            watch.gained.add(FORK)

    await watch.judge("ledger: all tables set back")
