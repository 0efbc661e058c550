"""Sheltering: somebody in danger moves; the town that she left hears nothing, nor does anybody by whom she left.

Refuses: nothing.
Keeps: what an administration holds is read in its own system and searched in all of its files.
"""

from collections.abc import Mapping
from typing import Any, Final

from broker.cli.demo import cast, systems
from broker.cli.demo.acts.allowing import voice_of
from broker.cli.demo.acts.declaring import readable
from broker.cli.demo.acts.delivering import applied_by
from broker.cli.demo.stage import Stage
from broker.consents.consents import GrantRequest
from broker.consents.protecting import Wanted
from broker.services import protecting
from consent.basis import CONSENT
from consent.policy import Permit
from schemas.names import PartyId

HER_NAMES: Final = (cast.SHELTERED["family_name"], cast.SHELTERED["given_names"][0])


async def shelter(stage: Stage) -> None:
    """She is protected, and moves. Both towns are allowed to hear, the old one by whoever has her telephone."""
    home, record = stage.home, cast.sheltered_move()
    her, him = await home.desk.subject(record), await home.desk.subject(cast.lefts_move())
    before = await _rehearsed(stage, record)
    await protecting.add(home, Wanted(subject=her, places=frozenset({cast.NANTES}), housemates=frozenset({him})))
    stage.claim("sheltering.silent", held=before == await _rehearsed(stage, record))
    for key, whose in (("nantes", record), ("rennes", record), ("family", cast.lefts_move())):
        await _allow(stage, key, whose)
    said = await home.desk.declare(cast.PORTAL, cast.ADDRESS, record)
    other = await home.desk.declare(cast.PORTAL, cast.ADDRESS, cast.lefts_move())
    await home.router.route()
    track, fund = await home.tracking.track(other.declaration_id), cast.by_key("family").party
    (fields,) = [one.fields for one in track.steps if one.recipient == fund]
    unnamed = "new_address" in fields and "household" not in fields
    stage.claim("sheltering.partner", held=unnamed, evidence=", ".join(fields))
    await home.consents.revoke_all(him, voice_of(stage, ""))  # the fund's table cannot do without the household
    await stage.deliver()
    heard = await applied_by(stage, said.declaration_id)
    stage.claim("sheltering.former", held=await _nothing_at_nantes(stage) and cast.by_key("nantes").party not in heard)
    rows = [row for row in systems.rows(stage, "rennes") if HER_NAMES[0].upper() == row["nom"]]
    stage.claim("sheltering.new", held=cast.by_key("rennes").party in heard and len(rows) == 1)
    await home.desk.declare(cast.PORTAL, cast.ADDRESS, record, corrects=said.declaration_id)
    await home.router.route()
    await stage.deliver()
    stage.claim("sheltering.again", held=await _nothing_at_nantes(stage))


async def _rehearsed(stage: Stage, record: Mapping[str, Any]) -> list[tuple[PartyId, object]]:
    """What the portal is told of who would hear: of each its fields, or the reason."""
    dry = await stage.home.desk.explain(cast.PORTAL, cast.ADDRESS, record)
    return [
        (one.subscription.recipient, one.decision.fields if isinstance(one.decision, Permit) else one.decision.reason)
        for one in dry.lines
    ]


async def _nothing_at_nantes(stage: Stage) -> bool:
    """Neither in its files nor on its way."""
    found, _ = readable(stage.folder("nantes"), (*HER_NAMES, cast.HER_STREET))
    return not found and not await stage.home.inbox(cast.by_key("nantes").party).ready(10)


async def _allow(stage: Stage, key: str, record: Mapping[str, Any]) -> None:
    one = cast.by_key(key)
    (wanted,) = [each for each in one.wants if each.event_type == cast.ADDRESS]
    await stage.home.consents.give(
        GrantRequest(
            subject=await stage.home.desk.subject(record),
            recipient=one.party,
            event_type=cast.ADDRESS,
            purpose=wanted.purpose,
            fields=frozenset(wanted.asks),
            basis=CONSENT,
            voice=voice_of(stage, ""),
        )
    )
