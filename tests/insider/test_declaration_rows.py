"""Declarations: whose a declaration is, what it says and when it came stand under a signature, or count for nothing."""

from hashlib import sha256

import pytest

from broker.flow.router import TOPIC
from broker.ports import Outgoing
from schemas.envelope import SignedDeclaration
from schemas.locked import manifest_of
from schemas.names import DeclarationId
from tests.insider.forging import forged, token_of
from tests.insider.watch import Watch
from tests.world import CAF, DAY, FAMILY, MOVED, PORTAL, VOICE, YANN

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]

HERS = ["subject", "new_address"]


async def test_a_declaration_that_waits_for_the_router_is_delivered_under_no_other_citizens_consent(
    watch: Watch,
) -> None:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS, person=YANN)
    made = await here.declare(MOVED, here.moved(), route=False)
    await here.step()
    await watch.begins()
    hers, his = here.subject(), here.subject(YANN)

    async with watch.hand.flipped(["submissions"], {"declaration_id": made.declaration_id}, subject=his):
        watch.restart()
        await watch.lets(watch.here.home.router.route())
        await watch.takes(CAF)
    for table in ("declarations", "deliveries"):
        if await watch.hand.rows(table, subject=his):
            await watch.hand.flip(table, {"subject": his}, subject=hers)

    await watch.judge("submission: another citizen's")


async def test_a_declaration_that_is_stored_is_delivered_under_no_other_citizens_consent(watch: Watch) -> None:
    """Yann wishes that the fund is told his latest declaration, and it is Élise's."""
    here = watch.here
    made = await here.declare(MOVED, here.moved())
    await here.step()
    await watch.begins()

    async with watch.hand.flipped(
        ["declarations"], {"declaration_id": made.declaration_id}, subject=here.subject(YANN)
    ):
        watch.restart()
        await watch.lets(watch.here.give(CAF, MOVED, FAMILY, HERS, person=YANN, include_latest=True))
        await watch.takes(CAF)
    if await watch.hand.rows("deliveries", subject=here.subject(YANN)):
        await watch.hand.flip("deliveries", {"subject": here.subject(YANN)}, subject=here.subject())

    await watch.judge("declaration: another citizen's")


async def test_an_envelope_that_is_swapped_with_another_citizens_is_not_delivered(watch: Watch) -> None:
    here = watch.here
    hers = await here.declare(MOVED, here.moved())
    his = await here.declare(MOVED, here.moved(YANN))
    await here.step()
    await watch.begins()
    watch.allow(CAF, his.declaration_id, *HERS)
    envelope = (await watch.hand.row("declarations", declaration_id=hers.declaration_id))["envelope"]

    async with watch.hand.flipped(["declarations"], {"declaration_id": his.declaration_id}, envelope=envelope):
        watch.restart()
        await watch.lets(watch.here.give(CAF, MOVED, FAMILY, HERS, person=YANN, include_latest=True))
        await watch.takes(CAF)

    await watch.judge("declaration: envelope swapped")


async def test_a_consent_does_not_reach_back_because_a_row_says_that_the_declaration_came_later(watch: Watch) -> None:
    here = watch.here
    made = await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)
    given = await here.give(CAF, MOVED, FAMILY, HERS)
    declaration = await watch.hand.row("declarations", declaration_id=made.declaration_id)
    await here.step()
    await watch.begins()
    where = {"declaration": declaration["seq"], "recipient": CAF}

    async with watch.hand.flipped(["declarations"], {"seq": declaration["seq"]}, routed_at=here.clock() + 1):
        old = await watch.hand.rows("withholdings", **where)
        await watch.hand.flip("withholdings", where, reason="paused")
        watch.restart()
        await watch.lets(watch.here.home.consents.pause(given.grant.id, VOICE))
        await watch.lets(watch.here.home.consents.resume(given.grant.id, VOICE))
        await watch.takes(CAF)
        await watch.hand.put("withholdings", old)

    await watch.judge("declaration: routed later")


async def test_a_consent_does_not_reach_back_because_the_log_is_read_again(watch: Watch) -> None:
    """What was routed is forgotten by hand, and the offset set back: it is routed once more, under today's consents."""
    here = watch.here
    made = await here.declare(MOVED, here.moved())
    here.clock.pass_(DAY)
    await here.give(CAF, MOVED, FAMILY, HERS)
    await here.step()
    await watch.begins()
    declaration = await watch.hand.row("declarations", declaration_id=made.declaration_id)
    withheld = await watch.hand.rows("withholdings", declaration=declaration["seq"])

    await watch.hand.remove("withholdings", declaration=declaration["seq"])
    await watch.hand.remove("declarations", seq=declaration["seq"])
    await watch.hand.flip("consumed", {"topic": TOPIC}, next_offset=0)
    watch.restart()
    await watch.lets(watch.here.home.router.route())
    await watch.takes(CAF)
    await watch.hand.remove("declarations", declaration_id=made.declaration_id)
    await watch.hand.put("declarations", [declaration])
    await watch.hand.put("withholdings", withheld)

    await watch.judge("log: read again")


async def test_what_the_intake_never_accepted_is_not_routed_because_a_row_says_that_it_did(watch: Watch) -> None:
    """A key that was stolen and revoked signs once more; the row says that it came while the key was good."""
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, HERS)
    made = await here.declare(MOVED, here.moved())
    await here.take(CAF)
    directory = await here.home.lookup.newest(here.home.store)
    (stolen,) = here.home.keyring.signers(directory, PORTAL, here.clock())
    token = await token_of(watch.hand, made.declaration_id)
    envelope = await forged(watch, stolen, MOVED, here.moved(occupants=9), token)
    here.clock.pass_(1)
    async with here.home.store.begin() as tx:
        await here.home.registrar.revoke_key(tx, stolen.kid, here.clock)
    await here.step()
    await watch.begins()

    await slip_in(watch, made.declaration_id, envelope)
    watch.restart()
    await watch.lets(watch.here.home.router.route())
    await watch.takes(CAF)

    await watch.judge("submission: inserted under a revoked key")


async def slip_in(watch: Watch, like: DeclarationId, envelope: bytes) -> None:
    """A row of the intake's for this envelope, and the envelope itself at the end of the log."""
    manifest = manifest_of(SignedDeclaration.decode(envelope).payload)
    made = {"declaration_id": manifest.declaration_id, "envelope_digest": sha256(envelope).digest()}
    await watch.hand.copy("submissions", {"declaration_id": like}, **made)
    await watch.here.home.log.append_all(TOPIC, [Outgoing(bytes(16), envelope, {})])
