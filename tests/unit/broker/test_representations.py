"""Who acts for another is a record: without one, after its end, out of its scope, nothing is taken."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from broker.consents.consents import Recorded
from broker.consents.representing import Changed
from broker.flow import represented
from broker.flow.arrived import Accepted
from broker.services import parties, representations, retractions
from broker.store.tables import representations as table
from consent.grant import Status
from consent.representation import Known, Measure, of_age_at
from schemas import samples
from schemas.assurance import Assurance, Provenance, Quality
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Capacity, Channel, EventType, Instant, PartyId, Purpose, Reason
from tests.unit.broker.families import LOU, acts, by
from tests.unit.broker.test_linking import MOREAU, linked
from tests.world import CAF, CPAM, DAY, ELISE, FAMILY, HEALTH, MOVED, PORTAL, START, VOICE, YANN, World, world

DIED = EventType("fr.unefois.person.died.v2")


async def given(
    here: World, purpose: Purpose, recipient: PartyId, made: Changed | None = None, subject: dict[str, Any] = YANN
) -> Recorded:
    """What a representative allows."""
    if made is None:
        (record,) = await representations.of_person(here.home, here.subject(subject))
    else:
        record = made.representation
    voice = replace(VOICE, capacity=record.measure.capacity, given_by=record.voice)
    return await here.give(recipient, MOVED, purpose, ("subject", "new_address"), person=subject, voice=voice)


async def pulled(here: World, party: PartyId) -> tuple[tuple[Any, ...], Reason | None]:
    """What is released, and why nothing is."""
    got = await here.home.gate.pull(party, await here.inbox(party).due(10))
    return got.locked, got.withheld[0][1] if got.withheld else None


async def row_of(here: World, made: Changed) -> dict[str, Any]:
    """Its row as it is."""
    async with here.home.store.read() as tx:
        asked = select(table).where(table.c.id == made.representation.id)
        return dict((await tx.execute(asked)).one()._mapping)


async def died(here: World, person: dict[str, Any], quality: Quality = Quality.CERTIFIED, **told: Any) -> Accepted:
    """A death, as a town hall tells it."""
    async with here.home.store.read() as tx:
        directory = await here.home.lookup.directory(tx)
    if not any(right.event_type == DIED for right in directory.rights):
        await parties.allow(here.home, PORTAL, DIED)
    record = samples.sample(DIED) | {"subject": person, "death_date": "2026-11-20"} | told
    provenance = Provenance(Assurance.NONE, quality, Channel.COUNTER)
    accepted = await here.home.desk.declare(PORTAL, DIED, record, provenance=provenance)
    await here.home.router.route()
    return accepted


async def refused(here: World, record: dict[str, Any]) -> tuple[str, str]:
    """Code and pointer of the refusal of a move."""
    with pytest.raises(Refused) as fault:
        await here.declare(MOVED, record)
    return fault.value.code, fault.value.pointer


@pytest.mark.asyncio
async def test_who_has_a_record_declares_for_another_and_the_statement_says_so(here: World) -> None:
    made = await acts(here)

    accepted = await here.declare(MOVED, by(here))

    acted = await representations.acted_for(here.home, accepted.declaration_id)
    assert acted is not None
    assert (here.subject(ELISE), here.subject(YANN)) == (acted.representative, acted.subject)
    assert (Known.RECORD, made.representation.id) == (acted.known, acted.representation)
    (entry,) = await here.entries(FactKind.ACTED_FOR)
    assert accepted.digest == entry.declaration
    await here.step()


@pytest.mark.asyncio
async def test_without_a_record_nobody_declares_for_another(here: World) -> None:
    assert ("representations.none", "/slip/subject_token") == await refused(here, by(here))
    (entry,) = await here.entries(FactKind.REFUSED)
    assert Reason.NOT_ENTITLED == entry.reason
    await here.step()


@pytest.mark.asyncio
async def test_a_source_that_states_what_it_knows_itself_acts_for_nobody(here: World) -> None:
    await here.declare(MOVED, here.moved(YANN, capacity="agent"))

    assert [] == await here.entries(FactKind.ACTED_FOR)


@pytest.mark.asyncio
async def test_an_ended_record_lets_nothing_more_in_and_its_end_is_told_once(here: World) -> None:
    made = await acts(here)
    await here.declare(MOVED, by(here))

    await representations.end(here.home, made.representation.id)

    assert ("representations.ended", "/slip/subject_token") == await refused(here, by(here))
    with pytest.raises(Refused, match=r"representations.ended"):
        await representations.end(here.home, made.representation.id)
    (entry,) = await here.entries(FactKind.REPRESENTATION_ENDED)
    assert represented.digest(await representations.show(here.home, made.representation.id)) == entry.detail
    await here.step()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"begins_at": START + DAY}, "representations.not-yet"),
        ({"ends_at": START + 1, "begins_at": START - DAY}, "representations.ended"),
        ({"event_types": ["fr.unefois.contact.changed.v1"]}, "representations.out-of-scope"),
        ({"measure": Measure.POWER_OF_ATTORNEY}, "representations.none"),
        ({"by": LOU}, "representations.none"),
        ({"subject": LOU}, "representations.none"),
    ],
)
async def test_a_record_allows_what_it_says_and_nothing_else(here: World, more: dict[str, Any], code: str) -> None:
    await acts(here, more.pop("measure", Measure.GUARDIANSHIP), **more)
    here.clock.pass_(1)

    assert (code, "/slip/subject_token") == await refused(here, by(here))
    await here.step()


@pytest.mark.asyncio
async def test_what_names_types_and_purposes_allows_those(here: World) -> None:
    await acts(here, event_types=[MOVED], purposes=[HEALTH])
    await here.declare(MOVED, by(here))

    with pytest.raises(Refused, match=r"representations.out-of-scope"):
        await given(here, FAMILY, CAF)
    await given(here, HEALTH, CPAM)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("told", "code", "pointer"),
    [
        ({"subject": ELISE}, "representations.oneself", "/representative"),
        ({"proof": ""}, "representations.proof", "/proof"),
        ({"proof": "two\nlines"}, "representations.proof", "/proof"),
        ({"measure": "friendship"}, "representations.measure", "/measure"),
        ({"event_types": []}, "representations.no-scope", "/event_types"),
        ({"purposes": []}, "representations.no-scope", "/purposes"),
        ({"event_types": ["fr.unefois.moon.v1"]}, "catalogue.unknown-type", ""),
        ({"begins_at": START, "ends_at": START}, "representations.ends-before-it-begins", "/ends_at"),
        ({"measure": "parental_authority"}, "representations.of-age", "/subject/birthdate"),
        ({"subject": YANN | {"gender": "?"}}, "identity.gender", "/subject/gender"),
        ({"by": PORTAL}, "directory.not-entitled", "/measure"),
    ],
)
async def test_a_record_that_makes_no_sense_is_refused_at_its_place(
    here: World, told: dict[str, Any], code: str, pointer: str
) -> None:
    sound = {"representative": ELISE, "subject": YANN, "measure": "guardianship", "proof": "TJ Rennes 25/1"}

    with pytest.raises(Refused) as fault:
        await representations.start(here.home, **(sound | told))

    assert (code, pointer) == (fault.value.code, fault.value.pointer)
    assert [] == await here.entries(FactKind.REPRESENTATION_STARTED)


@pytest.mark.asyncio
async def test_one_ground_stands_once_and_again_after_its_end(here: World) -> None:
    made = await acts(here)
    with pytest.raises(Refused, match=r"representations.stands"):
        await acts(here)

    await representations.end(here.home, made.representation.id)
    await acts(here)
    await here.declare(MOVED, by(here))
    await here.step()


@pytest.mark.asyncio
async def test_an_entitled_source_writes_down_and_ends_its_own_alone(here: World) -> None:
    await parties.allow(here.home, PORTAL, representations.STARTED)
    await parties.allow(here.home, PORTAL, representations.ENDED)
    mine = await acts(here, by_source=PORTAL)
    other = await acts(here, subject=LOU)

    with pytest.raises(Refused, match=r"representations.unknown"):
        await representations.end(here.home, other.representation.id, by=PORTAL)
    await representations.end(here.home, mine.representation.id, by=PORTAL)

    assert ("representations.ended", "/slip/subject_token") == await refused(here, by(here))
    await here.step()


@pytest.mark.asyncio
async def test_a_source_that_looks_itself_is_believed_where_no_record_says_otherwise(
    tmp_path: Path, home_settings: dict[str, Any]
) -> None:
    async with world(tmp_path, **home_settings, capacity_sources=[PORTAL]) as here:
        accepted = await here.declare(MOVED, by(here))
        acted = await representations.acted_for(here.home, accepted.declaration_id)
        assert acted is not None
        assert (Known.SOURCE, None) == (acted.known, acted.representation)

        made = await acts(here)
        await representations.end(here.home, made.representation.id)
        assert ("representations.ended", "/slip/subject_token") == await refused(here, by(here))
        await here.step()


# ── somebody comes of age ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_parent_acts_until_the_eighteenth_birthday_and_not_on_it(here: World) -> None:
    teen = LOU | {"birthdate": "2008-11-25"}  # of age the day after START
    here.clock.now = Instant(of_age_at("2008-11-25") - 1000)
    await acts(here, Measure.PARENTAL_AUTHORITY, subject=teen)
    await here.declare(MOVED, by(here, subject=teen, capacity="parent"))

    token_of_before = await here.home.desk.envelope(PORTAL, MOVED, by(here, subject=teen, capacity="parent"))
    here.clock.now = of_age_at("2008-11-25")

    with pytest.raises(Refused) as fault:
        await here.home.intake.accept(token_of_before)
    assert ("representations.of-age", "/slip/subject_token") == (fault.value.code, fault.value.pointer)
    assert ("representations.of-age", "/capacity") == await refused(here, by(here, subject=teen, capacity="parent"))


@pytest.mark.asyncio
async def test_what_a_parent_allowed_opens_nothing_once_the_child_is_of_age(here: World) -> None:
    teen = LOU | {"birthdate": "2008-11-25"}
    made = await acts(here, Measure.PARENTAL_AUTHORITY, subject=teen)
    theirs = await given(here, FAMILY, CAF, made, teen)
    own = await here.give(CPAM, MOVED, HEALTH, ("subject", "new_address"), person=teen)
    await here.declare(MOVED, by(here, subject=teen, capacity="parent"))

    here.clock.now = of_age_at("2008-11-25")

    assert of_age_at("2008-11-25") == theirs.grant.expires_at
    assert (((), Reason.EXPIRED)) == await pulled(here, CAF)
    (delivery,) = await here.take(CPAM)
    assert own.grant.id == delivery.grant_id
    await here.home.upkeep.turn()
    await here.step()


# ── what rests on a representation ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_what_a_guardian_allowed_ends_with_the_judgment_though_a_delivery_waits(here: World) -> None:
    made = await acts(here)
    await given(here, FAMILY, CAF, made)
    await here.declare(MOVED, by(here))

    await here.home.representing.end(made.representation.id)  # as a source ends it: nobody has closed the consent yet

    assert ((), Reason.REVOKED) == await pulled(here, CAF)
    (before,) = await here.home.consents.of(here.subject(YANN))
    assert Status.ACTIVE is before.status
    await here.home.upkeep.turn()
    (after,) = await here.home.consents.of(here.subject(YANN))
    assert Status.REVOKED is after.status
    await here.step()


@pytest.mark.asyncio
async def test_nothing_more_is_planned_under_what_a_guardian_allowed(here: World) -> None:
    made = await acts(here)
    await given(here, FAMILY, CAF, made)
    await here.home.representing.end(made.representation.id)

    accepted = await here.declare(MOVED, here.moved(YANN))

    track = await here.home.tracking.track(accepted.declaration_id)
    assert [(CAF, Reason.REVOKED)] == [(one.recipient, one.reason) for one in track.steps if one.recipient == CAF]


@pytest.mark.asyncio
async def test_what_the_person_has_confirmed_since_stays(here: World) -> None:
    made = await acts(here)
    theirs = await given(here, FAMILY, CAF, made)
    await here.home.consents.pause(theirs.grant.id, VOICE)
    await here.home.consents.resume(theirs.grant.id, VOICE)

    await representations.end(here.home, made.representation.id)

    (grant,) = await here.home.consents.of(here.subject(YANN))
    assert Status.ACTIVE is grant.status
    await here.step()


@pytest.mark.asyncio
async def test_nobody_consents_for_another_on_their_own_word(here: World) -> None:
    made = await acts(here, subject=LOU)
    for voice in (
        replace(VOICE, capacity=Capacity.GUARDIAN),
        replace(VOICE, capacity=Capacity.PARENT, given_by="agent:12"),
        replace(VOICE, capacity=Capacity.GUARDIAN, given_by=made.representation.voice),  # Lou's, and not Yann's
        replace(VOICE, given_by=made.representation.voice),
    ):
        with pytest.raises(Refused) as fault:
            await here.give(CAF, MOVED, FAMILY, ("subject",), person=YANN, voice=voice)
        assert ("representations.none", "/given_by") == (fault.value.code, fault.value.pointer)


@pytest.mark.asyncio
async def test_a_guardian_whose_judgment_has_ended_lets_nothing_out_again(here: World) -> None:
    made = await acts(here)
    mine = await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"), person=YANN)
    await here.home.consents.pause(mine.grant.id, VOICE)
    await representations.end(here.home, made.representation.id)

    guardian = replace(VOICE, capacity=Capacity.GUARDIAN, given_by=made.representation.voice)
    with pytest.raises(Refused, match=r"representations.ended"):
        await here.home.consents.resume(mine.grant.id, guardian)


# ── somebody has died ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_nothing_is_declared_on_the_word_of_the_dead_until_the_death_is_recalled(here: World) -> None:
    await acts(here)
    death = await died(here, ELISE)

    for record in (here.moved(ELISE), by(here)):
        assert ("representations.died", "/slip/subject_token") == await refused(here, record)

    await retractions.recall(here.home, death.declaration_id, reason="wrong-person")
    await here.declare(MOVED, here.moved(ELISE))
    await here.declare(MOVED, by(here))
    await here.step()


@pytest.mark.asyncio
async def test_nobody_acts_for_the_dead_any_more_and_registers_go_on(here: World) -> None:
    await acts(here)
    await died(here, YANN)

    assert ("representations.died", "/slip/subject_token") == await refused(here, by(here))
    certified = Provenance(Assurance.NONE, Quality.CERTIFIED, Channel.COUNTER)
    await here.home.desk.declare(PORTAL, MOVED, here.moved(YANN), provenance=certified)
    await died(here, YANN)


@pytest.mark.asyncio
async def test_a_death_that_nobody_has_certified_silences_nobody(here: World) -> None:
    await died(here, ELISE, Quality.DECLARED)

    await here.declare(MOVED, here.moved(ELISE))


@pytest.mark.asyncio
async def test_a_parent_declares_a_birth_before_anything_can_say_that_they_may(here: World) -> None:
    born = EventType("fr.unefois.person.born.v2")
    await parties.allow(here.home, PORTAL, born)
    record = samples.sample(born) | {"declarant": ELISE, "capacity": "parent"}

    accepted = await here.declare(born, record)

    acted = await representations.acted_for(here.home, accepted.declaration_id)
    assert acted is not None
    assert (Known.RELATIVE, None) == (acted.known, acted.representation)


@pytest.mark.asyncio
async def test_a_relative_declares_a_death_and_nothing_else(here: World) -> None:
    accepted = await died(here, YANN, Quality.DECLARED, declarant=ELISE, capacity="next_of_kin")

    acted = await representations.acted_for(here.home, accepted.declaration_id)
    assert acted is not None
    assert Known.RELATIVE is acted.known
    assert ("representations.relative", "/slip/subject_token") == await refused(here, by(here, capacity="next_of_kin"))


# ── somebody who writes into the database ───────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_row_that_an_insider_writes_lets_nobody_act(here: World) -> None:
    made = await acts(here, subject=LOU)
    row = await row_of(here, made)
    async with here.home.store.begin() as tx:
        await tx.execute(insert(table), row | {"id": bytes(16), "subject": here.subject(YANN)})

    assert ("representations.none", "/slip/subject_token") == await refused(here, by(here))
    assert {"rows.unsigned", "representations.untold"} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(delete(table).where(table.c.id == bytes(16)))


@pytest.mark.asyncio
async def test_an_old_row_that_an_insider_puts_back_brings_nobody_back(here: World) -> None:
    made = await acts(here)
    await given(here, FAMILY, CAF, made)
    await here.declare(MOVED, by(here))
    before = await row_of(here, made)
    await here.home.representing.end(made.representation.id)
    async with here.home.store.begin() as tx:
        await tx.execute(update(table).values(before))

    assert ("representations.ended", "/slip/subject_token") == await refused(here, by(here))
    assert ((), Reason.REVOKED) == await pulled(here, CAF)
    assert {"endings.behind"} == {one.check for one in await here.home.fsck.check()}
    await here.home.completion.finish(all_of_it=True)
    assert (await row_of(here, made))["ended_at"] is not None
    await here.step()


@pytest.mark.asyncio
async def test_a_deleted_row_lets_nobody_act(here: World) -> None:
    await acts(here)
    async with here.home.store.begin() as tx:
        before = (await tx.execute(select(table))).one()._mapping
        await tx.execute(delete(table))

    assert ("representations.none", "/slip/subject_token") == await refused(here, by(here))
    assert {"representations.lost"} == {one.check for one in await here.home.fsck.check()}
    async with here.home.store.begin() as tx:
        await tx.execute(insert(table), dict(before))


# ── somebody has another name ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_record_and_its_end_follow_the_person_who_has_another_name(here: World) -> None:
    made = await acts(here, by=YANN, subject=ELISE)
    await linked(here)

    await here.declare(MOVED, by(here, YANN, MOREAU))
    await representations.end(here.home, made.representation.id)

    assert ("representations.ended", "/slip/subject_token") == await refused(here, by(here, YANN, MOREAU))


@pytest.mark.asyncio
async def test_who_died_under_one_name_declares_under_no_other(here: World) -> None:
    await linked(here)
    await died(here, ELISE)

    assert ("representations.died", "/slip/subject_token") == await refused(here, here.moved(MOREAU))


@pytest.mark.asyncio
async def test_what_a_guardian_allowed_ends_under_both_names(here: World) -> None:
    made = await acts(here, by=YANN, subject=ELISE)
    await linked(here)
    await given(here, FAMILY, CAF, made, MOREAU)

    await representations.end(here.home, made.representation.id)

    assert {Status.REVOKED} == {one.status for one in await here.home.consents.of(here.subject(MOREAU))}
