"""Somebody in danger who moves: the town and the people left behind hear nothing, whatever way leads to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from broker.consents.protecting import Wanted
from broker.directory.parties import Enrolment
from broker.directory.reading import Party, PartyKind
from broker.flow.tracking import Progress
from broker.people.protection import LIFT_MS, Protection
from broker.services import declarations as declaring
from broker.services import retractions, rules
from broker.store.tables import metadata
from consent.grant import Status
from consent.policy import Permit
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.hpke import Suite
from schemas.names import Instant, PartyId, Reason
from tests.world import BANK, BREST_ADDRESS, CAF, DAY, ELISE, FAMILY, MOVED, PORTAL, RENNES, TOWN, VOICE, YANN, World

BREST = PartyId("urn:fr:siret:21290019700014")
ILLE_ET_VILAINE = PartyId("urn:fr:siret:22350001800013")
FIELDS = ("subject", "new_address")
OLD, NEW = "35238", "29019"
CHILD = ELISE | {"given_names": ["Lou"], "birthdate": "2019-02-03"}

pytestmark = pytest.mark.asyncio


async def enrol(here: World, party: PartyId) -> None:
    """One administration more."""
    told = Party(
        id=party,
        name=party.rpartition(":")[2],
        sector=party.rpartition(":")[2],
        kind=PartyKind.ADMINISTRATION,
        address="1 place de la Mairie",
        contact="contact@example.fr",
        retention="un an",
        created_at=here.home.clock(),
    )
    await here.home.parties.enrol(Enrolment(told, 1, Suite.X25519, ()))


@pytest_asyncio.fixture
async def quiet(here: World) -> World:
    """The old town, its department and the new town, none of which anybody has allowed anything."""
    for party, codes in ((BREST, [NEW]), (ILLE_ET_VILAINE, ["35"])):
        await enrol(here, party)
        await here.subscribe(party, MOVED, TOWN, FIELDS, codes)
    return here


@pytest_asyncio.fixture
async def towns(quiet: World) -> World:
    """The same, and the person has allowed them to hear."""
    here = quiet
    for party, purpose in ((RENNES, TOWN), (BREST, TOWN), (ILLE_ET_VILAINE, TOWN), (CAF, FAMILY)):
        await here.give(party, MOVED, purpose, FIELDS)
    return here


def away(here: World, person: dict[str, Any] = ELISE, **changes: Any) -> dict[str, Any]:
    """A move from the town that is left to another one."""
    told = {"old_commune": OLD, "new_commune": NEW, "new_address": BREST_ADDRESS}
    return here.moved(person, **{**told, **changes})


async def protect(here: World, person: dict[str, Any] = ELISE, **more: Any) -> Protection:
    """The person is kept from the old town."""
    wanted = {"subject": here.subject(person), "places": frozenset({OLD}), **more}
    return await here.home.protecting.protect(Wanted(**wanted))


async def outcomes(here: World, record: dict[str, Any], **more: Any) -> dict[PartyId, tuple[Progress, Reason | None]]:
    """What becomes of a declaration with each recipient."""
    accepted = await here.declare(MOVED, record, **more)
    track = await here.home.tracking.track(accepted.declaration_id)
    return {one.recipient: (one.progress, one.reason) for one in track.steps}


async def heard(here: World, *parties: PartyId) -> list[PartyId]:
    """Which of these get anything now."""
    return [party for party in parties if await here.take(party)]


def near(here: World, **changes: Any) -> dict[str, Any]:
    """A move to another town of the same department."""
    told = dict(BREST_ADDRESS, commune="35288", postcode="35400", city="Saint-Malo")
    return away(here, new_commune="35288", new_address=told, **changes)


SILENT = (Progress.WITHHELD, Reason.NO_GRANT)


# ── nothing to where the person was ─────────────────────────────────────────────────────────────────────────────────


async def test_the_former_town_and_its_department_hear_nothing_and_the_others_hear(towns: World) -> None:
    await protect(towns)

    found = await outcomes(towns, away(towns))

    assert (SILENT, SILENT) == (found[RENNES], found[ILLE_ET_VILAINE])
    assert [BREST, CAF] == await heard(towns, RENNES, ILLE_ET_VILAINE, BREST, CAF)
    await towns.step()


async def test_without_protection_all_of_them_hear(towns: World) -> None:
    await outcomes(towns, away(towns))

    assert [RENNES, ILLE_ET_VILAINE, BREST, CAF] == await heard(towns, RENNES, ILLE_ET_VILAINE, BREST, CAF)


async def test_a_department_that_holds_the_new_place_too_goes_on_hearing(towns: World) -> None:
    await protect(towns)

    found = await outcomes(towns, near(towns))

    assert (Progress.SENT, None) == found[ILLE_ET_VILAINE]
    assert SILENT == found[RENNES]


async def test_the_former_town_hears_nothing_of_a_type_without_places_either(towns: World) -> None:
    await towns.subscribe(RENNES, BANK, TOWN, ("subject", "iban"))
    await towns.give(RENNES, BANK, TOWN, ("subject", "iban"))
    await protect(towns)

    await towns.declare(BANK, towns.bank())

    assert [] == await heard(towns, RENNES)
    await towns.step()


async def test_a_recipient_that_is_named_hears_nothing_wherever_it_is(towns: World) -> None:
    await protect(towns, parties=frozenset({CAF}))

    assert SILENT == (await outcomes(towns, away(towns)))[CAF]
    assert [BREST] == await heard(towns, CAF, BREST)


async def test_what_is_on_its_way_to_the_former_town_is_closed(towns: World) -> None:
    accepted = await towns.declare(MOVED, away(towns))
    leased = await towns.inbox(RENNES).lease(10)

    await protect(towns)

    released = await towns.home.gate.release(RENNES, [one.id for one in leased])
    assert ((), [Reason.REVOKED]) == (released.locked, [why for _, why in released.withheld])
    assert [BREST, CAF] == await heard(towns, RENNES, ILLE_ET_VILAINE, BREST, CAF)
    steps = (await towns.home.tracking.track(accepted.declaration_id)).steps
    closed = {one.recipient for one in steps if (one.progress, one.reason) == (Progress.WITHHELD, Reason.REVOKED)}
    assert {RENNES, ILLE_ET_VILAINE} == closed
    await towns.step()


async def test_the_gate_opens_nothing_before_the_rows_are_closed(towns: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await towns.declare(MOVED, away(towns))
    monkeypatch.setattr(towns.home.protecting, "_close", nothing)
    monkeypatch.setattr(towns.home.protecting, "end_consents", nothing)

    await protect(towns)

    pulled = await towns.inbox(RENNES).pull(10)
    assert ([], [Reason.REVOKED]) == (list(pulled.locked), [one.reason for one in pulled.withheld])


async def nothing(*_: object) -> None:
    """Does nothing."""


async def test_what_was_allowed_the_former_town_ends_as_any_consent_does(towns: World) -> None:
    await protect(towns)

    found = {one.recipient: one.status for one in await towns.home.consents.of(towns.subject())}

    assert {RENNES: Status.REVOKED, BREST: Status.ACTIVE, ILLE_ET_VILAINE: Status.ACTIVE, CAF: Status.ACTIVE} == found
    assert [RENNES] == [one.recipient for one in await towns.entries(FactKind.REVOKED)]
    await towns.step()


async def test_a_consent_that_somebody_gives_in_the_persons_name_opens_nothing(towns: World) -> None:
    await towns.declare(MOVED, away(towns))
    await protect(towns)

    await towns.give(RENNES, MOVED, TOWN, FIELDS, include_latest=True)

    assert SILENT == (await outcomes(towns, away(towns)))[RENNES]
    assert [] == await heard(towns, RENNES, ILLE_ET_VILAINE)


async def test_a_correction_does_not_reopen_what_is_closed(towns: World) -> None:
    first = await towns.declare(MOVED, away(towns))
    assert [RENNES, ILLE_ET_VILAINE, BREST] == await heard(towns, RENNES, ILLE_ET_VILAINE, BREST)
    await protect(towns)

    partner = away(towns, declarant=YANN, capacity="next_of_kin", effective_date="2026-12-02")
    with pytest.raises(Refused, match=r"representations\.relative"):  # who acts for nobody corrects nothing
        await towns.declare(MOVED, partner, corrects=first.declaration_id)
    found = await outcomes(towns, away(towns, effective_date="2026-12-02"), corrects=first.declaration_id)

    assert (SILENT, SILENT) == (found[RENNES], found[ILLE_ET_VILAINE])
    assert [BREST] == await heard(towns, RENNES, ILLE_ET_VILAINE, BREST)


async def test_a_rule_by_law_makes_no_grant_for_the_former_town(towns: World) -> None:
    await towns.home.consents.revoke_all(towns.subject(), VOICE)
    asked = await rules.ask(
        towns.home, recipient=RENNES, event_type=MOVED, purpose=TOWN, fields=FIELDS, article="CGCT, art. L1"
    )
    await rules.approve(towns.home, asked.id)
    towns.clock.pass_(3 * DAY)
    await towns.declare(MOVED, away(towns))
    (before,) = [one for one in await towns.home.consents.of(towns.subject()) if one.rule]

    await protect(towns)
    await towns.declare(MOVED, away(towns))

    (after,) = [one for one in await towns.home.consents.of(towns.subject()) if one.rule]
    assert (before.id, Status.REVOKED) == (after.id, after.status)
    assert [] == await heard(towns, RENNES)
    await towns.declare(MOVED, away(towns, YANN))
    assert [RENNES] == await heard(towns, RENNES)
    await towns.step()


async def test_the_former_town_does_not_hear_that_a_declaration_is_taken_back(towns: World) -> None:
    first = await towns.declare(MOVED, away(towns))
    await heard(towns, RENNES, BREST)
    await protect(towns)

    await retractions.cancel(towns.home, first.declaration_id, reason="mistake")
    await towns.home.router.route()

    assert [BREST] == await heard(towns, RENNES, BREST)


# ── children, and who has lived with the person ─────────────────────────────────────────────────────────────────────


async def test_the_children_named_with_the_person_are_protected_as_it_is(towns: World) -> None:
    await towns.give(RENNES, MOVED, TOWN, FIELDS, person=CHILD)
    await protect(towns, children=frozenset({towns.subject(CHILD)}))

    assert SILENT == (await outcomes(towns, away(towns, CHILD)))[RENNES]
    assert [] == await heard(towns, RENNES)


async def test_a_housemates_declaration_carries_no_copy_of_the_person(towns: World) -> None:
    await towns.give(CAF, MOVED, FAMILY, ("subject", "new_address", "household"), person=YANN)
    member = {"identity": ELISE, "relation": "partner"}
    before = await towns.declare(MOVED, towns.moved(YANN, household=[member]))
    await protect(towns, housemates=frozenset({towns.subject(YANN)}))
    await towns.declare(MOVED, towns.moved(YANN, household=[member]))

    first, second = [*await towns.take(CAF), *await towns.take(CAF)]

    assert before.declaration_id == first.declaration_id
    for one in (first, second):
        assert {"subject", "new_address"} == set(one.disclosed)
    await towns.step()


async def test_once_the_protection_has_ended_a_housemates_declaration_is_whole_again(towns: World) -> None:
    await towns.give(CAF, MOVED, FAMILY, ("subject", "new_address", "household"), person=YANN)
    await protect(towns, housemates=frozenset({towns.subject(YANN)}))
    await towns.home.protecting.lift(towns.subject(), given_by="self")
    towns.clock.pass_(LIFT_MS)

    await towns.declare(MOVED, towns.moved(YANN, household=[{"identity": ELISE, "relation": "partner"}]))

    (delivery,) = await towns.take(CAF)
    assert "household" in delivery.disclosed


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_goes_on_for_three_days_after_it_was_lifted(towns: World) -> None:
    await protect(towns, children=frozenset({towns.subject(CHILD)}))
    lifted = await towns.home.protecting.lift(towns.subject(), given_by="self")

    towns.clock.pass_(LIFT_MS - 1)
    assert SILENT == (await outcomes(towns, away(towns)))[RENNES]
    towns.clock.pass_(1)

    assert lifted.lifts_at == towns.clock()
    assert None is await towns.home.protecting.of(towns.subject(CHILD))
    assert (Progress.WITHHELD, Reason.REVOKED) == (await outcomes(towns, away(towns)))[RENNES]
    await towns.give(RENNES, MOVED, TOWN, FIELDS)
    assert (Progress.SENT, None) == (await outcomes(towns, away(towns)))[RENNES]


async def test_a_childs_protection_is_lifted_with_its_parents_and_by_nobody_else(towns: World) -> None:
    await protect(towns, children=frozenset({towns.subject(CHILD)}))

    with pytest.raises(Refused, match=r"protection\.not-self"):
        await towns.home.protecting.lift(towns.subject(CHILD), given_by="self")

    assert None is (await towns.home.protecting.lift(towns.subject(), given_by="self")).until
    child = await towns.home.protecting.of(towns.subject(CHILD))
    assert child is not None
    assert towns.clock() + LIFT_MS == child.lifts_at


async def test_what_was_lifted_can_be_kept(towns: World) -> None:
    await protect(towns, children=frozenset({towns.subject(CHILD)}))
    await towns.home.protecting.lift(towns.subject(), given_by="self")
    await towns.home.protecting.keep(towns.subject())

    towns.clock.pass_(LIFT_MS)

    assert SILENT == (await outcomes(towns, away(towns)))[RENNES]
    assert None is not await towns.home.protecting.of(towns.subject(CHILD))


async def test_it_ends_at_the_end_that_a_notice_names_and_not_before(towns: World) -> None:
    end = Instant(towns.clock() + 30 * DAY)
    await protect(towns, notice="PR Rennes 2026/114", until=end)

    towns.clock.now = Instant(end - 1)
    assert SILENT == (await outcomes(towns, away(towns)))[RENNES]
    towns.clock.now = end

    assert None is await towns.home.protecting.of(towns.subject())


async def test_said_again_it_grows_and_is_never_cut_short(towns: World) -> None:
    await protect(towns)
    soon = Instant(towns.clock() + DAY)

    both = await protect(towns, places=frozenset({NEW}), until=soon)

    assert (frozenset({OLD, NEW}), None) == (both.places, both.until)


async def test_a_second_word_for_the_same_person_takes_back_that_it_is_lifted(towns: World) -> None:
    await protect(towns)
    await towns.home.protecting.lift(towns.subject(), given_by="self")

    assert None is (await protect(towns)).lifts_at


@pytest.mark.parametrize(
    ("more", "code", "pointer"),
    [
        ({"places": frozenset()}, "protection.nowhere", "/places"),
        ({"places": frozenset({"00000"})}, "areas.unknown", "/places"),
        ({"parties": frozenset({PartyId("urn:unefois:nobody")})}, "directory.unknown-party", ""),
        ({"reason": "He hits me"}, "protection.reason", "/reason"),
        ({"notice": " "}, "protection.reference", "/notice"),
        ({"until": Instant(1)}, "protection.until", "/until"),
        ({"given_by": "an agent"}, "grant.given-by", "/given_by"),
        ({"places": frozenset(f"{number:05}" for number in range(31))}, "protection.too-many", "/places"),
    ],
)
async def test_what_protects_from_nobody_or_says_it_wrongly_is_refused(
    here: World, more: dict[str, Any], code: str, pointer: str
) -> None:
    with pytest.raises(Refused, match=code) as fault:
        await protect(here, **more)

    assert (code, pointer) == (fault.value.code, fault.value.pointer)
    assert None is await here.home.protecting.of(here.subject())


async def test_only_the_person_lifts_it_once_and_only_where_there_is_one(here: World) -> None:
    for by, code in (("self", "protection.none"), ("urn:agent:12", "protection.not-self")):
        with pytest.raises(Refused, match=code):
            await here.home.protecting.lift(here.subject(), given_by=by)
    with pytest.raises(Refused, match=r"protection\.none"):
        await here.home.protecting.keep(here.subject())
    await protect(here)
    await here.home.protecting.lift(here.subject(), given_by="self")
    with pytest.raises(Refused, match=r"protection\.lifting"):
        await here.home.protecting.lift(here.subject(), given_by="self")


# ── nobody sees it, nobody takes it away ────────────────────────────────────────────────────────────────────────────


async def test_no_row_says_who_is_protected(towns: World) -> None:
    await towns.home.consents.revoke_all(towns.subject(), VOICE)

    before = await rows(towns)
    await protect(towns, children=frozenset({towns.subject(CHILD)}), housemates=frozenset({towns.subject(YANN)}))

    assert before == await rows(towns)


async def rows(here: World) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the database holds."""
    async with here.home.store.read() as tx:
        return {
            table.name: sorted((tuple(row) for row in await tx.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


async def test_an_older_database_that_is_put_back_protects_nobody_less(towns: World) -> None:
    """What is put back knows the delivery and the consent of before; the journal knows better."""
    await towns.declare(MOVED, away(towns))
    protecting = towns.home.protecting
    real = (protecting._close, protecting.end_consents)
    protecting._close = protecting.end_consents = nothing  # type: ignore[assignment, method-assign]
    await protect(towns)  # only the journal has it
    protecting._close, protecting.end_consents = real  # type: ignore[method-assign]

    assert [] == await towns.home.completion.finish()

    found = {one.recipient: one.status for one in await towns.home.consents.of(towns.subject())}
    assert Status.REVOKED is found[RENNES]
    assert [BREST, CAF] == await heard(towns, RENNES, ILLE_ET_VILAINE, BREST, CAF)
    await towns.step()


async def test_doing_it_again_ends_no_consent_that_was_given_since(towns: World) -> None:
    """Whoever opens a copy of the database, or replays the journal, does what was done and no more."""
    await protect(towns)
    towns.clock.pass_(1)
    given = await towns.give(RENNES, MOVED, TOWN, FIELDS)

    await towns.home.completion.finish(all_of_it=True)

    found = {one.id: one.status for one in await towns.home.consents.of(towns.subject())}
    assert Status.ACTIVE is found[given.grant.id]
    await towns.step()


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that any database is asked meanwhile, in their order."""
    asked: list[str] = []

    def add(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", add)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", add)


async def test_a_dry_run_shows_the_same_to_whoever_else_asks(towns: World) -> None:
    """Of a stranger, of the person without a protection and with one: the same lines, the same questions."""
    await towns.home.consents.revoke_all(towns.subject(), VOICE)
    await declaring.explain(towns.home, MOVED, away(towns, YANN), PORTAL)  # what is read once in a process
    told, asked = [], []
    for _ in range(2):
        with counted() as statements:
            dry = (await declaring.explain(towns.home, MOVED, away(towns), PORTAL)).dry
        told.append((dry.lines, dry.elsewhere, dry.held_until))
        asked.append(statements)
        await protect(towns)
    with counted() as statements:
        stranger = (await declaring.explain(towns.home, MOVED, away(towns, YANN), PORTAL)).dry

    assert told[0] == told[1]
    assert asked[0] == asked[1] == statements
    assert [one.subscription for one in told[1][0]] == [one.subscription for one in stranger.lines]


async def test_a_dry_run_shows_what_will_happen_to_the_person_alone(towns: World) -> None:
    await protect(towns, parties=frozenset({CAF}))
    await towns.give(RENNES, MOVED, TOWN, FIELDS)  # by whoever has her telephone
    await towns.give(CAF, MOVED, FAMILY, FIELDS)

    async def shown(*, own: bool) -> dict[PartyId, bool]:
        dry = (await declaring.explain(towns.home, MOVED, away(towns), PORTAL, own=own)).dry
        return {one.subscription.recipient: isinstance(one.decision, Permit) for one in dry.lines}

    others, hers = await shown(own=False), await shown(own=True)
    found = await outcomes(towns, away(towns))

    assert [True] * 4 == [others[party] for party in (RENNES, ILLE_ET_VILAINE, CAF, BREST)]
    assert [False, False, False, True] == [hers[party] for party in (RENNES, ILLE_ET_VILAINE, CAF, BREST)]
    assert hers == {party: told[0] is Progress.SENT for party, told in found.items()}


async def test_a_token_and_what_comes_of_it_are_the_same_for_everybody(quiet: World) -> None:
    """Of a protected person and of one of whom nobody has ever heard: same sizes, same questions, same rows."""
    sizes, asked, found = set(), [], []
    for person in (CHILD, ELISE, YANN):  # the first one: what is read and written once in a process
        sizes.add(len((await quiet.home.desk.token(PORTAL, {"subject": person}))[0]))
        accepted = await quiet.declare(MOVED, away(quiet, person), route=False)
        with counted() as statements:
            await quiet.home.router.route()
        asked.append(statements)
        track = await quiet.home.tracking.track(accepted.declaration_id)
        found.append([(one.recipient, one.purpose, one.progress, one.reason) for one in track.steps])
        await protect(quiet)

    assert 1 == len(sizes)
    assert asked[1] == asked[2]
    assert found[1] == found[2]
    assert {SILENT} == {one[2:] for one in found[1]}


async def test_said_again_it_answers_the_same_and_asks_the_same(here: World) -> None:
    asked = []
    for person in (CHILD, ELISE, ELISE, YANN):
        with counted() as statements:
            await protect(here, person)
        asked.append(statements)

    assert asked[1] == asked[2] == asked[3]


async def test_who_hears_nothing_is_told_apart_by_its_places_alone() -> None:
    told = Protection(
        subject=None,  # type: ignore[arg-type]
        whose=None,  # type: ignore[arg-type]
        since=Instant(1),
        until=None,
        places=frozenset({"75056"}),
        parties=frozenset(),
        reason="danger",
        notice="",
        given_by="self",
    )

    assert told.hides_from(RENNES, {"75114"})
    assert told.hides_from(RENNES, {"75056", "75101"})
    assert not told.hides_from(RENNES, {"75"})
    assert not told.hides_from(RENNES, {"75056", "35238"})
    assert not told.hides_from(RENNES, ())
    assert ("35238",) == told.remaining(("75114", "35238"))
