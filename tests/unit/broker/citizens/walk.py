"""All that citizens do, in a process that answers them and nobody else: each of their services, one after the other."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from broker.services import retractions
from broker.services.citizens import choices, codes, drafts, following, forms, history, households, laws, signing_in
from broker.services.citizens.choices import Wish
from broker.setup.wiring import Home
from schemas.assurance import Assurance
from schemas.errors import Refused
from schemas.names import DeclarationId, GrantId, LinkId, RuleId, from_rfc3339
from tests.unit.broker.citizens.people import citizen, move
from tests.world import CPAM, HEALTH, MOVED, YANN, World

WISH = Wish(recipient=CPAM, event_type=MOVED, purpose=HEALTH, fields=frozenset({"subject", "phone"}))


async def walked(here: World, portal: Home, routed: Callable[[], Awaitable[object]]) -> GrantId:
    """Signed in with a code; a draft; a choice, given, paused, narrowed, ended; a move; its track, its proofs."""
    code = await codes.give(here.home, YANN)
    came = await signing_in.with_code(portal, code.code, language="fr", address="192.0.2.1")
    me = replace(await signing_in.current(portal, came.token), assurance=Assurance.SUBSTANTIAL)
    await drafts.write(portal, me, "moving", {"street": "rue de Siam"})
    assert 1 == len(await drafts.all_of(portal, me))
    assert (await choices.offers(portal, me, MOVED))["offers"]
    shown = await choices.preview(portal, me, WISH)
    wish = replace(WISH, until=from_rfc3339(shown["until"]))
    given = await choices.give(portal, me, wish, shown["text_sha256"])
    assert (await choices.give(portal, me, wish, shown["text_sha256"]))["repeated"]
    grant = GrantId.parse(given["grant"]["id"])
    await choices.pause(portal, me, grant, 1)
    await refused("citizens.changed-meanwhile", choices.resume(portal, me, grant, 1))
    await choices.resume(portal, me, grant, 2)
    of = forms.begin(portal)
    await forms.explain(portal, me, move(here))
    await forms.declare(portal, me, move(here), of)
    await routed()
    await choices.narrow(portal, me, grant, 3, frozenset({"subject"}))
    assert 4 == len((await choices.one(portal, me, grant))["versions"])
    assert given["receipt"] == await history.receipt(portal, me, grant, 1)
    await choices.end(portal, me, grant)
    assert [] == await choices.end_all(portal, me)
    await following.mine(portal, me)
    await following.track(portal, me, of)
    await following.acknowledgement(portal, me, of)
    assert [] == await following.held(portal, me)
    await refused("holds.unknown", following.stop(portal, me, DeclarationId(bytes(16))))
    await laws.by_law(portal, me)
    await refused("rules.unknown", laws.object_to(portal, me, RuleId(bytes(16))))
    await history.events(portal, me)
    await history.export(portal, replace(me, assurance=Assurance.SUBSTANTIAL))
    await refused("households.unknown", households.decline(portal, me, of, "ABCD-EFGH"))
    await refused("links.unknown", portal.linking.refuse(LinkId(bytes(16)), me.subject))
    await following.cancel(portal, me, of, "mistake")
    assert [] != await retractions.every(portal, me.subject)
    assert 1 == len(await signing_in.sessions(portal, me))
    await signing_in.end_others(portal, me)
    await signing_in.sign_out(portal, came.token)
    await refused("citizens.signed-out", signing_in.current(portal, came.token))
    assert citizen(here, YANN).subject == me.subject
    return grant


async def refused(code: str, work: Awaitable[object]) -> None:
    """It is asked for in vain, and not for want of a key."""
    with pytest.raises(Refused) as fault:
        await work
    assert code == fault.value.code
