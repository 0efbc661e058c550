"""Renaming: somebody bears another name, keeps what she has allowed, and withdraws it; her sister does not get it.

Refuses: nothing.
Keeps: each link waits as long as it is meant to, but for the one whose effect is shown; what the ledger shows to
everybody is read there.
"""

from typing import Any

from broker.cli.demo import cast
from broker.cli.demo.acts.allowing import voice_of
from broker.cli.demo.stage import Stage
from broker.consents.consents import GrantRequest
from broker.directory.kin import Link
from broker.services import consents, identities
from broker.services.viewing import grants_of
from broker.setup import opening
from broker.setup.wiring import Home
from consent.basis import CONSENT
from consent.grant import Grant, Status
from schemas.assurance import SURE
from schemas.errors import Refused
from schemas.facts import FactKind

HOURS = 72
_STEPS = (FactKind.LINK_ASKED, FactKind.LINK_CONFIRMED, FactKind.LINK_ENDED)


async def rename(stage: Stage) -> None:
    """What she has allowed is hers under her new name, after three days, and not before."""
    old, new = await stage.home.desk.subject(cast.renamed("old")), await stage.home.desk.subject(cast.renamed("new"))
    given = await _allow(stage)
    before = await _told(stage, "old")
    nobody = await grants_of(stage.home, new) == () and await _told(stage, "new") is None
    stage.claim("renaming.stranger", held=before is not None and nobody)
    await _too_early(stage)
    link = await _linked(stage)
    found = [one.id for one in await grants_of(stage.home, new)]
    after = await _told(stage, "new")
    stage.claim("renaming.found", held=found == [given.id] and after is not None)
    stage.claim("renaming.number", held=before == after, evidence=str(after)[:12])
    ended = await consents.revoke_all(stage.home, new, voice_of(stage, ""))
    over = [(one.recorded.grant.id, one.recorded.grant.status) for one in ended] == [(given.id, Status.REVOKED)]
    stage.claim("renaming.withdrawn", held=over and await _told(stage, "new") is None)
    stage.claim("renaming.apart", held=await _apart(stage, link, bytes(old), bytes(new)))


async def _too_early(stage: Stage) -> None:
    """Confirmed, and nothing is shown for three days, in which the one whom it would rob says no."""
    home, sister = stage.home, cast.SISTER
    asked = await identities.link(home, cast.RENAMED["old"], sister, evidence="Rennes 2026/0417")
    waits = await identities.confirm(home, asked.id)
    whose = await home.desk.subject({"subject": sister})
    shown = waits.acts_from is None or waits.acts_from - (waits.confirmed_at or 0) != HOURS * 3_600_000
    stage.claim("renaming.waits", held=not shown and await grants_of(home, whose) == (), hours=HOURS)
    await identities.refuse(home, await home.desk.subject(cast.renamed("old")), waits.id)
    try:
        await identities.link(home, cast.RENAMED["old"], {**sister, "birthdate": "1985-01-30"}, evidence="2026/1")
        born = ""
    except Refused as fault:
        born = fault.code
    ended = [one.ended_by for one in await identities.every(home)]
    stage.claim("renaming.refused", held=ended == ["kept"] and born == "links.birthdate", evidence=born)


async def _linked(stage: Stage) -> Link:
    """The three days are not waited for here: this home has none."""
    chosen = stage.settings.model_copy(update={"link_delay_hours": 0})
    async with opening.open_home(chosen) as home:
        asked = await identities.link(home, cast.RENAMED["old"], cast.RENAMED["new"], evidence="Nantes 2026/1203")
        return await identities.confirm(home, asked.id)


async def _allow(stage: Stage) -> Grant:
    health = cast.by_key("health")
    (wanted,) = [each for each in health.wants if each.event_type == cast.BANK]
    given = await stage.home.consents.give(
        GrantRequest(
            subject=await stage.home.desk.subject(cast.renamed("old")),
            recipient=health.party,
            event_type=cast.BANK,
            purpose=wanted.purpose,
            fields=frozenset(wanted.granted),
            basis=CONSENT,
            voice=voice_of(stage, ""),
        )
    )
    return given.grant


async def _told(stage: Stage, name: str) -> str | None:
    """She tells of a new account, under one of her names; by which number the health fund knows her, if it heard."""
    home: Home = stage.home
    before = len(stage.health.kept())
    await home.desk.declare(cast.PORTAL, cast.BANK, cast.renamed(name), provenance=SURE)
    await home.router.route()
    await stage.deliver()
    heard: list[dict[str, Any]] = stage.health.kept()[before:]
    return str(heard[-1]["delivery"]["pseudonym"]) if heard else None


async def _apart(stage: Stage, link: Link, old: bytes, new: bytes) -> bool:
    """The ledger has two entries of each step, which have nothing in common, and neither reference in clear."""
    async with stage.home.store.read() as tx:
        told = [facts for _, facts in await stage.home.openings.all(tx) if facts.kind in _STEPS]
    details = [facts.detail for facts in told]
    alone = len({*details}) == len(details) and link.told(link.alias) in details and link.told(link.kept) in details
    return alone and not {old, new} & {*details, *(facts.subject for facts in told)}
