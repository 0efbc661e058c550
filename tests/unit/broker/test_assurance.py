"""A declaration that is not sure enough for a subscription is withheld, with the reason, and its citizen is told so."""

from pathlib import Path
from typing import Any

import pytest

from broker.flow.arrived import Limits
from broker.flow.tracking import Progress
from consent.explain import explain_reason
from consent.policy import Deny
from schemas.assurance import SURE, Assurance, Least, Provenance, Quality
from schemas.envelope import SignedDeclaration
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.manifest import Manifest
from schemas.messages import explain
from schemas.names import Channel, DeclarationId, Reason
from tests.world import BANK, CAF, CPAM, DAY, FAMILY, MOVED, PORTAL, TOWN, World, world

pytestmark = pytest.mark.asyncio

LOW = Provenance(Assurance.LOW, Quality.DECLARED, Channel.ONLINE)
AT_THE_COUNTER = Provenance(Assurance.COUNTER, Quality.CERTIFIED, Channel.COUNTER)


async def outcome(here: World, stated: Provenance | None, corrects: DeclarationId | None = None) -> Reason | None:
    """What became of a change of bank account for the fund."""
    accepted = await here.home.desk.declare(PORTAL, BANK, here.bank(), provenance=stated, corrects=corrects)
    await here.home.router.route()
    (step,) = (await here.home.tracking.track(accepted.declaration_id)).steps
    assert (step.progress is Progress.WITHHELD) is (step.reason is not None)
    return step.reason


@pytest.mark.parametrize(
    ("stated", "reason"),
    [(None, Reason.ASSURANCE), (LOW, Reason.ASSURANCE), (AT_THE_COUNTER, None), (SURE, None)],
)
async def test_a_bank_account_is_heard_of_only_where_the_person_is_known_for_certain(
    here: World, stated: Provenance | None, reason: Reason | None
) -> None:
    await here.give(CAF, BANK, FAMILY, ["subject", "iban"])

    assert reason is await outcome(here, stated)
    await here.step()


async def test_a_withholding_is_in_the_ledger_and_the_dry_run_says_it_before(here: World) -> None:
    await here.give(CAF, BANK, FAMILY, ["iban"])
    before = await here.home.desk.explain(PORTAL, BANK, here.bank(), LOW)

    await outcome(here, LOW)

    assert [Deny(Reason.ASSURANCE)] == [line.decision for line in before.lines]
    (entry,) = await here.entries(FactKind.WITHHELD)
    assert (Reason.ASSURANCE, CAF) == (entry.reason, entry.recipient)
    assert "plus sûre" in explain_reason(Reason.ASSURANCE, "fr")


async def test_a_correction_has_to_be_as_sure_as_what_it_corrects(here: World) -> None:
    await here.give(CAF, BANK, FAMILY, ["iban"])
    first = await here.declare(BANK, here.bank())

    assert Reason.ASSURANCE is await outcome(here, LOW, corrects=first.declaration_id)
    assert None is await outcome(here, SURE, corrects=first.declaration_id)


async def test_a_subscription_states_the_least_that_it_accepts(here: World) -> None:
    least = Least(Assurance.LOW, Quality.CERTIFIED)
    async with here.home.store.begin() as tx:
        asked = await here.home.subscribing.ask(
            tx,
            here.home.entropy(16),
            recipient=CPAM,
            event_type=MOVED,
            purpose=TOWN,
            fields=frozenset({"subject"}),
            territories=None,
            least=least,
        )
        await here.home.subscribing.approve(tx, asked.id, "CGCT, art. L2121-29", here.clock())
    await here.give(CPAM, MOVED, TOWN, ["subject"])

    async def said(stated: Provenance | None) -> Reason | None:
        lines = (await here.home.desk.explain(PORTAL, MOVED, here.moved(), stated)).lines
        (found,) = [line.decision for line in lines if line.subscription.id == asked.id]
        return found.reason if isinstance(found, Deny) else None

    async with here.home.store.read() as tx:
        assert least == (await here.home.lookup.subscriptions_by_id(tx))[asked.id].least
    assert [Reason.ASSURANCE, Reason.ASSURANCE, None] == [await said(one) for one in (None, LOW, AT_THE_COUNTER)]
    await here.step()


async def test_a_bank_accounts_least_cannot_be_asked_away(here: World) -> None:
    async with here.home.store.begin() as tx:
        asked = await here.home.subscribing.ask(
            tx,
            here.home.entropy(16),
            recipient=CPAM,
            event_type=BANK,
            purpose=FAMILY,
            fields=frozenset({"iban"}),
            territories=None,
            least=Least(quality=Quality.CERTIFIED),
        )
    assert Least(Assurance.SUBSTANTIAL, Quality.CERTIFIED) == asked.least


async def test_who_receives_reads_how_sure_it_is_in_the_signed_manifest(here: World) -> None:
    envelope = await here.home.desk.envelope(PORTAL, BANK, here.bank(), provenance=AT_THE_COUNTER)

    assert AT_THE_COUNTER == Manifest.decode(SignedDeclaration.decode(envelope).payload).provenance


@pytest.mark.parametrize(
    ("limits", "stated", "refused"),
    [
        ({}, Assurance.HIGH, False),
        ({"assurance_limit": "substantial"}, Assurance.HIGH, True),
        ({"assurance_limit": "substantial"}, Assurance.COUNTER, False),
        ({"assurance_limit": "none"}, Assurance.LOW, True),
        ({"assurance_limits": {PORTAL: "low"}}, Assurance.COUNTER, True),
        ({"assurance_limits": {PORTAL: "low"}}, Assurance.LOW, False),
        ({"assurance_limits": {PORTAL: "high"}, "assurance_limit": "none"}, Assurance.HIGH, False),
        ({"assurance_limits": {CAF: "none"}}, Assurance.HIGH, False),
    ],
)
async def test_a_source_states_no_more_than_its_operator_lets_it(
    tmp_path: Path, home_settings: dict[str, Any], limits: dict[str, Any], stated: Assurance, refused: bool
) -> None:
    told = Provenance(stated, Quality.DECLARED, Channel.ONLINE)
    async with world(tmp_path, **home_settings, **limits) as here:
        if not refused:
            await here.home.desk.declare(PORTAL, MOVED, here.moved(), provenance=told)
            return
        with pytest.raises(Refused) as intake:
            await here.home.desk.declare(PORTAL, MOVED, here.moved(), provenance=told)
        with pytest.raises(Refused) as dry_run:
            await here.home.desk.explain(PORTAL, MOVED, here.moved(), told)
        assert ("assurance.above-limit", "/payload/assurance") == (intake.value.code, intake.value.pointer)
        assert ("assurance.above-limit", "/assurance") == (dry_run.value.code, dry_run.value.pointer)
        assert stated.value in explain(intake.value, "fr").wrong
        await here.declare(MOVED, here.moved())  # what states nothing is refused by no limit
        await here.step()


async def test_a_limit_that_is_set_later_judges_nothing_of_before(
    tmp_path: Path, home_settings: dict[str, Any]
) -> None:
    async with world(tmp_path, **home_settings) as here:
        await here.give(CAF, BANK, FAMILY, ["iban"])
        await here.home.desk.declare(PORTAL, BANK, here.bank(), provenance=SURE)
        here.home.intake.limits = Limits(others=Assurance.NONE)
        await here.home.router.route()
        here.clock.pass_(4 * DAY)

        assert [BANK] == [one.event_type for one in await here.take(CAF)]
        await here.step()


async def test_the_same_said_under_one_id_has_to_be_as_sure(here: World) -> None:
    of = DeclarationId(bytes.fromhex("01939c0a7b1c7000800000000000abcd"))
    await here.home.desk.declare(PORTAL, BANK, here.bank(), declaration_id=of, provenance=SURE)

    again = await here.home.desk.declare(PORTAL, BANK, here.bank(), declaration_id=of, provenance=SURE)
    assert again.repeated
    with pytest.raises(Refused, match=r"intake\.id-reused"):
        await here.home.desk.declare(PORTAL, BANK, here.bank(), declaration_id=of, provenance=LOW)
