"""The same again: the same bytes are one declaration, the same id with other bytes is refused, whoever sends it."""

import pytest

from broker.flow.router import TOPIC
from schemas.facts import FactKind
from schemas.names import DeclarationId, Reason, uuid7
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.state import unchanged
from tests.world import MINUTE

ID = "01a20dce-3751-7856-9d3b-c59e92991efd"


@pytest.mark.asyncio
async def test_the_same_bytes_get_the_same_receipt_and_have_one_effect(door: Door) -> None:
    home, envelope = door.here.home, await door.envelope()
    first = await home.intake.accept(envelope)
    await home.router.route()
    door.here.clock.pass_(MINUTE)

    with unchanged(door.database):
        again = await home.intake.accept(envelope)

    assert (first.receipt, first.received_at, True) == (again.receipt, again.received_at, again.repeated)
    await door.arrives(lambda: home.intake.accept(envelope))
    assert 1 == await home.log.end(TOPIC, 0)
    assert 1 == len(await door.here.entries(FactKind.RECEIVED))


@pytest.mark.asyncio
async def test_the_same_id_with_other_bytes_is_refused_and_the_first_stays(door: Door) -> None:
    home, one = door.here.home, DeclarationId(uuid7(door.here.clock(), bytes(10)))
    first, other = await door.envelope(declaration_id=one), await door.envelope(declaration_id=one)
    await home.intake.accept(first)

    await door.refuses(other, "intake.id-reused", "/payload/declaration_id")

    assert Reason.REPLAYED == (await door.here.entries())[-1].reason
    await door.arrives(lambda: home.intake.accept(first))


def test_a_person_who_says_it_again_under_its_id_is_answered_as_before_and_something_else_is_refused(
    person: Person,
) -> None:
    words = ("declare", person.file, "--type", "address.changed", "--id", ID)
    first = person.program.told(*words)
    assert 1 == person.program.told("run", "--once")["routed"]
    again = person.program.told(*words)
    other = person.write(person.record() | {"occupants": 7})

    person.is_told(("declare", other, *words[2:]), "intake.id-reused", "/payload/declaration_id", exit_code=3)

    assert (ID, False, True) == (first["declaration"], first["repeated"], again["repeated"])
    assert first["received_at"] == again["received_at"]
    assert 0 == person.program.told("run", "--once")["routed"]
