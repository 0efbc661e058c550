"""A rule by law is narrowed, or has territories and a least of its own: at once for everybody, and never back."""

from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select, update

from broker.directory import registrar
from broker.flow.tracking import Progress
from broker.services import rules
from broker.store.tables import rules as rules_table
from consent.policy import Deny
from consent.rules import Rule
from schemas.assurance import SURE, Assurance, Least, Quality
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, Reason
from tests.unit.broker.test_rules import ARTICLE, acting, asked, outcome
from tests.world import BANK, BREST_ADDRESS, CAF, DAY, ELISE, MOVED, PORTAL, RENNES, TOWN, YANN, World

BOTH = ("new_address", "household")
BREST = {"new_address": BREST_ADDRESS, "new_commune": "29019", "old_commune": "29019"}


async def why(here: World) -> tuple[list[Any], list[Reason]]:
    """What the mailbox answers: what opens, and why the rest does not."""
    pulled = await here.inbox(CAF).pull(10)
    return list(pulled.locked), [one.reason for one in pulled.withheld]


async def row_of(here: World, rule: Rule) -> dict[str, Any]:
    """A rule's row as it lies in the database."""
    async with here.home.store.read() as tx:
        return dict((await tx.execute(select(rules_table).where(rules_table.c.id == rule.id))).one()._mapping)


async def put_back(here: World, row: dict[str, Any]) -> None:
    """As whoever knows the machine would, so that everybody reads the rows anew."""
    async with here.home.store.begin() as tx:
        await tx.execute(update(rules_table).where(rules_table.c.id == row["id"]).values(row))
        await registrar.changing(tx)


@pytest.mark.asyncio
async def test_what_waits_with_more_fields_is_withheld_at_once_and_planned_anew_with_those_left(here: World) -> None:
    rule = await acting(here, fields=BOTH)
    await here.declare(MOVED, here.moved())

    await rules.narrow(here.home, rule.id, fields=["new_address"])
    assert ([], [Reason.NARROWED]) == await why(here)

    assert 1 == await here.home.objections.narrow_with_rules()
    assert 0 == await here.home.objections.narrow_with_rules()
    (delivery,) = await here.take(CAF)
    assert ("new_address",) == delivery.disclosed
    (grant,) = await here.home.consents.of(here.subject())
    assert (frozenset({"new_address"}), 2) == (grant.fields, grant.version)
    (entry,) = await here.entries(FactKind.RULE_NARROWED)
    assert (CAF, f"law:{ARTICLE}") == (entry.recipient, entry.basis)


@pytest.mark.asyncio
async def test_what_comes_after_a_narrowing_has_fewer_fields_before_any_grant_was_changed(here: World) -> None:
    rule = await acting(here, fields=BOTH)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)

    await rules.narrow(here.home, rule.id, fields=["new_address"])
    shown = await here.home.desk.explain(PORTAL, MOVED, here.moved())
    (decision,) = (line.decision for line in shown.lines if line.subscription.recipient == CAF)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN))

    assert [("new_address",)] * 2 == [one.disclosed for one in await here.take(CAF)]
    assert ("new_address",) == decision.fields
    assert 1 == await here.home.objections.narrow_with_rules()  # the second person's grant was made narrow


@pytest.mark.asyncio
async def test_an_earlier_end_closes_what_waits_and_what_comes(here: World) -> None:
    rule = await acting(here)
    await here.declare(MOVED, here.moved())
    await rules.narrow(here.home, rule.id, ends_at=Instant(here.clock.now + DAY))
    assert (Progress.SENT, None) == await outcome(here, YANN)

    here.clock.pass_(DAY)
    assert ([], [Reason.EXPIRED] * 2) == await why(here)
    assert (Progress.WITHHELD, Reason.EXPIRED) == await outcome(here)
    assert 2 == await here.home.objections.narrow_with_rules()
    assert {True} == {grant.status.over for grant in await here.home.consents.of(here.subject())}


@pytest.mark.asyncio
async def test_a_smaller_territory_withholds_what_waits_and_is_the_reason_for_what_comes(here: World) -> None:
    rule = await acting(here)
    await here.declare(MOVED, here.moved())
    await here.declare(MOVED, here.moved(YANN, **BREST))

    await rules.narrow(here.home, rule.id, territories=["29"])
    opened, withheld = await why(here)
    assert (1, [Reason.TERRITORY]) == (len(opened), withheld)
    assert (Progress.WITHHELD, Reason.TERRITORY) == await outcome(here)
    shown = await here.home.desk.explain(PORTAL, MOVED, here.moved())
    assert [Deny(Reason.TERRITORY)] == [one.decision for one in shown.lines if one.subscription.recipient == CAF]


@pytest.mark.asyncio
async def test_a_correction_goes_where_the_wrong_one_went(here: World) -> None:
    await acting(here, territories=["35"])
    first = await here.declare(MOVED, here.moved())
    assert 1 == len(await here.take(CAF))

    await here.declare(MOVED, here.moved(**BREST), corrects=first.declaration_id)

    assert 1 == len(await here.take(CAF))


@pytest.mark.asyncio
async def test_a_rule_with_a_territory_of_its_own_knows_nobody_else(here: World) -> None:
    rule = await acting(here, territories=["29"])
    assert frozenset({"29"}) == rule.territories

    assert (Progress.WITHHELD, Reason.NO_GRANT) == await outcome(here)
    shown = await here.home.desk.explain(PORTAL, MOVED, here.moved())
    assert [Deny(Reason.NO_GRANT)] == [one.decision for one in shown.lines if one.subscription.recipient == CAF]
    assert () == await here.home.consents.of(here.subject())
    await here.declare(MOVED, here.moved(YANN, **BREST))
    assert 1 == len(await here.take(CAF))


@pytest.mark.asyncio
async def test_a_rule_stays_within_its_subscription_too(here: World) -> None:
    await acting(here, RENNES, TOWN, article="CGCT, art. L2121-29", territories=["35", "29"])

    assert (Progress.SENT, None) == await outcome(here, ELISE, RENNES)
    await here.declare(MOVED, here.moved(YANN, **BREST))
    assert () == await here.home.consents.of(here.subject(YANN))


@pytest.mark.asyncio
async def test_a_rule_whose_territory_its_subscription_does_not_touch_is_not_approved(here: World) -> None:
    with pytest.raises(Refused, match=r"rules\.no-subscription"):
        await acting(here, RENNES, TOWN, article="CGCT, art. L2121-29", territories=["29"])


@pytest.mark.asyncio
async def test_a_rule_asks_for_more_certainty_than_its_subscription(here: World) -> None:
    await acting(here, least=Least(Assurance.SUBSTANTIAL, Quality.DECLARED))

    assert (Progress.WITHHELD, Reason.ASSURANCE) == await outcome(here)
    await here.home.desk.declare(PORTAL, MOVED, here.moved(), provenance=SURE)
    await here.home.router.route()
    assert 1 == len(await here.take(CAF))


WIDER: dict[str, tuple[dict[str, Any], str, str]] = {
    "another field": ({"fields": ["new_address", "subject"]}, "rules.wider", "/fields"),
    "the whole region": ({"territories": ["R53"]}, "rules.wider", "/territories"),
    "the department beside it": ({"territories": ["35", "22"]}, "rules.wider", "/territories"),
    "a later end": ({"ends_at": Instant(2**52)}, "rules.wider", "/ends_at"),
    "the same": ({"fields": list(BOTH)}, "rules.not-narrower", "/fields"),
    "nothing": ({}, "rules.not-narrower", "/fields"),
    "yesterday": ({"ends_at": Instant(1)}, "rules.ends-before-it-begins", "/ends_at"),
    "nowhere": ({"territories": ["35999"]}, "areas.unknown", "/territories"),
}


@pytest.mark.parametrize("wrong", WIDER)
@pytest.mark.asyncio
async def test_a_rule_never_reaches_further_than_it_did(here: World, wrong: str) -> None:
    rule = await acting(here, fields=BOTH, territories=["35"], ends_at=Instant(here.clock.now + 400 * DAY))
    before = await row_of(here, rule)

    with pytest.raises(Refused) as caught:
        await rules.narrow(here.home, rule.id, **WIDER[wrong][0])

    assert WIDER[wrong][1:] == (caught.value.code, caught.value.pointer)
    assert before == await row_of(here, rule)


@pytest.mark.asyncio
async def test_only_what_was_approved_is_narrowed_and_only_where_places_are_named(here: World) -> None:
    home, waiting = here.home, await asked(here, fields=BOTH)
    with pytest.raises(Refused, match=r"rules\.not-approved"):
        await rules.narrow(home, waiting.id, fields=["new_address"])
    await rules.end(home, waiting.id)
    with pytest.raises(Refused, match=r"rules\.not-approved"):
        await rules.narrow(home, waiting.id, fields=["new_address"])
    with pytest.raises(Refused, match=r"rules\.unknown"):
        await rules.narrow(home, type(waiting.id)(bytes(16)), fields=["new_address"])
    with pytest.raises(Refused, match=r"rules\.no-territories"):
        await asked(here, event_type=BANK, fields=["iban"], territories=["35"])


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.asyncio
async def test_who_puts_an_older_row_back_widens_nothing_and_is_found(here: World, twice: bool) -> None:
    rule = await acting(here, fields=BOTH, territories=["35"])
    await here.declare(MOVED, here.moved())
    wide = await row_of(here, rule)
    await rules.narrow(here.home, rule.id, fields=["new_address"])
    if twice:
        wide = await row_of(here, rule)
        await rules.narrow(here.home, rule.id, territories=["35238"], ends_at=Instant(here.clock.now + DAY))
    kept = await row_of(here, rule)
    await put_back(here, wide)

    assert ([], [Reason.NARROWED]) == await why(here)
    (counts,) = await rules.every(here.home)
    assert (frozenset({"new_address"}), kept["narrowed_at"]) == (counts.fields, counts.narrowed_at)
    assert (None if not twice else here.clock.now + DAY) == counts.ends_at
    assert ("endings.behind", "rules") in {
        (one.check, one.place.partition("/")[0]) for one in await here.home.fsck.check()
    }
    with pytest.raises(Refused, match=r"rules\.wider"):
        await rules.narrow(here.home, rule.id, fields=BOTH)
    await here.home.completion.finish(all_of_it=True)

    again = await row_of(here, rule)
    assert {name: kept[name] for name in kept if name not in {"row_version", "seal"}} == {
        name: again[name] for name in again if name not in {"row_version", "seal"}
    }


@pytest.mark.asyncio
async def test_an_end_after_a_narrowing_counts_and_a_narrowing_is_not_undone_by_the_clock(here: World) -> None:
    rule = await acting(here, fields=BOTH, territories=["35"])
    first = await rules.narrow(here.home, rule.id, fields=["new_address"])
    second = await rules.narrow(here.home, rule.id, territories=["35238"])  # in the same instant
    assert (second.narrowed_at or 0) > (first.narrowed_at or 0)
    wide = await row_of(here, rule)

    await rules.end(here.home, rule.id)
    await put_back(here, wide)

    assert (Progress.WITHHELD, Reason.NO_GRANT) == await outcome(here)
    await here.home.completion.finish(all_of_it=True)


@pytest.mark.asyncio
async def test_everybody_sees_what_a_narrowed_rule_allows(here: World) -> None:
    rule = await acting(here, fields=BOTH)
    await rules.narrow(here.home, rule.id, fields=["new_address"])

    (shown,) = await rules.published(here.home)
    (entry,) = await here.entries(FactKind.RULE_NARROWED)
    assert sha256(shown.approved.encode()).digest() == entry.detail
