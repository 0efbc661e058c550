"""Endings: what has ended stays ended, whatever is written back into the database; what a crash left is completed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Table, delete, insert, select, update

from broker.access.credentials import Scope
from broker.ended import FOREVER, LEDGER, Ended, Ending, Mark
from broker.ledger.highwater import compared
from broker.ledger.sequencer import Ledger
from broker.maintenance.completing import COMPLETED
from broker.ports import KeyKind
from broker.store.access_tables import api_tokens, client_key_sets, client_keys
from broker.store.engine import Transaction
from broker.store.tables import (
    consent_epochs,
    gate_epochs,
    ledger_checkpoints,
    ledger_entries,
    ledger_tiles,
    meta,
    publishing_rights,
    signature_policies,
    signing_keys,
    subscriptions,
)
from consent.basis import law
from consent.grant import Scope as Occasion
from consent.grant import Status
from consent.tables import consent_keys, grant_versions, grants
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.facts import FactKind
from schemas.names import Instant, Reason
from schemas.signing import Algorithm, PrivateKey
from tests.clients import Client
from tests.memory import MemoryEndings
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, PORTAL, RENNES, VOICE, World, world

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def bare(tmp_path: Any) -> AsyncIterator[World]:
    """A world that may end in contradiction: that is what is looked at."""
    async with world(tmp_path, stepped=True) as made:
        yield made


async def rows_of(here: World, *tables: Table) -> dict[Table, list[dict[str, Any]]]:
    """A copy of these tables."""
    async with here.home.store.read() as tx:
        return {table: [dict(row._mapping) for row in await tx.execute(select(table))] for table in tables}


async def put_back(here: World, copy: dict[Table, list[dict[str, Any]]]) -> None:
    """What somebody who can write into the database does with yesterday's rows: upkeep came by since."""
    await here.home.completion.finish()
    async with here.home.store.begin() as tx:
        for table in reversed(list(copy)):
            await tx.execute(delete(table))
        for table, rows in copy.items():
            if rows:
                await tx.execute(insert(table), rows)
        if await tx.insert_new(meta, {"name": "directory-version", "value": "1"}):
            return
        changed = select(meta.c.value).where(meta.c.name == "directory-version")
        version = int((await tx.execute(changed)).scalar_one()) + 1
        await tx.execute(update(meta).where(meta.c.name == "directory-version").values(value=str(version)))


async def fault_of(call: Awaitable[object], kind: type[Fault] = Refused) -> str:
    with pytest.raises(kind) as raised:
        await call
    return raised.value.code


async def checks(here: World) -> set[str]:
    """What fsck finds."""
    return {one.check for one in await here.home.fsck.check()}


async def completed(here: World) -> list[tuple[str, bool]]:
    """From where the database was when it was copied: what the journal knows more."""
    async with here.home.store.begin() as tx:
        await tx.execute(delete(meta).where(meta.c.name == COMPLETED))
        await tx.insert_new(meta, {"name": COMPLETED, "value": f"{here.home.endings.journal}:0"})
    return [(one.table, one.done) for one in await here.home.completion.finish()]


GRANTS = (grants, grant_versions, consent_keys)


async def pulled(here: World, declared: bool = True) -> int:
    """How many deliveries CAF opens, of one more declaration."""
    if declared:
        await here.declare(MOVED, here.moved())
    return len(await here.take(CAF))


# ── rows put back ───────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def waiting(bare: World) -> AsyncIterator[Any]:
    """A consent under which a delivery waits, and a copy of all rows of it."""
    given = await bare.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await bare.declare(MOVED, bare.moved())
    from broker.store.tables import deliveries

    bare_rows = await rows_of(bare, *GRANTS, deliveries)
    yield given.grant.id
    await put_back(bare, bare_rows)


async def test_yesterdays_consent_and_its_key_put_back_together_open_nothing_and_plan_nothing(bare: World) -> None:
    async with waiting(bare) as grant_id:
        await bare.home.consents.revoke(grant_id, VOICE)

    assert "endings.contradicted" in await checks(bare)
    assert 0 == await pulled(bare, declared=False)
    assert 0 == await pulled(bare)
    assert 1 == len(await bare.entries(FactKind.REVOKED))
    reasons = [one.reason for one in await bare.entries(FactKind.WITHHELD)]
    assert Reason.REVOKED in reasons


async def test_a_pause_holds_although_its_row_was_put_back(bare: World) -> None:
    async with waiting(bare) as grant_id:
        await bare.home.consents.pause(grant_id, VOICE)
    assert 0 == await pulled(bare, declared=False)
    assert 0 == await pulled(bare)


async def test_a_narrowing_holds_although_its_row_was_put_back(bare: World) -> None:
    async with waiting(bare) as grant_id:
        await bare.home.consents.narrow(grant_id, frozenset({"subject"}), VOICE)
    assert [] == await bare.take(CAF)
    await bare.declare(MOVED, bare.moved())
    assert [{"subject"}] == [set(one.disclosed) for one in await bare.take(CAF)]


async def test_a_consent_for_one_occasion_is_not_spent_twice_with_its_old_row(bare: World) -> None:
    await bare.give(CAF, MOVED, FAMILY, ["subject"], scope=Occasion.ONCE)
    old = await rows_of(bare, *GRANTS)
    assert 1 == await pulled(bare)
    await put_back(bare, old)
    assert 0 == await pulled(bare)


async def test_a_mandate_that_ended_and_one_that_expired_stay_over(bare: World) -> None:
    for more in ({}, {"expires_at": Instant(bare.clock() + DAY)}):
        given = await bare.give(CAF, BANK, FAMILY, ["iban"], basis=law("CSS, art. L1"), **more)
        old = await rows_of(bare, *GRANTS)
        if more:
            bare.clock.pass_(DAY)
            assert 1 == await bare.home.consents.expire_due()
        else:
            await bare.home.consents.end_mandate(given.grant.id, VOICE)
        await put_back(bare, old)
        assert "grant.over" == await fault_of(bare.home.consents.end_mandate(given.grant.id, VOICE))


async def test_a_row_of_the_same_version_with_other_words_does_not_count(bare: World) -> None:
    given = await bare.give(CAF, MOVED, FAMILY, ["subject", "new_address"])
    await bare.home.consents.narrow(given.grant.id, frozenset({"subject"}), VOICE)
    async with bare.home.store.begin() as tx:
        for table in (grants, grant_versions):
            await tx.execute(update(table).values(fields='["new_address", "subject"]'))
    await bare.declare(MOVED, bare.moved())
    assert [] == await bare.take(CAF)  # the key is bound to the version that stood: nothing opens, not even that


async def issued(here: World) -> Any:
    async with here.home.store.begin() as tx:
        at = here.clock()
        return await here.home.credentials.issue(tx, CAF, [Scope.RECEIVE], expires_at=Instant(at + DAY), at=at)


async def verified(here: World, token: str) -> None:
    async with here.home.store.read() as tx:
        await here.home.credentials.verify(tx, token, here.clock())


async def test_a_revoked_tokens_old_row_lets_nobody_in(bare: World) -> None:
    token = await issued(bare)
    old = await rows_of(bare, api_tokens)
    async with bare.home.store.begin() as tx:
        await bare.home.credentials.revoke(tx, token.credential.id, bare.clock())
    await put_back(bare, old)

    assert "credentials.revoked" == await fault_of(verified(bare, token.token))
    assert "endings.contradicted" in await checks(bare)


async def test_a_client_key_that_was_unpinned_gets_no_token_by_its_old_row(bare: World) -> None:
    client = Client(bare, CAF)
    await client.pin()
    proven = await client.prove()
    old = await rows_of(bare, client_keys)
    async with bare.home.store.begin() as tx:
        await bare.home.oauth.unpin(tx, proven.kid, bare.clock())
    await put_back(bare, old)

    assert "oauth.assertion" == await fault_of(client.prove())
    assert "oauth.assertion" == await fault_of(redeemed(bare, proven))
    await put_back(bare, {client_keys: []})
    assert "oauth.assertion" == await fault_of(redeemed(bare, proven))


async def redeemed(here: World, proven: Any) -> None:
    async with here.home.store.begin() as tx:
        await here.home.oauth.redeem(tx, proven, here.clock())


async def test_an_address_of_keys_that_is_followed_no_more_is_not_followed_by_its_old_row(bare: World) -> None:
    from broker.access.keysets import standing

    async with bare.home.store.begin() as tx:
        await bare.home.key_sets.follow(tx, CAF, "https://caf.example/jwks", [Scope.READ], bare.clock())
    old = await rows_of(bare, client_key_sets)
    async with bare.home.store.begin() as tx:
        await bare.home.key_sets.unfollow(tx, CAF, bare.clock())
    await put_back(bare, old)
    async with bare.home.store.read() as tx:
        assert None is await standing(tx, bare.home.rows, CAF)
    assert [("client_key_sets", True)] == [one for one in await completed(bare) if one[0] == "client_key_sets"]


async def test_a_revoked_key_signs_nothing_by_its_old_row(bare: World) -> None:
    envelope = await bare.home.desk.envelope(PORTAL, MOVED, bare.moved())
    async with bare.home.store.read() as tx:
        directory = await bare.home.lookup.directory(tx)
    (kid,) = [one.kid for one in directory.signing if one.party == PORTAL]
    old = await rows_of(bare, signing_keys)
    async with bare.home.store.begin() as tx:
        await bare.home.registrar.revoke_key(tx, kid, bare.clock)
    await put_back(bare, old)
    bare.clock.pass_(1)

    assert "directory.key-revoked" == await fault_of(bare.home.intake.accept(envelope))
    assert "endings.contradicted" in await checks(bare)


async def test_a_right_that_ended_does_not_declare_by_its_old_row(bare: World) -> None:
    envelope = await bare.home.desk.envelope(PORTAL, MOVED, bare.moved())
    old = await rows_of(bare, publishing_rights)
    bare.clock.pass_(1)
    async with bare.home.store.begin() as tx:
        await bare.home.registrar.end_publishing(tx, PORTAL, MOVED, bare.clock)
    await put_back(bare, old)
    bare.clock.pass_(1)

    assert "directory.not-entitled" == await fault_of(bare.home.intake.accept(envelope))


async def test_a_raised_signature_policy_holds_without_its_row(bare: World) -> None:
    old = await rows_of(bare, signature_policies)
    key = PrivateKey.generate(Algorithm.ML_DSA_44)
    async with bare.home.store.begin() as tx:
        at = bare.clock()
        more = {"algorithm": key.algorithm, "public": key.public, "valid_from": at, "at": at}
        await bare.home.registrar.add_signing_key(tx, PORTAL, **more)
        await bare.home.registrar.set_policy(tx, PORTAL, 4, Instant(at + 1))
    await put_back(bare, old)

    async with bare.home.store.read() as tx:
        assert 4 == (await bare.home.lookup.directory(tx)).policy(PORTAL, Instant(bare.clock() + 1))
    assert [("signature_policies", True)] == [one for one in await completed(bare) if one[0] == "signature_policies"]
    assert set() == await checks(bare)


async def test_an_ended_subscription_receives_nothing_by_its_old_row(bare: World) -> None:
    await bare.give(CAF, MOVED, FAMILY, ["subject"])
    old = await rows_of(bare, subscriptions)
    async with bare.home.store.begin() as tx:
        await bare.home.subscribing.end(tx, bare.subscriptions[CAF, MOVED].id, bare.clock())
    await put_back(bare, old)

    assert 0 == await pulled(bare)


@pytest.mark.databases
async def test_a_subscription_that_is_approved_again_receives_again_in_the_same_millisecond(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    mine = here.subscriptions[CAF, MOVED]
    async with here.home.store.begin() as tx:
        await here.home.subscribing.end(tx, mine.id, here.clock())
    here.clock.pass_(1)
    again = await here.subscribe(CAF, MOVED, FAMILY, ["subject"])
    assert mine.id == again.id
    assert 1 == await pulled(here)


# ── epochs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement", [update(consent_epochs).values(destroyed_at=1), delete(consent_epochs)], ids=["destroyed", "gone"]
)
async def test_a_row_written_by_hand_destroys_no_living_key(bare: World, statement: Any) -> None:
    await bare.give(CAF, MOVED, FAMILY, ["subject"])
    await bare.home.epochs.finish()
    before = bare.home.keys.names(KeyKind.CONSENT_EPOCH)
    async with bare.home.store.begin() as tx:
        await tx.execute(statement)

    assert 0 == await bare.home.epochs.finish()
    assert before == bare.home.keys.names(KeyKind.CONSENT_EPOCH)
    assert {"keys.outlived", "keys.orphan"} & await checks(bare)


async def test_a_gate_key_is_not_destroyed_by_a_row_alone(bare: World) -> None:
    await bare.home.epochs.finish()
    before = bare.home.keys.names(KeyKind.GATE)
    for statement in (update(gate_epochs).values(destroyed_at=1), delete(gate_epochs)):
        async with bare.home.store.begin() as tx:
            await tx.execute(statement)
        assert 0 == await bare.home.epochs.finish()
    assert before == bare.home.keys.names(KeyKind.GATE)


async def test_a_number_of_an_epoch_is_not_used_twice_after_its_row_is_gone(bare: World) -> None:
    await bare.home.epochs.rotate_consent()
    await bare.home.epochs.rotate_consent()
    async with bare.home.store.begin() as tx:
        await tx.execute(delete(consent_epochs))
    assert 4 == await bare.home.epochs.open_consent()


# ── written ahead, and not committed ────────────────────────────────────────────────────────────────────────────────


class Failing:
    """A transaction that breaks off between the journal and the commit, as a power cut there would."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self._real = patch, Transaction._tell
        self.failing = True
        patch.setattr(Transaction, "_tell", self._failing())

    def _failing(self) -> Callable[[Transaction], Awaitable[None]]:
        async def tell(tx: Transaction) -> None:
            told = bool(tx._ends)
            await self._real(tx)
            if told and self.failing:
                raise Unavailable("store.away")

        return tell

    def repaired(self) -> None:
        self.failing = False


@pytest.mark.databases
async def test_a_revocation_that_was_written_and_not_committed_is_obeyed_and_completed(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.home.completion.finish()
    broken = Failing(monkeypatch)
    assert "store.away" == await fault_of(here.home.consents.revoke(given.grant.id, VOICE), Unavailable)
    broken.repaired()
    assert [Status.ACTIVE] == [one.status for one in await here.home.consents.of(here.subject())]
    assert 0 == await pulled(here, declared=False)

    assert [("grants", True)] == [(one.table, one.done) for one in await here.home.completion.finish()]

    (grant,) = await here.home.consents.of(here.subject())
    assert (Status.REVOKED, 2) == (grant.status, grant.version)
    assert 1 == len(await here.entries(FactKind.REVOKED))
    assert [] == (await rows_of(here, consent_keys))[consent_keys]
    assert [] == await here.home.completion.finish()


async def test_who_asks_again_after_that_finds_it_done(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    broken = Failing(monkeypatch)
    await fault_of(here.home.consents.revoke(given.grant.id, VOICE), Unavailable)
    broken.repaired()

    assert "grant.over" == await fault_of(here.home.consents.pause(given.grant.id, VOICE))
    await here.home.upkeep.turn()
    assert [Status.REVOKED] == [one.status for one in await here.home.consents.of(here.subject())]


async def everything(here: World) -> dict[str, Callable[[], Awaitable[None]]]:
    """Each kind of ending, by the table that it is of."""
    home = here.home
    paused = await here.give(CPAM, MOVED, HEALTH, ["subject"])
    token = await issued(here)
    client = Client(here, CAF)
    await client.pin()
    proven = await client.prove()
    (old, *_) = await home.epochs.gate_epochs()
    await home.epochs.open_gate(home.settings.hpke_suite, 0)
    here.clock.pass_(1)
    async with home.store.read() as tx:
        kid = next(one.kid for one in (await home.lookup.directory(tx)).signing if one.party == PORTAL)

    def within(act: Callable[[Transaction], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def done() -> None:
            async with home.store.begin() as tx:
                await act(tx)

        return done

    async def pause() -> None:
        await home.consents.pause(paused.grant.id, VOICE)

    return {
        "grants": pause,
        "api_tokens": within(lambda tx: home.credentials.revoke(tx, token.credential.id, here.clock())),
        "client_keys": within(lambda tx: home.oauth.unpin(tx, proven.kid, here.clock())),
        "signing_keys": within(lambda tx: home.registrar.revoke_key(tx, kid, here.clock)),
        "publishing_rights": within(lambda tx: home.registrar.end_publishing(tx, PORTAL, BANK, here.clock)),
        "subscriptions": within(lambda tx: home.subscribing.end(tx, here.subscriptions[CAF, BANK].id, here.clock())),
        "paused_subscriptions": within(
            lambda tx: home.subscribing.pause(tx, here.subscriptions[RENNES, MOVED].id, here.clock())
        ),
        "gate_epochs": lambda: home.epochs.destroy_gate(old.kid),
    }


KINDS = (
    "grants",
    "api_tokens",
    "client_keys",
    "signing_keys",
    "publishing_rights",
    "subscriptions",
    "paused_subscriptions",
    "gate_epochs",
)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_ending_is_in_the_journal_before_it_is_committed_and_completed_where_it_was_not(
    here: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    act = (await everything(here))[kind]
    await here.home.upkeep.turn()
    before = (await here.home.endings.look()).position
    broken = Failing(monkeypatch)
    await fault_of(act(), Unavailable)
    broken.repaired()
    assert before < (await here.home.endings.look()).position
    assert {"endings.behind"} == await checks(here)

    assert [(kind, True)] == [(one.table, one.done) for one in await here.home.completion.finish()]

    assert [] == await here.home.completion.finish()
    await here.home.epochs.finish()


class Away(MemoryEndings):
    """A journal that takes nothing."""

    async def _write(self, encoded: Sequence[bytes]) -> None:
        raise Unavailable("endings.away", error="ENOSPC")


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_ends_while_the_journal_is_away_and_nobody_is_told_so(here: World, kind: str) -> None:
    act = (await everything(here))[kind]
    before = await rows_of(here, grants, api_tokens, client_keys, signing_keys, publishing_rights, subscriptions)
    whole, away = here.home.endings, Away()
    here.home.store.journal = away
    assert "endings.away" == await fault_of(act(), Unavailable)
    here.home.store.journal = whole
    assert before == await rows_of(here, *before)
    await act()


async def test_a_journal_older_than_what_the_database_has_seen_is_refused(here: World) -> None:
    token = await issued(here)
    async with here.home.store.begin() as tx:
        await here.home.credentials.revoke(tx, token.credential.id, here.clock())
    await here.home.completion.finish()
    journal = here.home.endings
    assert isinstance(journal, MemoryEndings)
    whole, journal._ended = journal._ended, Ended()
    assert "endings.cut" == await fault_of(here.home.completion.finish(), Corrupt)
    journal._ended = whole


async def test_a_journal_that_begins_beside_an_older_database_learns_what_has_ended(here: World) -> None:
    acts = await everything(here)
    for act in acts.values():
        await act()
    await here.home.epochs.rotate_consent()
    journal = here.home.endings
    assert isinstance(journal, MemoryEndings)
    known = await journal.look()
    async with here.home.store.begin() as tx:
        await tx.execute(delete(meta).where(meta.c.name == COMPLETED))
    journal._ended, journal._records = Ended(), []

    await here.home.completion.finish()

    ended = await journal.look()
    for kind in (*KINDS, "consent_epochs"):
        found = {one.key: one.least for one in ended.of(kind)}
        assert {one.key: one.least for one in known.of(kind) if one.least > 0} == found, kind


# ── the ledger's mark ───────────────────────────────────────────────────────────────────────────────────────────────


async def size(here: World) -> int:
    async with here.home.store.read() as tx:
        return int((await tx.execute(select(ledger_checkpoints.c.size))).scalars().all()[-1])


LEDGER_TABLES = (ledger_entries, ledger_tiles, ledger_checkpoints)


async def test_a_ledger_of_yesterday_signs_nothing_and_releases_nothing(bare: World) -> None:
    await bare.give(CAF, MOVED, FAMILY, ["subject"])
    await bare.declare(MOVED, bare.moved())
    await bare.home.ledger.sequence_unfinished()
    old = await rows_of(bare, *LEDGER_TABLES)
    await bare.give(CAF, BANK, FAMILY, ["iban"])
    await bare.home.ledger.sequence_unfinished()
    await put_back(bare, old)

    assert "ledger.rolled-back" == await fault_of(bare.home.ledger.sequence_unfinished(), Corrupt)
    assert "ledger.rolled-back" == await fault_of(bare.take(CAF), Corrupt)
    assert "ledger.stands-still" in await checks(bare)
    await bare.give(CPAM, MOVED, HEALTH, ["subject"])
    assert "ledger.rolled-back" == await fault_of(bare.home.ledger.sequence_unfinished(), Corrupt)


async def test_another_history_of_the_same_length_is_not_gone_on_from(bare: World) -> None:
    await bare.give(CAF, MOVED, FAMILY, ["subject"])
    await bare.home.ledger.sequence_unfinished()
    marked = await bare.home.endings.marked()
    assert marked is not None
    await bare.home.endings.move_mark(Mark(marked.size, bytes(32), "-", marked.order), marked)

    assert "ledger.rolled-back" == await fault_of(bare.home.ledger.sequence_unfinished(), Corrupt)


@pytest.mark.databases
async def test_a_checkpoint_that_a_crash_kept_from_being_committed_is_signed_again_the_same(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    real = Ledger._sequence_batch

    async def broken(self: Ledger, *arguments: Any) -> Any:
        await real(self, *arguments)
        raise Unavailable("store.away")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_sequence_batch", broken)
        await fault_of(here.home.ledger.sequence_unfinished(), Unavailable)
    marked = await here.home.endings.marked()
    assert marked is not None
    await here.give(CAF, BANK, FAMILY, ["iban"])  # comes too late to be among what was signed

    assert [] == await here.home.fsck.check() or {"ledger.stands-still"}.isdisjoint(await checks(here))
    await here.home.ledger.sequence_unfinished()

    async with here.home.store.read() as tx:
        rows = (await tx.execute(select(ledger_checkpoints))).all()
    assert (marked.size, marked.root, marked.note) in {(row.size, row.root, row.note) for row in rows}
    newest = await here.home.endings.marked()
    assert newest is not None
    assert (marked.size, marked.size + 1) == (newest.before, newest.size)
    assert 0 == await here.home.ledger.sequence_unfinished()


@pytest.mark.databases
async def test_what_a_crash_left_of_a_window_of_300_000_entries_is_compared(here: World) -> None:
    lost = Mark(300_000, bytes(32), "-", tuple(range(1, 300_001)))
    async with here.home.store.read() as tx:
        fault, again = await compared(tx, 0, lost)
    assert (None, "ledger.rolled-back") == (again, fault and fault.code)


async def test_a_crash_before_a_checkpoint_and_a_lost_entry_are_not_taken_for_one(bare: World) -> None:
    given = await bare.give(CAF, MOVED, FAMILY, ["subject"])
    before = await rows_of(bare, *LEDGER_TABLES)
    await bare.home.ledger.sequence_unfinished()
    before[ledger_entries] = [row for row in before[ledger_entries] if row["position"] is not None]
    await put_back(bare, before)
    await bare.home.consents.revoke(given.grant.id, VOICE)

    assert "ledger.rolled-back" == await fault_of(bare.home.ledger.sequence_unfinished(), Corrupt)


async def test_what_stands_still_is_lifted_by_a_later_word(bare: World) -> None:
    await bare.home.endings.write([Ending.of(*LEDGER, at=1, least=1, why="ledger.needs-successor", size=7)])
    assert "ledger.needs-successor" == await fault_of(bare.home.ledger.sequence_unfinished())
    await bare.home.endings.write([Ending.of(*LEDGER, at=1, least=0)])
    await bare.home.ledger.sequence_unfinished()
    await bare.step()


async def test_two_ledgers_of_one_home_side_by_side_do_not_both_sign(bare: World, tmp_path: Any) -> None:
    (tmp_path / "copy").mkdir()
    async with world(tmp_path / "copy", stepped=True) as copy:
        copy.home.store.journal = bare.home.endings
        await bare.give(CAF, MOVED, FAMILY, ["subject"])
        await bare.home.ledger.sequence_unfinished()
        await copy.give(CAF, BANK, FAMILY, ["iban"])
        assert "ledger.rolled-back" == await fault_of(copy.home.ledger.sequence_unfinished(), Corrupt)


# ── upkeep ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_journal_forgets_what_no_epoch_and_no_backup_is_older_than(here: World) -> None:
    over = await here.give(CAF, MOVED, FAMILY, ["subject"])
    paused = await here.give(CAF, BANK, FAMILY, ["iban"])
    await here.home.consents.revoke(over.grant.id, VOICE)
    for act in (here.home.consents.pause, here.home.consents.resume, here.home.consents.pause):
        await act(paused.grant.id, VOICE)
    here.clock.pass_(here.home.settings.backup_retention_days * DAY)
    await here.home.upkeep.turn()
    assert 2 == (await here.home.endings.look()).least("grants", over.grant.id)
    here.clock.pass_(2 * DAY)
    await here.home.epochs.rotate_consent()
    here.home.upkeep._pruned_at = None
    here.clock.pass_(here.home.settings.backup_retention_days * DAY)
    await here.home.upkeep.turn()
    here.home.upkeep._pruned_at = None
    await here.home.upkeep.turn()

    ended = await here.home.endings.look()
    assert [0, 4] == [ended.least("grants", one.grant.id) for one in (over, paused)]
    journal = here.home.endings
    assert isinstance(journal, MemoryEndings)
    assert [4] == [one.least for _, one in journal._records if one.key == paused.grant.id]


async def test_asking_costs_microseconds(here: World) -> None:
    """No clock is looked at: asking reads one dictionary, whatever there is in the journal."""
    ended = Ended()
    for number in range(1000):
        ended.add(number + 1, Ending.of("api_tokens", number.to_bytes(8, "big"), at=1))
    assert FOREVER == ended.least("api_tokens", (999).to_bytes(8, "big"))
    assert 1000 == ended.moved("api_tokens", "client_keys")
