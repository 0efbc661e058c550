"""Deliveries: a row of the mailbox that an insider edits, swaps, revives or inserts opens for nobody."""

from collections.abc import Awaitable, Callable

import pytest

from connectors.contract import Applied, Rejected
from schemas.facts import FactKind
from schemas.names import DeliveryId, PartyId, Reason
from schemas.release import bitmap
from tests.insider.hand import Row
from tests.insider.open import LET_IN, RELEASE
from tests.insider.watch import Watch
from tests.world import CAF, CPAM, FAMILY, HEALTH, MOVED, RENNES, TOWN, VOICE, YANN

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HERS = ["subject", "new_address"]
Edit = tuple[Row, PartyId]
"""The row as it is edited, and who pulls then."""
FRESH = {"state": "pending", "reason": None, "code": None, "done_at": None, "lease_until": None, "available_at": 0}


async def planned(watch: Watch, *fields: str) -> Row:
    """One delivery that waits for the family fund, of which nobody is entitled to more than its fields."""
    given = await watch.here.give(CAF, MOVED, FAMILY, fields or HERS)
    made = await watch.here.declare(MOVED, watch.here.moved())
    watch.allow(CAF, made.declaration_id, *(fields or HERS))
    return await watch.hand.row("deliveries", grant_id=given.grant.id)


async def recipient(watch: Watch) -> Edit:
    return {**await planned(watch), "recipient": CPAM}, CPAM


async def fields(watch: Watch) -> Edit:
    row = await planned(watch, "subject")
    event = watch.here.home.catalogue.by_type(MOVED)
    wider = bitmap(len(event.fields), [event.field(name).index for name in HERS])
    return {**row, "fields": wider}, CAF


async def purpose(watch: Watch) -> Edit:
    return {**await planned(watch), "purpose": HEALTH}, CAF


async def another_grant(watch: Watch) -> Edit:
    """Of the same citizen and the same fund, for more."""
    row = await planned(watch, "subject")
    wider = await watch.here.give(CAF, MOVED, FAMILY, HERS)
    return {**row, "grant_id": wider.grant.id}, CAF


async def locked_of_another(watch: Watch) -> Edit:
    """What is locked for the town, in the family fund's row."""
    row = await planned(watch, "subject")
    other = await watch.here.give(RENNES, MOVED, TOWN, HERS)
    await watch.here.declare(MOVED, watch.here.moved())
    return {**row, "locked": (await watch.hand.row("deliveries", grant_id=other.grant.id))["locked"]}, CAF


async def applied(watch: Watch) -> Edit:
    """It had them, and may have them; the ledger tells of a second release."""
    row = await planned(watch)
    await watch.here.take(CAF)
    return {**await watch.hand.row("deliveries", id=row["id"]), **FRESH}, CAF


async def rejected(watch: Watch) -> Edit:
    """What waits for an operator goes out without one."""
    row = await planned(watch)
    inbox = watch.here.inbox(CAF)
    await inbox.pull(1)
    await inbox.acknowledge(DeliveryId(row["id"]), Rejected("crm.no-such-file", Reason.SYSTEM_REFUSED))
    return {**await watch.hand.row("deliveries", id=row["id"]), **FRESH}, CAF


async def revoked(watch: Watch) -> Edit:
    row = await planned(watch)
    await watch.here.home.consents.revoke(row["grant_id"], VOICE)
    watch.may.clear()
    return {**await watch.hand.row("deliveries", id=row["id"]), **FRESH}, CAF


async def another_subscription(watch: Watch) -> Edit:
    """The fund's own subscription has ended; the town's, which stands, is written into the row."""
    row = await planned(watch)
    async with watch.here.home.store.begin() as tx:
        subscription = watch.here.subscriptions[CAF, MOVED].id
        await watch.here.home.subscribing.end(tx, subscription, watch.here.clock())
    watch.may.clear()
    other = {"subscription": watch.here.subscriptions[RENNES, MOVED].id}
    return {**await watch.hand.row("deliveries", id=row["id"]), **FRESH, **other}, CAF


async def past_a_pause(watch: Watch) -> Edit:
    """The fund has paused what it hears; the row says that it is of another subscription."""
    row = await planned(watch)
    async with watch.here.home.store.begin() as tx:
        subscription = watch.here.subscriptions[CAF, MOVED].id
        await watch.here.home.subscribing.pause(tx, subscription, watch.here.clock())
    watch.may.clear()
    return {**row, "subscription": watch.here.subscriptions[RENNES, MOVED].id}, CAF


async def anothers_steps(watch: Watch) -> Edit:
    """Its row is led to the steps of one that waits still."""
    row = await planned(watch)
    await watch.here.take(CAF)
    here = watch.here
    made = await here.declare(MOVED, here.moved())
    watch.allow(CAF, made.declaration_id, *HERS)
    seq = (await watch.hand.row("declarations", declaration_id=made.declaration_id))["seq"]
    waits = await watch.hand.row("deliveries", declaration=seq)
    led = {name: waits[name] for name in ("tag", "plan_blind", "mac")}
    return {**await watch.hand.row("deliveries", id=row["id"]), **FRESH, **led}, CAF


ATTACKS: dict[str, Callable[[Watch], Awaitable[Edit]]] = {
    "delivery: recipient": recipient,
    "delivery: fields": fields,
    "delivery: purpose": purpose,
    "delivery: another grant": another_grant,
    "delivery: another's lock": locked_of_another,
    "delivery: applied, to pending": applied,
    "delivery: rejected, to pending": rejected,
    "delivery: applied, to pending, with another's steps": anothers_steps,
    "delivery: revoked, to pending": revoked,
    "delivery: another's subscription": another_subscription,
    "delivery: past its recipient's pause": past_a_pause,
}


AGAIN = {"delivery: applied, to pending": 0, "delivery: rejected, to pending": 0}
AGAIN["delivery: applied, to pending, with another's steps"] = 1
"""How many releases somebody is still entitled to, where it is the same one that was put back."""


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_edited_delivery_opens_for_nobody_and_is_noticed(watch: Watch, attack: str) -> None:
    row, thief = await ATTACKS[attack](watch)
    await watch.here.step()
    watch.here.clock.pass_(1_000)
    await watch.begins()

    async with watch.hand.instead({"deliveries": [row]}):
        watch.restart()
        await watch.takes(thief)
    if watch.rightly > AGAIN.get(attack, watch.rightly):
        watch.gained.add(RELEASE)

    await watch.judge(attack)


async def test_a_delivery_whose_last_step_is_hidden_too_goes_out_once_more_and_everybody_sees_it(watch: Watch) -> None:
    """What a database has forgotten whole, nobody who asks it knows; the ledger shows it to whoever audits it."""
    row, _ = await applied(watch)
    last = (await watch.here.entries(FactKind.APPLIED))[-1]
    assert last.delivery == row["id"]
    await watch.here.step()
    watch.here.clock.pass_(1_000)
    await watch.begins()

    hidden = (await watch.hand.rows("ledger_entries", tag=row["tag"]))[-1]
    async with (
        watch.hand.instead({"deliveries": [row]}),
        watch.hand.flipped(["ledger_entries"], {"id": hidden["id"]}, tag=None),
    ):
        watch.restart()
        await watch.takes(CAF)
    if watch.rightly:
        watch.gained.add(RELEASE)

    await watch.judge("delivery: applied, to pending, its last step hidden")


async def test_a_delivery_to_another_party_under_an_edited_grant_opens_for_nobody(watch: Watch) -> None:
    row = await planned(watch)
    await watch.here.step()
    await watch.begins()

    async with (
        watch.hand.flipped(["grants", "grant_versions"], {"id": row["grant_id"]}, recipient=CPAM),
        watch.hand.flipped(["deliveries"], {"id": row["id"]}, recipient=CPAM),
    ):
        watch.restart()
        await watch.takes(CPAM)

    await watch.judge("delivery: recipient, with its grant")


async def test_a_delivery_says_no_other_citizens_number(watch: Watch) -> None:
    """The pseudonym is that of whom the row names: with a flipped row Élise's address is stored in Yann's file."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, ["subject"], person=YANN)
    await here.declare(MOVED, here.moved(YANN))
    (yanns,) = await here.take(CAF)
    row = await planned(watch)
    await here.step()
    await watch.begins()
    names = {"subject": here.subject(YANN)}

    async with (
        watch.hand.flipped(["grants", "grant_versions"], {"id": row["grant_id"]}, **names),
        watch.hand.flipped(["deliveries"], {"id": row["id"]}, **names),
    ):
        watch.restart()
        pulled = await watch.lets(watch.here.inbox(CAF).pull(10))
        opened = [] if pulled is None else await watch.here.open(CAF, pulled)
        watch.rightly = len(opened)
        if yanns.pseudonym in {one.pseudonym for one in opened}:
            watch.gained.add(RELEASE)

    await watch.judge("delivery: another citizen's number")


async def test_a_delivery_of_one_declaration_is_not_released_as_that_of_another(watch: Watch) -> None:
    """The ledger would tell of an older declaration, to whose release the consent does not reach back."""
    here = watch.here
    older = await here.declare(MOVED, here.moved())
    row = await planned(watch)
    await here.step()
    await watch.begins()
    seq = (await watch.hand.row("declarations", declaration_id=older.declaration_id))["seq"]

    async with watch.hand.flipped(["deliveries"], {"id": row["id"]}, declaration=seq):
        watch.restart()
        await watch.takes(CAF)
        said = await here.entries(FactKind.RELEASED)
        if any(entry.declaration == older.digest for entry in said):
            watch.gained.add(RELEASE)

    await watch.judge("delivery: of another declaration")


async def test_a_delivery_that_is_inserted_as_a_copy_opens_for_nobody(watch: Watch) -> None:
    row = await planned(watch)
    await watch.here.take(CAF)
    watch.may.clear()
    await watch.here.step()
    await watch.begins()

    made = await watch.hand.copy("deliveries", {"id": row["id"]}, seq=row["seq"] + 1000, id=bytes(16), **FRESH)
    watch.restart()
    await watch.takes(CAF)
    await watch.hand.remove("deliveries", id=made["id"])

    await watch.judge("delivery: inserted")


async def test_a_delivery_that_was_never_released_is_not_acknowledged_because_its_row_says_so(watch: Watch) -> None:
    row = await planned(watch)
    (leased,) = await watch.here.inbox(CAF).lease(1)
    await watch.here.step()
    await watch.begins()

    async with watch.hand.flipped(["deliveries"], {"id": row["id"]}, released_at=watch.here.clock()):
        watch.restart()
        inbox = watch.here.inbox(CAF)
        await watch.lets(inbox.acknowledge(leased.id, Applied(None)))
    if await watch.here.entries(FactKind.APPLIED):
        watch.gained.add(LET_IN)

    await watch.judge("delivery: release claimed")
