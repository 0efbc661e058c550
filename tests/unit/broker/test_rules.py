"""Rules by law: everybody's declarations reach who the law names; an objection and an end hold at once."""

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from broker.directory import registrar
from broker.flow.tracking import Progress
from broker.services import rules
from broker.store.tables import objections
from broker.store.tables import rules as rules_table
from consent.policy import Deny, Permit
from consent.rules import Rule
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import EventType, PartyId, Purpose, Reason
from tests.world import BREST_ADDRESS, CAF, DAY, ELISE, FAMILY, MOVED, RENNES, TOWN, VOICE, YANN, World

ARTICLE = "CSS, art. L114-19"
FIELDS = ("subject", "new_address")


async def asked(here: World, recipient: PartyId = CAF, purpose: Purpose = FAMILY, **more: Any) -> Rule:
    """A rule for moves, asked for."""
    told: dict[str, Any] = {"event_type": MOVED, "fields": FIELDS, "article": ARTICLE, **more}
    return await rules.ask(here.home, recipient=recipient, purpose=purpose, **told)


async def acting(here: World, recipient: PartyId = CAF, purpose: Purpose = FAMILY, **more: Any) -> Rule:
    """A rule for moves that acts."""
    rule = await rules.approve(here.home, (await asked(here, recipient, purpose, **more)).id)
    here.clock.pass_(3 * DAY)
    return rule


async def outcome(here: World, person: dict[str, Any] = ELISE, recipient: PartyId = CAF) -> tuple[Progress, Any]:
    """What becomes of a move, with one recipient."""
    accepted = await here.declare(MOVED, here.moved(person))
    track = await here.home.tracking.track(accepted.declaration_id)
    (step,) = [one for one in track.steps if one.recipient == recipient] or [None]
    return (Progress.WITHHELD, None) if step is None else (step.progress, step.reason)


@pytest.mark.asyncio
async def test_under_a_rule_everybody_is_heard_of_and_nobody_typed_a_grant(here: World) -> None:
    rule = await acting(here)

    for person in (ELISE, YANN):
        await here.declare(MOVED, here.moved(person))
    first, second = await here.take(CAF)

    assert {f"law:{ARTICLE}"} == {first.basis, second.basis}
    assert set(FIELDS) == set(first.disclosed)
    for person in (ELISE, YANN):
        (grant,) = await here.home.consents.of(here.subject(person))
        assert (rule.id, True, ARTICLE) == (grant.rule, grant.by_law, grant.basis.article)
    await here.step()


@pytest.mark.asyncio
async def test_the_next_declaration_goes_under_the_same_grant(here: World) -> None:
    await acting(here)

    for _ in range(3):
        await here.declare(MOVED, here.moved())
        await here.take(CAF)

    assert 1 == len(await here.home.consents.of(here.subject()))
    assert 1 == len(await here.entries(FactKind.GRANTED))


@pytest.mark.asyncio
async def test_a_rule_acts_after_its_delay_and_not_before(here: World) -> None:
    rule = await rules.approve(here.home, (await asked(here)).id)

    assert (Progress.WITHHELD, Reason.NO_GRANT) == await outcome(here)
    here.clock.now = rule.acts_from
    assert (Progress.SENT, None) == await outcome(here)
    assert 3 * DAY == rule.acts_from - rule.approved_at


@pytest.mark.asyncio
async def test_what_came_before_a_rule_stays_as_it_was_decided(here: World) -> None:
    await here.declare(MOVED, here.moved())
    await acting(here)
    grant = await here.give(CAF, MOVED, FAMILY, ("effective_date",))
    await here.declare(MOVED, here.moved())

    assert 2 == len(await here.home.consents.of(here.subject()))
    taken = [*await here.take(CAF), *await here.take(CAF)]
    assert [f"law:{ARTICLE}", "consent"] == [one.basis for one in taken]  # of the second alone, under each ground
    assert [] == await here.take(CAF)
    await here.home.consents.revoke(grant.grant.id, VOICE)


@pytest.mark.asyncio
async def test_a_rule_that_has_ended_releases_nothing_from_its_commit_on(here: World) -> None:
    rule = await acting(here)
    await here.declare(MOVED, here.moved())

    await rules.end(here.home, rule.id)
    pulled = await here.inbox(CAF).pull(10)

    assert ([], [Reason.REVOKED]) == (list(pulled.locked), [one.reason for one in pulled.withheld])
    assert (Progress.WITHHELD, Reason.NO_GRANT) == await outcome(here, YANN)
    assert 1 == await here.home.objections.end_with_rules()
    assert 0 == await here.home.objections.end_with_rules()
    (grant,) = await here.home.consents.of(here.subject())
    assert grant.status.over
    assert (Progress.WITHHELD, Reason.REVOKED) == await outcome(here)


@pytest.mark.asyncio
async def test_a_rule_that_has_ended_plans_and_promises_nothing_before_its_grants_are_closed(here: World) -> None:
    rule = await acting(here)
    await here.declare(MOVED, here.moved())
    await here.take(CAF)
    await rules.end(here.home, rule.id)

    assert (Progress.WITHHELD, Reason.REVOKED) == await outcome(here)
    dry = await here.home.desk.explain(TOWN, MOVED, here.moved())
    (shown,) = [one.decision for one in dry.lines if one.subscription.recipient == CAF]
    assert Deny(Reason.REVOKED) == shown

    await here.home.objections.end_with_rules()
    assert (Progress.WITHHELD, Reason.REVOKED) == await outcome(here)
    await here.step()


@pytest.mark.asyncio
async def test_an_objection_closes_what_is_on_its_way_and_nothing_new_goes_out(here: World) -> None:
    rule = await acting(here)
    accepted = await here.declare(MOVED, here.moved())

    told = await rules.object_to(here.home, here.subject(), rule.id, reason="personal-situation", given_by="self")

    assert told.ended is not None
    track = await here.home.tracking.track(accepted.declaration_id)
    assert [Reason.OBJECTED] == [one.reason for one in track.steps if one.recipient == CAF]
    assert [] == await here.take(CAF)
    assert (Progress.WITHHELD, Reason.OBJECTED) == await outcome(here)
    assert (Progress.SENT, None) == await outcome(here, YANN)
    assert 1 == len(await here.entries(FactKind.OBJECTED))
    await here.step()


@pytest.mark.asyncio
async def test_who_objects_before_the_first_declaration_gets_no_grant(here: World) -> None:
    rule = await acting(here)
    await rules.object_to(here.home, here.subject(), rule.id, reason="personal-situation", given_by="self")

    assert (Progress.WITHHELD, Reason.OBJECTED) == await outcome(here)
    assert () == await here.home.consents.of(here.subject())


@pytest.mark.asyncio
async def test_a_withdrawn_objection_counts_for_what_comes(here: World) -> None:
    rule = await acting(here)
    await rules.object_to(here.home, here.subject(), rule.id, reason="personal-situation", given_by="self")
    before = await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)

    await rules.withdraw_objection(here.home, here.subject(), rule.id, given_by="self")
    assert (Progress.SENT, None) == await outcome(here)

    assert 1 == len(await here.take(CAF))
    track = await here.home.tracking.track(before.declaration_id)
    assert [Reason.OBJECTED] == [one.reason for one in track.steps if one.recipient == CAF]
    (mine,) = await rules.objections(here.home, here.subject())
    assert mine.withdrawn_at == here.clock.now


@pytest.mark.asyncio
async def test_a_consent_still_counts_beside_an_objection(here: World) -> None:
    rule = await acting(here)
    await rules.object_to(here.home, here.subject(), rule.id, reason="personal-situation", given_by="self")
    await here.give(CAF, MOVED, FAMILY, ("new_address",))

    assert (Progress.SENT, None) == await outcome(here)
    (delivery,) = await here.take(CAF)
    assert "consent" == delivery.basis


@pytest.mark.asyncio
async def test_a_rule_hears_within_the_territory_of_its_subscription(here: World) -> None:
    await acting(here, RENNES, TOWN, article="CGCT, art. L2121-29")

    await here.declare(MOVED, here.moved(YANN, new_address=BREST_ADDRESS, new_commune="29019"))
    assert (Progress.SENT, None) == await outcome(here, ELISE, RENNES)

    assert () == await here.home.consents.of(here.subject(YANN))


@pytest.mark.asyncio
async def test_the_dry_run_says_what_will_happen_by_which_article(here: World) -> None:
    rule = await acting(here)

    async def said() -> dict[PartyId, Any]:
        shown = await here.home.desk.explain(here.home.party, MOVED, here.moved())
        return {line.subscription.recipient: line.decision for line in shown.lines}

    assert {f"law:{ARTICLE}"} == {share.basis.text for share in (await said())[CAF].shares}
    await rules.object_to(here.home, here.subject(), rule.id, reason="personal-situation", given_by="self")
    assert Reason.OBJECTED is (await said())[CAF].reason
    assert () == await here.home.consents.of(here.subject())


@pytest.mark.asyncio
async def test_an_objection_to_one_rule_leaves_another_of_the_same_administration(here: World) -> None:
    rule = await acting(here)
    await acting(here, fields=("household",), article="CASF, art. L123-1")
    await rules.object_to(here.home, here.subject(), rule.id, reason="personal-situation", given_by="self")

    shown = await here.home.desk.explain(here.home.party, MOVED, here.moved())
    (decision,) = (line.decision for line in shown.lines if line.subscription.recipient == CAF)
    await here.declare(MOVED, here.moved())

    assert isinstance(decision, Permit)
    assert [decision.fields] == [one.disclosed for one in await here.take(CAF)] == [("household",)]


REFUSED = {
    "no article": ({"article": ""}, "grant.article"),
    "no fields": ({"fields": ()}, "rules.no-fields"),
    "a field that the type lacks": ({"fields": ("subject", "iban")}, "rules.unknown-field"),
    "another type": ({"event_type": EventType("fr.unefois.nothing.v1")}, "catalogue.unknown-type"),
    "nobody": ({"recipient": PartyId("urn:unefois:nobody")}, "directory.unknown-party"),
    "ended before it begins": ({"ends_at": 1}, "rules.ends-before-it-begins"),
}


@pytest.mark.parametrize("wrong", REFUSED)
@pytest.mark.asyncio
async def test_a_rule_that_nobody_could_approve_is_refused(here: World, wrong: str) -> None:
    more, code = REFUSED[wrong]
    with pytest.raises(Refused) as caught:
        await asked(here, **more)
    assert code == caught.value.code
    assert [] == await rules.every(here.home)


@pytest.mark.asyncio
async def test_two_rules_for_one_field_are_refused_and_for_another_field_are_not(here: World) -> None:
    await acting(here)

    with pytest.raises(Refused, match=r"rules\.overlap"):
        await asked(here, fields=("new_address", "household"))
    await acting(here, fields=("household",), article="CASF, art. L123-1")

    await here.declare(MOVED, here.moved())
    taken = [*await here.take(CAF), *await here.take(CAF)]
    assert {("subject", "new_address"), ("household",)} == {one.disclosed for one in taken}


@pytest.mark.asyncio
async def test_without_an_approved_subscription_nothing_is_approved(here: World) -> None:
    rule = await asked(here, purpose=Purpose("income-tax"))

    with pytest.raises(Refused, match=r"rules\.no-subscription"):
        await rules.approve(here.home, rule.id)
    assert (Progress.WITHHELD, Reason.NO_GRANT) == await outcome(here)


@pytest.mark.asyncio
async def test_changes_that_cannot_be_are_refused_by_their_code(here: World) -> None:
    home, me = here.home, here.subject()
    firm = await acting(here, objection=False)
    how: dict[str, Any] = {"reason": "personal-situation", "given_by": "self"}

    for code, attempt in {
        "objections.not-provided": lambda: rules.object_to(home, me, firm.id, **how),
        "objections.none": lambda: rules.withdraw_objection(home, me, firm.id, given_by="self"),
        "objections.reason": lambda: rules.object_to(home, me, firm.id, reason="Because!", given_by="self"),
        "grant.given-by": lambda: rules.object_to(home, me, firm.id, reason="none", given_by="Élise Martin"),
        "rules.not-asked": lambda: rules.approve(home, firm.id),
        "rules.unknown": lambda: rules.end(home, type(firm.id)(bytes(16))),
    }.items():
        with pytest.raises(Refused) as caught:
            await attempt()
        assert code == caught.value.code
    await rules.end(home, firm.id)
    for attempt in (lambda: rules.end(home, firm.id), lambda: rules.object_to(home, me, firm.id, **how)):
        with pytest.raises(Refused, match=r"rules\.ended"):
            await attempt()


@pytest.mark.asyncio
async def test_a_mandate_under_a_rule_is_ended_by_the_rule_alone(here: World) -> None:
    await acting(here)
    await here.declare(MOVED, here.moved())
    (grant,) = await here.home.consents.of(here.subject())

    with pytest.raises(Refused, match=r"grant\.by-rule"):
        await here.home.consents.end_mandate(grant.id, VOICE)
    assert (Progress.SENT, None) == await outcome(here)


@pytest.mark.asyncio
async def test_who_writes_rows_brings_no_rule_back_and_takes_no_objection_away(here: World) -> None:
    home, told = here.home, {"reason": "personal-situation", "given_by": "self"}
    over, rule = await acting(here), await acting(here, fields=("household",), article="CASF, art. L123-1")
    await here.declare(MOVED, here.moved(YANN))
    async with home.store.begin() as tx:
        before = dict((await tx.execute(select(rules_table).where(rules_table.c.id == over.id))).one()._mapping)
    await rules.end(home, over.id)
    await rules.object_to(home, here.subject(), rule.id, **told)
    async with home.store.begin() as tx:
        kept = dict((await tx.execute(select(objections))).one()._mapping)
        await tx.execute(update(rules_table).where(rules_table.c.id == over.id).values(before))
        await tx.execute(delete(objections))
        await registrar.changing(tx)  # as whoever knows the machine would, so that everybody reads them anew

    assert [rule.id] == [one.rule for one in await rules.objections(home, here.subject()) if one.withdrawn_at is None]
    assert (Progress.WITHHELD, Reason.OBJECTED) == await outcome(here)
    taken = await here.take(CAF)
    assert {"household"} == {name for one in taken for name in one.disclosed}
    found = {(one.check, one.place.partition("/")[0]) for one in await home.fsck.check()}
    assert {("endings.behind", "rules"), ("endings.behind", "objections")} <= found
    await home.completion.finish(all_of_it=True)

    async with home.store.read() as tx:
        ended = (await tx.execute(select(rules_table.c.status).where(rules_table.c.id == over.id))).scalar_one()
        assert (ended, kept) == ("ended", dict((await tx.execute(select(objections))).one()._mapping))


@pytest.mark.asyncio
async def test_an_edited_rule_and_an_edited_objection_count_for_nothing(here: World) -> None:
    rule = await acting(here)
    async with here.home.store.begin() as tx:
        await tx.execute(update(rules_table).values(fields='["subject", "new_address", "household"]'))
        await registrar.changing(tx)

    assert (Progress.WITHHELD, Reason.NO_GRANT) == await outcome(here)
    async with here.home.store.begin() as tx:
        await tx.execute(update(rules_table).values(fields='["new_address", "subject"]'))
        await registrar.changing(tx)
    assert (Progress.SENT, None) == await outcome(here)
    assert rule.id == (await rules.every(here.home))[0].id
