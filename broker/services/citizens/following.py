"""Following: a citizen's own declarations, how far each got with everybody, and what they can still do about it.

Refuses: what is about another person, as unknown as what never was; to take back what a register has stated.
Keeps: a step says in HubEE's words how far it is, and for whom it waits. No value is told: the broker has none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select, tuple_

from broker.citizens import levels
from broker.citizens.citizen import Citizen
from broker.citizens.levels import Act
from broker.flow.arrived import submitted
from broker.services import acknowledging, declarations, repairing, retractions
from broker.services.citizens.forms import OWN, kin_of, person_of
from broker.services.citizens.sources import own_word, source_of
from broker.services.citizens.texts import DAY_MS, check_text, day, digest
from broker.services.citizens.tracks import taken, told
from broker.services.repairing import Repair
from broker.setup.wiring import Home
from broker.shapes import Json, time_of, uuid_of
from broker.store.tables import submissions
from schemas.errors import Refused
from schemas.names import DeclarationId, EventType, Instant, PartyId, SubjectRef
from schemas.retractions import RETRACTIONS

PAGE: Final = 20
"""Declarations of one page, and the most that can be asked for."""
REASONS: Final = ("changed-mind", "mistake", "not-mine", "other")
"""Why a citizen takes something back."""


async def mine(home: Home, citizen: Citizen, *, after: DeclarationId | None = None, limit: int = PAGE) -> Json:
    """The citizen's declarations, the newest first; corrections are among them. `after`: the last of the page before.

    `{declarations: [summary], next: id | None}`; a summary is `track` without `steps`. Raises Refused
    `tracking.unknown`.
    """
    theirs = await kin_of(home, citizen)
    wanted = max(1, min(limit, PAGE))
    there = await _page(home, theirs, after, wanted + 1)
    found = [(await declarations.track(home, of, whose=citizen.subject), kind) for of, kind in there[:wanted]]
    last = there[wanted - 1][0] if len(there) > wanted else None
    return {"declarations": await told(home, found, steps=False), "next": uuid_of(last)}


async def track(home: Home, citizen: Citizen, declaration: DeclarationId) -> Json:
    """How far one got with everybody.

    `{declaration, event_type, event_label, source, corrects, received_at, routed_at, taken_back, held_until, progress,
    your_turn, steps: [{recipient, purpose, purpose_label, progress, word, fields, since, reason, why, awaited,
    awaited_words, until, late, taken, held_until, repairable, repairing, basis, grant, delivery}]}`.
    `progress`: how many steps are in each state; `repairing`: the citizen's number is on its way there; `taken_back`:
    None, or `{kind, at, stands}`. Raises Refused `tracking.unknown`.
    """
    found = await declarations.track(home, declaration, whose=citizen.subject)
    async with home.store.read() as tx:
        kept = next(iter((await submitted(tx, home.macs, [declaration])).values()), None)
    event_type = found.event_type or (None if kept is None else kept.event_type)
    if event_type is None:  # routed never, and its row is not as it was written
        raise Refused("tracking.unknown", "/id")
    (one,) = await told(home, [(found, event_type)])
    return one


async def cancel(home: Home, citizen: Citizen, declaration: DeclarationId, reason: str) -> Json:
    """Take it back, with its corrections: nobody gets it any more, and who has it is told. Again, it changes nothing.

    `{declaration, kind, at, stands, repeated}`. Raises Refused: `tracking.unknown`, `citizens.not-own-word`,
    `citizens.declared-elsewhere`, `citizens.reason`, `retractions.*`; Unavailable: say it again.
    """
    if reason not in REASONS:
        raise Refused("citizens.reason", "/reason", known=", ".join(REASONS))
    levels.check(citizen, Act.TAKE_BACK)
    await own_word(home, citizen, declaration)
    done = await retractions.cancel(home, declaration, reason=reason)
    return {**(taken(done.retraction) or {}), "repeated": done.repeated}


async def held(home: Home, citizen: Citizen) -> list[Json]:
    """What waits before anybody gets it: `[{declaration, event_type, received_at, until, recalls, stopped}]`."""
    return [
        {
            "declaration": uuid_of(one.declaration),
            "event_type": one.event_type,
            "source": one.source,
            "received_at": time_of(one.received_at),
            "until": time_of(one.until),
            "recalls": uuid_of(one.recalls),
            "stopped": one.stopped,
        }
        for one in await retractions.held(home, citizen.subject)
    ]


async def stop(home: Home, citizen: Citizen, declaration: DeclarationId) -> Json:
    """Nobody gets what is held, also where a register declared it. Again, it changes nothing. As `cancel`; raises
    Refused `holds.*`, `retractions.*`.
    """
    levels.check(citizen, Act.TAKE_BACK)
    given_by = citizen.voice(bytes(32)).given_by
    return taken(await retractions.stop(home, citizen.subject, declaration, given_by=given_by)) or {}


async def acknowledgement(
    home: Home, citizen: Citizen, declaration: DeclarationId, record: Mapping[str, Any] | None = None
) -> Json:
    """The paper, as `acknowledging.acknowledgement`. `record`: what was filled in, from the citizen's own browser; the
    session says whom it is about. Raises Refused `citizens.filled-in`, as well.
    """
    if record is not None:
        for name in OWN:
            if name in record:
                raise Refused("citizens.filled-in", f"/record/{name}")
        record = {"subject": person_of(citizen.identity), **record}
    return await acknowledging.acknowledgement(home, declaration, record=record, whose=citizen.subject)


async def explain_repair(
    home: Home, citizen: Citizen, declaration: DeclarationId, to: PartyId, *, number_kind: str, number: str
) -> Json:
    """What would happen if the citizen adds their number at an administration that has not found them. Nothing is sent.

    `{recipient, text, text_sha256, until, left}`: `repair` takes `text_sha256` and `until` back. Raises Refused
    `repair.*`, `tracking.unknown`, `avro.*`, `values.*`.
    """
    until = Instant(day(home.clock()) + repairing.DAYS * DAY_MS)
    asked = _repair(citizen, declaration, to, number_kind=number_kind, number=number, until=until)
    found = await repairing.explain(
        home, asked, citizen.voice(bytes(32)), await _repair_source(home, citizen, declaration)
    )
    return {
        "recipient": to,
        "text": found.text,
        "text_sha256": digest(found.text),
        "until": time_of(found.until),
        "left": found.left,
    }


async def repair(
    home: Home,
    citizen: Citizen,
    declaration: DeclarationId,
    to: PartyId,
    *,
    number_kind: str,
    number: str,
    until: Instant,
    text_sha256: str,
) -> Json:
    """Add the number, under a consent for this one use. `until`, `text_sha256`: as `explain_repair` told them.

    `{reference, grant, number, left}`: `number`: which try it was. Raises Refused as `explain_repair`, and
    `citizens.other-text`; Unavailable: say it again in ten minutes.
    """
    levels.check(citizen, Act.REPAIR)
    asked = _repair(citizen, declaration, to, number_kind=number_kind, number=number, until=until)
    voice, source = citizen.voice(bytes(32)), await _repair_source(home, citizen, declaration)
    check_text((await repairing.explain(home, asked, voice, source)).text, text_sha256)
    done = await repairing.repair(home, asked, voice, source)
    return {
        "reference": uuid_of(done.reference),
        "grant": uuid_of(done.grant),
        "number": done.number,
        "left": done.outlook.left - 1,
    }


def _repair(
    citizen: Citizen, declaration: DeclarationId, to: PartyId, *, number_kind: str, number: str, until: Instant
) -> Repair:
    return Repair(declaration, to, person_of(citizen.identity), number_kind, number, until)


async def _repair_source(home: Home, citizen: Citizen, declaration: DeclarationId) -> PartyId:
    """Who hands the number in, once it is known that the declaration is the citizen's."""
    await home.tracking.track(declaration, citizen.subject)
    return await source_of(home, citizen.portal, repairing.TYPE)


async def _page(
    home: Home, theirs: Sequence[SubjectRef], after: DeclarationId | None, limit: int
) -> list[tuple[DeclarationId, EventType]]:
    """What was handed in about these references, the newest first; what takes something back is told with that."""
    order = (submissions.c.received_at, submissions.c.declaration_id)
    asked = select(submissions).where(
        submissions.c.subject.in_(theirs), submissions.c.event_type.not_in(sorted(RETRACTIONS))
    )
    async with home.store.read() as tx:
        if after is not None:
            last = next(iter((await submitted(tx, home.macs, [after])).values()), None)
            if last is None or last.subject not in theirs:
                raise Refused("tracking.unknown", "/after")
            asked = asked.where(tuple_(*order) < (last.received_at, after))
        rows = await tx.execute(asked.order_by(*(one.desc() for one in order)).limit(limit))
        there = home.macs.valid(submissions.name, rows)
    return [(DeclarationId(row.declaration_id), EventType(row.event_type)) for row in there]
