"""Ruling: a birth and a death reach who the law names; and somebody objects where the text lets them.

Refuses: nothing.
Keeps: who heard is read from the ledger and from the administrations' own systems; what was granted by hand is counted,
and must be nothing.
"""

from collections.abc import Collection, Mapping
from typing import Any

from broker.cli.demo import cast, systems
from broker.cli.demo.acts.allowing import enact
from broker.cli.demo.acts.delivering import applied_by
from broker.cli.demo.stage import Stage
from broker.flow.arrived import Accepted
from broker.flow.tracking import Track
from broker.services import rules
from consent.explain import explain_reason
from consent.policy import Permit
from schemas.names import EventType, PartyId, Reason, RuleId

HEARD: Mapping[str, Collection[str]] = {"birth": ("family", "health"), "death": ("health", "tax")}
"""Who hears of what, by the rules of the cast."""


async def rule(stage: Stage) -> None:
    """Approve the rules, declare, deliver; then object, before a declaration leaves and before the next is made."""
    enacted = frozenset([(await enact(stage, cast.by_key(key), wanted)).id for key, wanted in cast.CIVIL])
    registrar = cast.by_key(cast.REGISTRAR).party
    born = await _say(stage, registrar, cast.BIRTH, cast.birth())
    died = await _say(stage, registrar, cast.DEATH, cast.death())
    await stage.deliver()
    _show(stage)
    for key, said, record in (("birth", born, cast.birth()), ("death", died, cast.death())):
        heard, by = await _heard(stage, said, record)
        right = heard == {cast.by_key(name).party for name in HEARD[key]} and by <= enacted
        stage.claim(f"ruling.{key}", held=right, count=len(heard))
    births = [row for each in systems.csv_files(stage.folder("family") / "births") for row in systems.csv_rows(each)]
    deaths = systems.table_rows(stage.folder("tax") / "tax.db", "SELECT * FROM deces")
    basis = f"law:{cast.CIVIL[0][1].article}"
    told = [row["FONDEMENT"] for row in births] + [row["fondement"] for row in deaths]
    stage.claim("ruling.told_why", held=told == [basis, basis], evidence=basis)
    await _object(stage)


async def _say(stage: Stage, source: PartyId, event_type: EventType, record: Mapping[str, Any]) -> Accepted:
    accepted = await stage.home.desk.declare(source, event_type, record)
    await stage.home.router.route()
    return accepted


def _show(stage: Stage) -> None:
    """The file of births and the table of deaths, as the two administrations see them."""
    (content,) = systems.csv_files(stage.folder("family") / "births")
    stage.telling.say(stage.words("deliver.file", place="family/births/naissances-000001.csv"))
    stage.telling.lines(content.decode("iso-8859-1").splitlines())
    (row,) = systems.table_rows(stage.folder("tax") / "tax.db", "SELECT * FROM deces")
    stage.telling.say(stage.words("ruling.table", place="tax/tax.db", table="deces"))
    stage.telling.lines([" | ".join(str(row[name]) for name in ("nom_naissance", "date_deces", "succession"))])


async def _heard(
    stage: Stage, accepted: Accepted, record: Mapping[str, Any]
) -> tuple[set[PartyId], set[RuleId | None]]:
    """Whose systems took it, and under which rules this person's grants are; None: one that was typed."""
    home = stage.home
    grants = await home.consents.of(await home.desk.subject(record))
    return await applied_by(stage, accepted.declaration_id), {grant.rule for grant in grants}


async def _object(stage: Stage) -> None:
    """The neighbour's move is on its way to the energy agency by a rule; he objects, and moves once more."""
    home, energy = stage.home, cast.by_key("energy")
    ruled = await enact(stage, energy, cast.ENERGY, objection=True)
    subject = await home.desk.subject(cast.neighbours_move())
    first = await _say(stage, cast.PORTAL, cast.ADDRESS, cast.neighbours_move())
    waiting = len(await home.inbox(energy.party).ready(10))
    await rules.object_to(home, subject, ruled.id, reason="personal-situation", given_by="self")
    dry = await home.desk.explain(cast.PORTAL, cast.ADDRESS, cast.neighbours_move())
    second = await _say(stage, cast.PORTAL, cast.ADDRESS, cast.neighbours_move())
    pulled = await home.inbox(energy.party).pull(10)
    tracks = [await home.tracking.track(one.declaration_id) for one in (first, second)]
    why = explain_reason(Reason.OBJECTED, stage.words.language)
    stage.telling.steps(
        [
            ("1", stage.words("ruling.way", article=ruled.article)),
            ("2", stage.words("ruling.objects")),
            ("3", stage.words("ruling.asks", why=why)),
        ]
    )
    closed = not pulled.locked and [_told(track, energy.party) for track in tracks] == [Reason.OBJECTED] * 2
    stage.claim("ruling.objection", held=waiting == 1 and closed, evidence=Reason.OBJECTED.value)
    shown = {line.subscription.recipient: isinstance(line.decision, Permit) for line in dry.lines}
    tax = cast.by_key("tax").party
    goes_on = all(_told(track, tax) is None for track in tracks)
    stage.claim("ruling.only_that", held=goes_on and shown[tax] and not shown[energy.party])


def _told(track: Track, recipient: PartyId) -> Reason | None:
    """Why a recipient got nothing of it; None: it gets it."""
    (step,) = (step for step in track.steps if step.recipient == recipient)
    return step.reason
