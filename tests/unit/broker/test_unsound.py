"""A grant whose row was edited is unsound: nothing is planned nor released under it, there is an alarm, everybody else
goes on; and put back as it was, so does it.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Row, Table, delete, insert, select, update
from structlog.testing import capture_logs

from broker.consents.consents import Recorded
from broker.flow.deliveries import DeliveryState, load
from broker.ports import KeyKind
from broker.store.tables import withholdings
from connectors.contract import Applied
from consent.grant import Scope, Status
from consent.tables import consent_keys, grant_versions, grants
from schemas.errors import Corrupt
from schemas.facts import FactKind
from schemas.names import DeclarationId, GrantId, Reason, SubjectRef
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, RENNES, VOICE, YANN, World, world

pytestmark = pytest.mark.asyncio

OTHER = SubjectRef(b"o" * 32)
EDITS: dict[str, dict[str, Any]] = {
    "recipient": {"recipient": RENNES},
    "fields": {"fields": json.dumps(["household", "new_address", "subject"])},
    "fewer fields": {"fields": json.dumps(["subject"])},
    "subject": {"subject": OTHER},
    "a pause": {"status": "paused"},
    "a revocation": {"status": "revoked"},
    "an end date": {"status": "expired"},
    "expiry": {"expires_at": None},
    "purpose": {"purpose": HEALTH},
    "basis": {"basis": "law:CSS, art. L583-3", "purpose": FAMILY},
    "the declaration that it is for": {"scope": Scope.ONCE.value, "once_for": DeclarationId(b"d" * 16)},
    "version": {"version": 2},
    "text": {"text_hash": bytes(32)},
    "a status that is none": {"status": "asleep"},
    "fields that are none": {"fields": "subject"},
}
BY_EDIT = pytest.mark.parametrize("edit", EDITS)
TABLES = pytest.mark.parametrize("tables", [(grants,), (grants, grant_versions)], ids=["head", "head and history"])


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """Clean by fsck only where the test says so, since it edits."""
    async with world(tmp_path, stepped=True) as made:
        yield made


class Edited:
    """One row of a grant, changed by hand in these tables, and put back."""

    def __init__(self, here: World, given: Recorded, tables: tuple[Table, ...]) -> None:
        self.here, self.id, self.tables = here, given.grant.id, tables
        self.kept: dict[str, Row[Any]] = {}

    async def to(self, values: dict[str, Any]) -> None:
        async with self.here.home.store.begin() as tx:
            for table in self.tables:
                self.kept[table.name] = (await tx.execute(select(table).where(table.c.id == self.id))).one()
                fits = {name: value for name, value in values.items() if table is grants or name != "version"}
                if fits:
                    await tx.execute(update(table).where(table.c.id == self.id).values(fits))

    async def back(self) -> None:
        async with self.here.home.store.begin() as tx:
            for table in self.tables:
                await tx.execute(
                    update(table).where(table.c.id == self.id).values(dict(self.kept[table.name]._mapping))
                )


@contextmanager
def alarms() -> Iterator[list[str]]:
    """The grants that an alarm is raised for meanwhile."""
    found: list[str] = []
    with capture_logs() as said:
        yield found
    assert {"error"} >= {one["log_level"] for one in said if one["event"] == "consents.unsound"}
    found += [bytes(one["grant"]).hex() for one in said if one["event"] == "consents.unsound"]


async def both(here: World) -> tuple[Recorded, Recorded]:
    """A consent that will be edited, and another citizen's that is none of anybody's business."""
    fields = ["subject", "new_address"]
    mine = await here.give(CAF, MOVED, FAMILY, fields, expires_at=here.clock() + 9 * DAY)
    return mine, await here.give(CAF, MOVED, FAMILY, fields, person=YANN)


async def grants_of(here: World) -> list[GrantId]:
    """Under which grants there are deliveries."""
    async with here.home.store.read() as tx:
        return [one.grant_id for one in await load(tx)]


@BY_EDIT
@TABLES
async def test_the_router_plans_nothing_under_it_and_goes_on_with_everybody_else(
    here: World, edit: str, tables: tuple[Table, ...]
) -> None:
    mine, other = await both(here)
    row = Edited(here, mine, tables)
    await row.to(EDITS[edit])

    await here.declare(MOVED, here.moved(), route=False)
    with alarms() as raised:
        await here.declare(MOVED, here.moved(YANN))

    assert [other.grant.id] == await grants_of(here)
    gone = edit == "subject"  # of this citizen there is no such row: there is nothing to be unsound
    assert ([] if gone else [mine.grant.id.hex()]) == raised
    async with here.home.store.read() as tx:
        rows = await tx.execute(select(withholdings).where(withholdings.c.recipient == CAF))
        assert {Reason.NO_GRANT if gone else Reason.UNSOUND} == {Reason(one.reason) for one in rows}
    assert 1 == len(await here.take(CAF))

    await row.back()
    await here.declare(MOVED, here.moved(occupants=2))
    assert [other.grant.id, mine.grant.id] == await grants_of(here)
    assert ["subject", "new_address"] == [name for one in await here.take(CAF) for name in one.disclosed]
    await here.step()


async def test_the_router_plans_nothing_for_whom_a_grant_was_moved_to(here: World) -> None:
    mine, _ = await both(here)
    row = Edited(here, mine, (grants, grant_versions))
    stranger = here.subject(YANN | {"given_names": ["Malo"]})
    await row.to({"subject": stranger})

    with alarms() as raised:
        await here.declare(MOVED, here.moved(YANN | {"given_names": ["Malo"]}))

    assert [] == await grants_of(here)
    assert [mine.grant.id.hex()] == raised


@BY_EDIT
@TABLES
async def test_the_gate_releases_nothing_under_it_and_goes_on_with_everybody_else(
    here: World, edit: str, tables: tuple[Table, ...]
) -> None:
    mine, other = await both(here)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    row = Edited(here, mine, tables)
    await row.to(EDITS[edit])

    with alarms() as raised:
        pulled = await here.inbox(CAF).pull(10)

    assert [other.grant.id] == [one.grant_id for one in pulled.locked]
    assert [Reason.UNSOUND] == [one.reason for one in pulled.withheld]
    assert [mine.grant.id.hex()] == raised
    assert [other.grant.id] == [one.grant for one in await here.entries(FactKind.RELEASED)]
    assert [] == [one for one in await here.entries(FactKind.WITHHELD) if one.delivery is not None]
    async with here.home.store.read() as tx:
        waits, _ = await load(tx)
    assert (DeliveryState.PENDING, None, 0) == (waits.state, waits.reason, waits.attempts)

    await row.back()
    (opened,) = await here.open(CAF, await here.inbox(CAF).pull(10))
    assert (mine.grant.id, ("subject", "new_address")) == (opened.grant_id, opened.disclosed)
    await here.step()


@BY_EDIT
async def test_what_was_handed_out_before_is_not_released_meanwhile(here: World, edit: str) -> None:
    mine, other = await both(here)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    leased = [one.id for one in await here.inbox(CAF).lease(10)]
    row = Edited(here, mine, (grants,))
    await row.to(EDITS[edit])

    closed = await here.inbox(CAF).release(leased)

    assert [other.grant.id] == [one.grant_id for one in closed.locked]
    assert [Reason.UNSOUND] == [one.reason for one in closed.withheld]
    await row.back()
    assert 2 == len((await here.inbox(CAF).release(leased)).locked)
    await here.step()


@BY_EDIT
async def test_what_was_released_before_is_not_released_again_and_may_be_acknowledged(here: World, edit: str) -> None:
    mine, _ = await both(here)
    await here.declare(MOVED, here.moved())
    (first,) = await here.open(CAF, await here.inbox(CAF).pull(1))
    row = Edited(here, mine, (grants, grant_versions))
    await row.to(EDITS[edit])

    assert [Reason.UNSOUND] == [one.reason for one in (await here.inbox(CAF).release([first.delivery_id])).withheld]
    assert 1 == len(await here.entries(FactKind.RELEASED))
    assert {} == await here.inbox(CAF).acknowledge_all({first.delivery_id: Applied(None)})

    await row.back()
    await here.step()


@pytest.mark.parametrize("edit", ["recipient", "fields", "a pause", "expiry", "version"])
async def test_its_citizen_ends_it_all_the_same_and_its_key_is_gone(here: World, edit: str) -> None:
    mine, _ = await both(here)
    await here.declare(MOVED, here.moved())
    await Edited(here, mine, (grants,)).to(EDITS[edit])

    await here.home.consents.revoke(mine.grant.id, VOICE)

    async with here.home.store.read() as tx:
        assert mine.grant.id not in set((await tx.execute(select(consent_keys.c.grant_id))).scalars())
        (delivery,) = await load(tx)
    assert (DeliveryState.WITHHELD, Reason.REVOKED) == (delivery.state, delivery.reason)


@pytest.mark.parametrize("edit", ["a revocation", "an end date"])
async def test_who_revokes_what_was_made_to_look_as_if_it_were_over_is_not_told_that_it_is(
    here: World, edit: str
) -> None:
    mine, _ = await both(here)
    row, second = Edited(here, mine, (grants,)), await here.give(CPAM, MOVED, HEALTH, ["subject"])
    await row.to(EDITS[edit])

    for revoked in (
        lambda: here.home.consents.revoke(mine.grant.id, VOICE),
        lambda: here.home.consents.revoke_all(here.subject(), VOICE),
    ):
        with pytest.raises(Corrupt) as corrupt:
            await revoked()
        assert "registry.unsound" == corrupt.value.code

    async with here.home.store.read() as tx:  # the others went all the same
        assert second.grant.id not in set((await tx.execute(select(consent_keys.c.grant_id))).scalars())
    await row.back()
    await here.home.consents.revoke(mine.grant.id, VOICE)
    await here.step()


async def test_no_change_but_its_end_makes_a_version_of_it(here: World) -> None:
    mine, _ = await both(here)
    row = Edited(here, mine, (grants, grant_versions))
    await row.to(EDITS["expiry"])

    for change in (
        here.home.consents.pause(mine.grant.id, VOICE),
        here.home.consents.narrow(mine.grant.id, frozenset({"subject"}), VOICE),
    ):
        with pytest.raises(Corrupt) as corrupt:
            await change
        assert "registry.unsound" == corrupt.value.code

    await row.back()
    assert 2 == (await here.home.consents.narrow(mine.grant.id, frozenset({"subject"}), VOICE)).grant.version
    await here.step()


@pytest.mark.parametrize("old", ["head", "head and history", "head, history and key"])
async def test_a_revoked_grant_whose_older_rows_are_put_back_is_revoked_and_its_key_gone(here: World, old: str) -> None:
    mine, other = await both(here)
    kept: dict[Table, dict[str, Any]] = {}
    async with here.home.store.read() as tx:
        for table, column in ((grants, "id"), (consent_keys, "grant_id")):
            row = (await tx.execute(select(table).where(table.c[column] == mine.grant.id))).one()
            kept[table] = dict(row._mapping)
    revoked = await here.home.consents.revoke(mine.grant.id, VOICE)
    async with here.home.store.begin() as tx:
        await tx.execute(update(grants).where(grants.c.id == mine.grant.id).values(kept[grants]))
        if old != "head":
            last = (grant_versions.c.id == mine.grant.id, grant_versions.c.version == 2)
            await tx.execute(delete(grant_versions).where(*last))
        if "key" in old:
            await tx.execute(insert(consent_keys), kept[consent_keys])

    await here.declare(MOVED, here.moved(), route=False)
    await here.declare(MOVED, here.moved(YANN))

    assert [other.grant.id] == await grants_of(here)
    assert (revoked.grant,) == await here.home.consents.of(here.subject())
    async with here.home.store.read() as tx:
        assert {other.grant.id} == set((await tx.execute(select(consent_keys.c.grant_id))).scalars())
    await here.step()


async def test_a_rotation_sets_a_damaged_key_aside_finishes_and_closes_nobody_else(here: World) -> None:
    mine, other = await both(here)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    async with here.home.store.begin() as tx:
        await tx.execute(update(consent_keys).where(consent_keys.c.grant_id == mine.grant.id).values(wrapped=bytes(60)))

    with alarms() as raised:
        assert 1 == await here.home.epochs.rotate_consent()

    assert [mine.grant.id.hex()] == raised
    assert {"2"} == set(here.home.keys.names(KeyKind.CONSENT_EPOCH))
    assert [other.grant.id] == [one.grant_id for one in (await here.inbox(CAF).pull(10)).locked]
    assert {"consent-keys.damaged"} == {one.check for one in await here.home.fsck.check()}
    with alarms() as raised:  # the next one does not stumble over it
        assert 1 == await here.home.epochs.rotate_consent()
    assert [] == raised


async def test_a_rotation_of_an_edited_grant_moves_its_key_and_it_goes_on_when_it_is_put_back(here: World) -> None:
    mine, _ = await both(here)
    await here.declare(MOVED, here.moved())
    row = Edited(here, mine, (grants, grant_versions))
    await row.to(EDITS["fields"])

    assert 2 == await here.home.epochs.rotate_consent()
    assert [Reason.UNSOUND] == [one.reason for one in (await here.inbox(CAF).pull(10)).withheld]

    await row.back()
    assert 1 == len(await here.take(CAF))
    await here.step()


async def test_a_deleted_grant_releases_nothing_and_its_delivery_waits_where_it_is(here: World) -> None:
    mine, other = await both(here)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))
    kept: list[tuple[Table, list[dict[str, Any]]]] = []
    async with here.home.store.begin() as tx:
        for table, column in ((grants, "id"), (grant_versions, "id"), (consent_keys, "grant_id")):
            rows = (await tx.execute(select(table).where(table.c[column] == mine.grant.id))).all()
            kept.append((table, [dict(row._mapping) for row in rows]))
        for table, column in ((consent_keys, "grant_id"), (grant_versions, "id"), (grants, "id")):
            await tx.execute(delete(table).where(table.c[column] == mine.grant.id))

    with alarms() as raised:
        pulled = await here.inbox(CAF).pull(10)

    assert [other.grant.id] == [one.grant_id for one in pulled.locked]
    assert ([Reason.UNSOUND], [mine.grant.id.hex()]) == ([one.reason for one in pulled.withheld], raised)
    async with here.home.store.begin() as tx:
        for table, rows in kept:
            await tx.execute(insert(table), rows)
    assert 1 == len((await here.inbox(CAF).pull(10)).locked)
    await here.step()


@pytest.mark.parametrize("epoch", [2, 3, 99])
async def test_a_key_that_is_said_to_be_under_another_epoch_opens_and_keeps_nobody_waiting(
    here: World, epoch: int
) -> None:
    mine, other = await both(here)
    await here.declare(MOVED, here.moved())
    async with here.home.store.begin() as tx:
        await tx.execute(update(consent_keys).where(consent_keys.c.grant_id == mine.grant.id).values(epoch=epoch))

    await here.declare(MOVED, here.moved(occupants=2), route=False)
    await here.declare(MOVED, here.moved(YANN))
    with alarms() as raised:
        pulled = await here.inbox(CAF).pull(10)

    assert {mine.grant.id, other.grant.id} == {one.grant_id for one in pulled.locked}
    assert ((), []) == (tuple(pulled.withheld), raised)
    assert {"consent-keys.no-epoch"} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(update(consent_keys).where(consent_keys.c.grant_id == mine.grant.id).values(epoch=1))
    await here.step()


@pytest.mark.parametrize("edit", ["a status that is none", "fields that are none"])
async def test_what_ends_by_itself_or_by_the_journal_ends_beside_a_grant_that_is_unreadable(
    here: World, edit: str
) -> None:
    mine, _ = await both(here)
    later = await here.give(CPAM, MOVED, HEALTH, ["subject"], person=YANN, expires_at=here.clock() + 9 * DAY)
    row = Edited(here, mine, (grants,))
    await here.home.consents.pause(mine.grant.id, VOICE)
    await here.home.consents.resume(mine.grant.id, VOICE)
    await row.to(EDITS[edit])

    here.clock.pass_(9 * DAY)
    assert 1 == await here.home.consents.expire_due()

    assert Status.EXPIRED is (await here.home.consents.of(here.subject(YANN)))[1].status
    assert later.grant.id == (await here.home.consents.of(here.subject(YANN)))[1].id
    found = await here.home.completion.finish(all_of_it=True)
    assert [mine.grant.id] == [one.key for one in found if not one.done]
    await row.back()
    assert 1 == await here.home.consents.expire_due()
    await here.step()
