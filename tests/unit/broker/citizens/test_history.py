"""Who opened what about a citizen, when, why; who looked; and the proofs: the citizen's own, and nobody else's."""

import json
from typing import Any

import pytest

from broker.services.citizens import following, forms, history, laws
from broker.services.viewing import grants_of
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId, GrantId, LeafHash
from tests.unit.broker.citizens.people import citizen, move
from tests.world import CAF, ELISE, FAMILY, MOVED, YANN, World

pytestmark = pytest.mark.asyncio


async def lived(here: World, person: dict[str, Any] = ELISE) -> tuple[GrantId, DeclarationId]:
    """Somebody has allowed something, has moved, and it was opened."""
    grant = await here.give(CAF, MOVED, FAMILY, ("subject", "new_address"), person=person)
    of = forms.begin(here.home)
    await forms.declare(here.home, citizen(here, person), move(here), of)
    await here.home.router.route()
    await here.take(CAF)
    return grant.grant.id, of


async def refusal(work: Any) -> str:
    """The code of what it is refused with."""
    with pytest.raises(Refused) as fault:
        await work
    return fault.value.code


async def test_what_was_opened_says_by_whom_which_fields_why_and_on_which_ground(here: World) -> None:
    grant, of = await lived(here)

    (opened,) = (await history.events(here.home, citizen(here), what="opened"))["events"]

    assert (CAF, "consent", "applied") == (opened["recipient"]["party"], opened["basis"], opened["outcome"])
    assert ["subject", "new_address"] == [one["name"] for one in opened["fields"]]
    assert "Prestations familiales" == opened["purpose_label"]["fr"]
    assert (of, grant.hex()) == (DeclarationId.parse(opened["declaration"]), opened["grant"].replace("-", ""))


async def test_refusals_looks_and_consents_are_in_it_and_pages_are_all_of_it(here: World) -> None:
    await lived(here)
    await lived(here, YANN)
    await grants_of(here.home, here.subject())
    me, found, after = citizen(here), [], None
    for _ in range(50):
        page = await history.events(here.home, me, after=after, limit=2)
        found += page["events"]
        if page["next"] is None:
            break
        after = LeafHash(bytes.fromhex(page["next"]))

    kinds = {one["what"] for one in found}
    assert {"opened", "withheld", "looked", "consents", "declared"} == kinds
    assert len(found) == len({json.dumps(one) for one in found})
    assert all(one["why"]["fr"] for one in found if one["what"] == "withheld")
    assert [one["at"] for one in found] == sorted((one["at"] for one in found), reverse=True)


async def test_the_citizens_own_look_is_no_look_at_their_file(here: World) -> None:
    await lived(here)
    me = citizen(here)

    for _ in range(2):
        await history.events(here.home, me)
        await following.mine(here.home, me)
        await laws.by_law(here.home, me)

    assert [] == await here.entries(FactKind.VIEWED)
    assert [] == (await history.events(here.home, me, what="looked"))["events"]


async def test_a_proof_is_of_ones_own_alone_and_says_when_it_is_too_early(here: World) -> None:
    grant, of = await lived(here)
    me, yann = citizen(here), citizen(here, YANN)

    assert "ledger.not-sequenced-yet" == await refusal(history.proof(here.home, me, grant))
    await here.step()
    for one in (grant, of):
        assert "unefois" in await history.proof(here.home, me, one)
        assert "proofs.unknown-id" == await refusal(history.proof(here.home, yann, one))
    assert "proofs.unknown-id" == await refusal(history.proof(here.home, me, bytes(16)))


async def test_the_receipt_of_each_version_can_be_had_again(here: World) -> None:
    grant, _ = await lived(here)
    me = citizen(here)

    assert json.loads(await history.receipt(here.home, me, grant))
    assert await history.receipt(here.home, me, grant) == await history.receipt(here.home, me, grant, 1)
    assert "citizens.no-receipt" == await refusal(history.receipt(here.home, me, grant, 2))


async def test_the_export_is_the_citizens_own(here: World) -> None:
    _, of = await lived(here)
    await lived(here, YANN)

    told = await history.export(here.home, citizen(here))

    assert "unefois-person-export/1" == told["format"]
    assert [of] == [DeclarationId.parse(one["declaration_id"]) for one in told["held"]["declarations"]]
    assert 1 == len(await here.entries(FactKind.VIEWED))


async def test_what_is_no_list_or_no_entry_is_refused(here: World) -> None:
    await lived(here)

    assert "citizens.history-kind" == await refusal(history.events(here.home, citizen(here), what="values"))
    assert "citizens.history-after" == await refusal(
        history.events(here.home, citizen(here), after=LeafHash(bytes(32)))
    )
