"""A grant's row is no consent: whoever flips, inserts or puts one back gives nobody a value, and is noticed."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from consent.basis import law
from consent.grant import Scope
from schemas.names import EventType, GrantId, PartyId, uuid7
from tests.insider.open import ENDLESS, RELEASE
from tests.insider.watch import Watch
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, PORTAL, RENNES, TOWN, VOICE, YANN, World

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

Changes = Mapping[str, Any]
Flip = tuple[GrantId, Changes, PartyId, EventType]
"""Whose row is flipped to what, who pulls then, and what Élise declares meanwhile."""

HEAD, BOTH = ("grants",), ("grants", "grant_versions")
HERS = ["subject", "new_address"]


async def recipient(here: World) -> Flip:
    await here.subscribe(CPAM, MOVED, FAMILY, HERS)
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    return given.grant.id, {"recipient": CPAM}, CPAM, MOVED


async def subject(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    return given.grant.id, {"subject": here.subject()}, CAF, MOVED


async def fields(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, ["household"])
    return given.grant.id, {"fields": json.dumps(sorted(["household", *HERS]))}, CAF, MOVED


async def purpose(here: World) -> Flip:
    given = await here.give(CPAM, MOVED, FAMILY, HERS)
    return given.grant.id, {"purpose": HEALTH}, CPAM, MOVED


async def event_type(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, ["subject"])
    schema = here.home.catalogue.by_type(BANK).schema.id
    return given.grant.id, {"event_type": BANK, "schema": schema, "fields": json.dumps(["iban"])}, CAF, BANK


async def unpaused(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    await here.home.consents.pause(given.grant.id, VOICE)
    return given.grant.id, {"status": "active"}, CAF, MOVED


async def lengthened(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS, expires_at=here.clock() + DAY)
    here.clock.pass_(2 * DAY)
    return given.grant.id, {"expires_at": here.clock() + DAY}, CAF, MOVED


async def endless(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS, expires_at=here.clock() + DAY)
    here.clock.pass_(2 * DAY)
    return given.grant.id, {"expires_at": None}, CAF, MOVED


async def earlier(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS, starts_at=here.clock() + DAY)
    return given.grant.id, {"starts_at": here.clock()}, CAF, MOVED


async def standing(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS, scope=Scope.ONCE)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    return given.grant.id, {"scope": "standing", "once_for": None}, CAF, MOVED


async def unbound(here: World) -> Flip:
    given = await here.give(CAF, MOVED, FAMILY, HERS, scope=Scope.ONCE)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    return given.grant.id, {"once_for": None}, CAF, MOVED


FLIPS: dict[str, Callable[[World], Awaitable[Flip]]] = {
    "grant: recipient": recipient,
    "grant: subject": subject,
    "grant: fields widened": fields,
    "grant: purpose": purpose,
    "grant: event type": event_type,
    "grant: paused to active": unpaused,
    "grant: end put off": lengthened,
    "grant: end taken away": endless,
    "grant: start put forward": earlier,
    "grant: once to standing": standing,
    "grant: once, used, to unused": unbound,
}


@pytest.mark.parametrize("tables", [HEAD, BOTH], ids=["head", "history"])
@pytest.mark.parametrize("attack", FLIPS)
async def test_a_grants_row_that_is_flipped_and_put_back_gives_nobody_anything_and_is_noticed(
    watch: Watch, attack: str, tables: tuple[str, ...]
) -> None:
    here = watch.here
    grant, changes, thief, declared = await FLIPS[attack](here)
    where = await head(watch, grant)
    await here.step()
    await watch.begins()

    async with watch.hand.flipped(tables, where, **changes):
        watch.restart()
        made = await here.home.desk.declare(PORTAL, declared, here.moved() if declared == MOVED else here.bank())
        watch.allow(thief, made.declaration_id, "household")
        await watch.lets(watch.here.home.router.route())
        await watch.takes(thief)

    await watch.judge(attack)


@pytest.mark.parametrize("tables", [HEAD, BOTH], ids=["head", "history"])
async def test_a_grants_row_whose_version_is_lowered_does_not_undo_a_narrowing(
    watch: Watch, tables: tuple[str, ...]
) -> None:
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    before = {"grants": await watch.hand.rows("grants", id=given.grant.id)}
    await here.home.consents.narrow(given.grant.id, frozenset({"subject"}), VOICE)
    newest = await watch.hand.rows("grant_versions", id=given.grant.id, version=2)
    await here.step()
    await watch.begins()

    async with watch.hand.instead(before):
        if tables == BOTH:
            await watch.hand.remove("grant_versions", id=given.grant.id, version=2)
        await moves(watch, CAF, "subject")
        await watch.hand.put("grant_versions", newest)

    await watch.judge("grant: narrowing undone")


async def test_a_consent_that_is_made_a_law_by_hand_stays_a_consent_in_what_is_signed_and_can_be_ended(
    watch: Watch,
) -> None:
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    await here.step()

    async with watch.hand.flipped(HEAD, {"id": given.grant.id}, basis=law("CSS, art. L583-3").text):
        watch.restart()
        await watch.lets(watch.here.declare(MOVED, here.moved()))
        pulled = await watch.lets(watch.here.inbox(CAF).pull(10))
        opened = [] if pulled is None else await watch.lets(watch.here.open(CAF, pulled)) or []
        if any(one.basis != "consent" for one in opened):
            watch.gained.add(RELEASE)
        watch.rightly = len(opened)
        if await watch.lets(watch.here.home.consents.revoke(given.grant.id, VOICE)) is None and not watch.alarmed():
            watch.gained.add(ENDLESS)

    await watch.judge("grant: basis")


async def test_a_grant_that_is_inserted_with_another_ones_key_opens_nothing(watch: Watch) -> None:
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    await here.step()
    await watch.begins()

    made = {"id": uuid7(here.clock(), here.home.entropy(10)), "subject": here.subject()}
    await watch.hand.copy("grants", {"id": given.grant.id}, **made)
    await watch.hand.copy("grant_versions", {"id": given.grant.id}, **made)
    await watch.hand.copy("consent_keys", {"grant_id": given.grant.id}, grant_id=made["id"])
    await moves(watch, CAF)
    for table, column in (("consent_keys", "grant_id"), ("grant_versions", "id"), ("grants", "id")):
        await watch.hand.remove(table, **{column: made["id"]})

    await watch.judge("grant: inserted, with another's key")


async def test_a_grant_that_is_inserted_without_a_key_opens_nothing(watch: Watch) -> None:
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    await here.step()
    await watch.begins()

    made = {"id": uuid7(here.clock(), here.home.entropy(10)), "subject": here.subject()}
    await watch.hand.copy("grants", {"id": given.grant.id}, **made)
    await watch.hand.copy("grant_versions", {"id": given.grant.id}, **made)
    await moves(watch, CAF)
    await watch.hand.remove("grant_versions", id=made["id"])
    await watch.hand.remove("grants", id=made["id"])

    await watch.judge("grant: inserted, without a key")


async def test_a_grant_of_somebody_elses_that_takes_the_place_of_a_living_one_opens_nothing(watch: Watch) -> None:
    """The id and the key are of Élise's small consent; all the rest is of Yann's, who allows more."""
    here = watch.here
    hers = await here.give(CAF, MOVED, FAMILY, ["household"])
    his = await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    more = (await watch.hand.row("grants", id=his.grant.id))["fields"]
    whole = {**await watch.hand.row("grants", id=his.grant.id), "id": hers.grant.id, "subject": here.subject()}
    await here.step()
    await watch.begins()

    async with watch.hand.instead({"grants": [whole | {"fields": more}]}):
        await moves(watch, CAF, "household")

    await watch.judge("grant: another's row under its id")


ENDS: dict[str, Callable[[World, GrantId], Awaitable[Any]]] = {
    "yesterday's grant: revoked": lambda here, grant: here.home.consents.revoke(grant, VOICE),
    "yesterday's grant: paused": lambda here, grant: here.home.consents.pause(grant, VOICE),
    "yesterday's grant: narrowed": lambda here, grant: here.home.consents.narrow(grant, frozenset({"subject"}), VOICE),
}
TABLES = {"grants": "id", "grant_versions": "id", "consent_keys": "grant_id"}


@pytest.mark.parametrize("attack", ENDS)
async def test_yesterdays_grant_and_its_key_put_back_together_open_nothing_that_is_declared_today(
    watch: Watch, attack: str
) -> None:
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    yesterday = {table: await watch.hand.rows(table, **{name: given.grant.id}) for table, name in TABLES.items()}
    await ENDS[attack](here, given.grant.id)
    later = [row for row in await watch.hand.rows("grant_versions", id=given.grant.id) if row["version"] > 1]
    await here.step()
    await watch.begins()

    async with watch.hand.instead(yesterday):
        await watch.hand.remove("grant_versions", id=given.grant.id, version=2)
        await moves(watch, CAF, *(["subject"] if "narrowed" in attack else []))
        await watch.hand.put("grant_versions", later)

    await watch.judge(attack)


@pytest.mark.parametrize("attack", ENDS)
async def test_yesterdays_delivery_with_its_grant_and_its_key_opens_nothing_at_the_gate(
    watch: Watch, attack: str
) -> None:
    """What was planned before the end is put back as it lay in the mailbox then, locks and all."""
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    made = await here.declare(MOVED, here.moved())
    yesterday = {table: await watch.hand.rows(table, **{name: given.grant.id}) for table, name in TABLES.items()}
    yesterday["deliveries"] = await watch.hand.rows("deliveries", grant_id=given.grant.id)
    await ENDS[attack](here, given.grant.id)
    later = [row for row in await watch.hand.rows("grant_versions", id=given.grant.id) if row["version"] > 1]
    await here.step()
    await watch.begins()
    if "narrowed" in attack:
        watch.allow(CAF, made.declaration_id, "subject")

    async with watch.hand.instead(yesterday):
        await watch.hand.remove("grant_versions", id=given.grant.id, version=2)
        watch.restart()
        await watch.takes(CAF)
        await watch.hand.put("grant_versions", later)

    await watch.judge(f"{attack}, with its delivery")


async def denied(watch: Watch, grant: GrantId) -> None:
    """The citizen says no while the row says something else, and is told that there is nothing to end."""
    watch.restart()
    await watch.lets(watch.here.home.consents.revoke(grant, VOICE))
    await watch.lets(watch.here.home.consents.revoke_all(watch.here.subject(), VOICE))


LIES: dict[str, Callable[[World], Changes]] = {
    "grant: said to be over while its citizen ends it": lambda here: {"status": "revoked"},
    "grant: said to be another's while its citizen ends it": lambda here: {"subject": here.subject(YANN)},
}


@pytest.mark.parametrize("attack", LIES)
async def test_a_citizen_who_says_no_is_heard_whatever_the_row_says_at_that_moment(watch: Watch, attack: str) -> None:
    here = watch.here
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    await here.step()
    await watch.begins()

    async with watch.hand.flipped(HEAD, {"id": given.grant.id}, **LIES[attack](here)):
        await denied(watch, given.grant.id)
    if await watch.hand.rows("consent_keys", grant_id=given.grant.id) and not watch.noticed:
        watch.gained.add(ENDLESS)  # the citizen was told that it is over, or that there is no such consent

    await watch.judge(attack)


async def test_a_consent_key_that_is_swapped_with_another_grants_opens_nothing(watch: Watch) -> None:
    here = watch.here
    await here.subscribe(CPAM, MOVED, FAMILY, HERS)
    grant = (await here.give(CAF, MOVED, FAMILY, HERS)).grant.id
    other = (await here.give(RENNES, MOVED, TOWN, HERS)).grant.id
    wrapped = {one: (await watch.hand.row("consent_keys", grant_id=one))["wrapped"] for one in (grant, other)}
    await here.step()
    await watch.begins()

    async with watch.hand.flipped(["consent_keys"], {"grant_id": grant}, wrapped=wrapped[other]):
        await moves(watch, CAF)

    await watch.judge("consent key: swapped")


async def moves(watch: Watch, thief: PartyId, *fields: str) -> None:
    """Élise moves, and somebody pulls, in a process that has just begun. Only these fields are theirs."""
    watch.restart()
    here = watch.here
    made = await here.home.desk.declare(PORTAL, MOVED, here.moved())
    watch.allow(thief, made.declaration_id, *fields)
    await watch.lets(here.home.router.route())
    await watch.takes(thief)


async def head(watch: Watch, grant: GrantId) -> Changes:
    """How to find the rows of a grant's newest version."""
    row = await watch.hand.row("grants", id=grant)
    return {"id": grant, "version": row["version"]}
