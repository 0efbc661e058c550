"""The desk: a dry run shows what will happen, writes nothing, and refuses in the same words as the declaration."""

from dataclasses import replace
from typing import Any

import pytest

from broker.access.idempotency import HOURS
from broker.flow.router import TOPIC
from consent.basis import law
from consent.policy import Deny, Permit
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused, Unavailable
from schemas.manifest import Manifest
from schemas.names import DeclarationId, PartyId, Reason, uuid7
from tests.world import BANK, BREST_ADDRESS, CAF, CPAM, ELISE, FAMILY, HEALTH, MOVED, PORTAL, RENNES, TOWN, YANN, World

pytestmark = pytest.mark.asyncio


async def shown(here: World, record: dict[str, Any]) -> dict[PartyId, tuple[str, ...] | Reason]:
    """What the dry run says each will get, or why nothing."""
    lines = (await here.home.desk.explain(PORTAL, MOVED, record)).lines
    return {
        line.subscription.recipient: line.decision.fields if isinstance(line.decision, Permit) else line.decision.reason
        for line in lines
    }


async def happened(here: World, record: dict[str, Any]) -> dict[PartyId, tuple[str, ...] | Reason]:
    """What became of it."""
    accepted = await here.declare(MOVED, record)
    steps = (await here.home.tracking.track(accepted.declaration_id)).steps
    return {step.recipient: step.fields if step.reason is None else step.reason for step in steps}


async def test_the_dry_run_says_what_will_happen_under_the_same_consents(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "email"])
    await here.give(CPAM, MOVED, FAMILY, ["subject"])
    await here.give(RENNES, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))

    told = await shown(here, here.moved())

    assert {CAF: ("subject", "new_address"), CPAM: Reason.PURPOSE, RENNES: ("subject",)} == told
    assert told == await happened(here, here.moved())


async def test_the_dry_run_writes_nothing(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    before = await here.entries()

    await shown(here, here.moved())

    assert before == await here.entries()
    assert 0 == await here.home.log.end(TOPIC, 0)


async def test_the_dry_run_is_about_one_person(here: World) -> None:
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.give(CPAM, MOVED, HEALTH, ["subject"], person=YANN)

    assert {CAF: Reason.NO_GRANT, CPAM: ("subject",), RENNES: Reason.NO_GRANT} == await shown(here, here.moved(YANN))


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"subject": None}, "avro.type", "/subject"),
        ({"subject": ELISE | {"birthdate": "1985-13-12"}}, None, "/subject/birthdate"),
        ({"subject": ELISE | {"gender": "unknown"}}, None, "/subject/gender"),
        ({"subject": {name: told for name, told in ELISE.items() if name != "family_name"}}, None, "/subject"),
        ({"new_commune": "00000"}, None, "/new_commune"),
        ({"occupants": 2**40}, None, "/occupants"),
        ({"unknown": 1}, None, "/unknown"),
    ],
)
async def test_what_is_wrong_is_refused_at_its_place_by_both(
    here: World, changes: dict[str, Any], code: str | None, pointer: str
) -> None:
    record = here.moved() | changes
    refusals = []
    for refuse in (here.home.desk.explain, here.home.desk.declare):
        with pytest.raises(Refused) as refused:
            await refuse(PORTAL, MOVED, record)
        refusals.append((refused.value.code, refused.value.pointer))

    assert refusals[0] == refusals[1]
    assert refusals[0][1].startswith(pointer)
    assert 0 == await here.home.log.end(TOPIC, 0)


@pytest.mark.parametrize(
    "person",
    [None, "Élise", {}, ELISE | {"given_names": 7}, ELISE | {"given_names": [7]}, ELISE | {"family_name": None}],
)
async def test_a_record_without_a_person_names_nobody(here: World, person: Any) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.desk.subject({"subject": person})

    assert ("desk.no-subject", "/subject") == (refused.value.code, refused.value.pointer)


async def test_a_person_who_cannot_be_told_from_others_is_refused_at_the_fact(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.desk.subject({"subject": ELISE | {"gender": "unknown"}})

    assert ("identity.gender", "/subject/gender") == (refused.value.code, refused.value.pointer)


async def test_the_same_person_is_the_same_reference_however_the_name_is_written(here: World) -> None:
    decomposed = ELISE | {"given_names": ["E\u0301lise"], "family_name": "MARTIN"}

    assert here.subject(ELISE) == here.subject(decomposed)
    assert here.subject(ELISE) != here.subject(YANN)


async def test_an_id_that_the_caller_gives_is_kept_so_that_it_can_be_handed_in_again(here: World) -> None:
    one = DeclarationId(uuid7(here.clock(), bytes(10)))
    accepted = await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)

    assert one == accepted.declaration_id
    here.clock.pass_(HOURS * 3_600_000 - 1)
    again = await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)
    assert replace(accepted, repeated=True) == again
    for record, corrects in ((here.moved(effective_date="2027-01-01"), None), (here.moved(), again.declaration_id)):
        with pytest.raises(Refused) as refused:
            await here.home.desk.declare(PORTAL, MOVED, record, declaration_id=one, corrects=corrects)
        assert "intake.id-reused" == refused.value.code
    here.clock.pass_(1)
    with pytest.raises(Refused) as refused:  # forgotten, and sealed anew: the bytes are others
        await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)
    assert "intake.id-reused" == refused.value.code


async def test_what_the_process_died_at_is_handed_in_when_it_is_said_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = DeclarationId(uuid7(here.clock(), bytes(10)))

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("store.away")

    for when in ("envelope", "accept"):
        with monkeypatch.context() as patch:
            patch.setattr(here.home.intake if when == "accept" else here.home.desk, when, away)
            with pytest.raises(Unavailable):
                await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)
    assert not (await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)).repeated


async def test_an_id_under_which_something_was_refused_is_free(here: World) -> None:
    one = DeclarationId(uuid7(here.clock(), bytes(10)))
    unknown = DeclarationId(uuid7(here.clock(), bytes(9) + b"1"))
    with pytest.raises(Refused) as refused:
        await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one, corrects=unknown)
    assert "intake.unknown-original" == refused.value.code
    assert one == (await here.home.desk.declare(PORTAL, MOVED, here.moved(), declaration_id=one)).declaration_id


async def test_a_source_without_keys_here_cannot_declare(here: World) -> None:
    with pytest.raises(Refused) as refused:
        await here.home.desk.declare(PartyId("urn:unefois:nobody"), MOVED, here.moved())

    assert "directory.no-policy" == refused.value.code


async def test_an_envelope_says_no_value_in_clear_but_its_territories(here: World) -> None:
    raw = await here.home.desk.envelope(PORTAL, MOVED, here.moved(phone="+33612345678"))

    signed = SignedDeclaration.decode(raw)
    assert ("35238", "44109") == signed.slip.territories
    assert not any(value in raw for value in (b"Martin", b"lise", b"Monnaie", b"+33612345678", b"1985"))
    assert MOVED == Manifest.decode(signed.payload).event_type
    assert () == SignedDeclaration.decode(await here.home.desk.envelope(PORTAL, BANK, here.bank())).slip.territories


async def test_a_denial_is_a_line_like_any_other(here: World) -> None:
    lines = (await here.home.desk.explain(PORTAL, MOVED, here.moved())).lines

    assert {CAF, CPAM, RENNES} == {line.subscription.recipient for line in lines}
    assert all(line.decision == Deny(Reason.NO_GRANT) for line in lines)


async def test_the_dry_run_shows_who_is_not_concerned_because_of_the_place(here: World) -> None:
    await here.give(RENNES, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))

    told = await shown(here, here.moved(new_address=BREST_ADDRESS, new_commune="29019"))

    assert Reason.TERRITORY is told[RENNES]


@pytest.mark.parametrize("party", [CPAM, RENNES])
async def test_of_many_places_those_are_named_first_that_the_citizen_has_allowed(
    here: World, party: PartyId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.flow.desk._ELSEWHERE", 1)
    await here.subscribe(CPAM, MOVED, TOWN, ["subject"], ["2A"])
    await here.give(party, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))

    dry = await here.home.desk.explain(PORTAL, MOVED, here.moved(new_address=BREST_ADDRESS, new_commune="29019"))

    assert [party] == [one.subscription.recipient for one in dry.lines if one.subscription.territories]
    assert 1 == dry.elsewhere


async def test_a_department_hears_of_its_communes_and_a_region_of_its_departments(here: World) -> None:
    for party, territory in ((CPAM, "35"), (CAF, "R53")):
        await here.subscribe(party, MOVED, TOWN, ["subject"], [territory])
        await here.give(party, MOVED, TOWN, ["subject"], basis=law("CGCT, art. L2121-29"))
    in_brest = here.moved(new_address=BREST_ADDRESS, new_commune="29019")

    told = [await happened(here, record) for record in (here.moved(), in_brest)]

    assert [("subject",), ("subject",)] == [each[CAF] for each in told]
    assert ("subject",) == told[0][CPAM]
    assert await shown(here, in_brest) == {**told[1], CPAM: Reason.TERRITORY, RENNES: Reason.TERRITORY}
