"""Retractions: a declaration is cancelled or recalled by its source, recalled by two operators; a hold is stopped.

Refuses: a source that is not hosted here (`retractions.not-here`): it hands its notice in itself, over the API.
Keeps: when a call returns, nothing of the declaration is released any more. Called again, it changes nothing and hands
the same notice in again, where a crash kept it from the log.
"""

from dataclasses import dataclass
from typing import Final

from broker.flow import retracted
from broker.flow.arrived import Submission, routed_of, submitted
from broker.flow.deliveries import citizen_lock
from broker.flow.desk import notice_of
from broker.flow.holds import Held
from broker.flow.retracted import Kind, Retraction
from broker.flow.retracting import retraction
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from schemas.errors import Corrupt, Refused
from schemas.names import DeclarationId, EventType, PartyId, SubjectRef
from schemas.retractions import CANCELLED, RECALLED, RETRACTIONS

_KINDS: Final = {CANCELLED: Kind.CANCELLED, RECALLED: Kind.RECALLED}


@dataclass(frozen=True, slots=True)
class Retracted:
    """A retraction as it stands, and whether it stood already."""

    retraction: Retraction
    repeated: bool


async def cancel(home: Home, declaration: DeclarationId, *, reason: str) -> Retracted:
    """Take a declaration back, with its corrections, by the word of its citizen, through the source that declared it.

    Raises Refused: `retractions.*`, `values.*`, `avro.*`, and what the intake refuses. Raises Unavailable.
    """
    return await _by_source(home, declaration, CANCELLED, reason)


async def recall(home: Home, declaration: DeclarationId, *, reason: str, for_source: bool = False) -> Retracted:
    """Take back what should never have been sent. `for_source`: the broker does, where the source does not.

    Those who got it hear of it after the hold, unless its citizen stops it. Raises as `cancel`.
    """
    if not for_source:
        return await _by_source(home, declaration, RECALLED, reason)
    await _write_down(home, declaration)
    return await _by_source(home, declaration, RECALLED, reason, by=home.party)


async def _write_down(home: Home, declaration: DeclarationId) -> None:
    """By two operators: it counts from here on, and lets the broker hand the notice in."""
    async with home.store.begin() as tx:
        one = await _original(home, tx, declaration)
        await tx.lock_exclusive([citizen_lock(one.subject)])
        root, at = await home.retracting.root_of(tx, declaration), home.clock()
        notice = notice_of(RECALLED, root)
        made = retraction(Kind.RECALLED, root, one.subject, by=home.party, at=at, notice=notice)
        if await home.retracting.check(tx, made):
            await home.retracting.take_back(tx, made, at)
            # Crash here: nothing of it goes out; the same command again hands the notice in.


async def _by_source(
    home: Home, declaration: DeclarationId, event_type: EventType, reason: str, by: PartyId | None = None
) -> Retracted:
    async with home.store.read() as tx:
        original = await _original(home, tx, declaration)
        root = await home.retracting.root_of(tx, declaration)
        kind, who, notice = _KINDS[event_type], by or original.source, notice_of(event_type, root)
        wanted = retraction(kind, root, original.subject, by=who, at=home.clock(), notice=notice)
        fresh = await home.retracting.check(tx, wanted)
        routed, kept = await routed_of(tx, [notice]), await submitted(tx, home.macs, [notice])
    if fresh or not routed:
        try:
            await home.desk.retract(who, event_type, root, original.subject, reason)
        except Refused as fault:
            if fault.code != "intake.id-reused" or not kept:  # it was handed in with another reason, which stays
                raise
    async with home.store.read() as tx:
        there = retracted.told(await tx.endings(), root)
    if there is None:
        raise Corrupt("endings.unreadable", table="retractions")
    return Retracted(there, not fresh)


async def _original(home: Home, tx: Transaction, declaration: DeclarationId) -> Submission:
    for one in (await submitted(tx, home.macs, [declaration])).values():
        if one.event_type in RETRACTIONS:
            raise Refused("retractions.of-a-retraction", "/declaration")
        return one
    raise Refused("retractions.unknown", "/declaration")


async def every(home: Home, subject: SubjectRef | None = None) -> list[Retraction]:
    """What was taken back or stopped, of everybody or of one citizen, the newest first."""
    async with home.store.read() as tx:
        kin = None if subject is None else (await home.lookup.kin(tx, [subject], home.clock())).of(subject)
        return await retracted.of(tx, home.macs, kin)


async def held(home: Home, subject: SubjectRef) -> list[Held]:
    """What waits of one citizen's before anybody gets it."""
    return await home.holds.of(subject)


async def stop(home: Home, subject: SubjectRef, declaration: DeclarationId, *, given_by: str) -> Retraction:
    """Nobody gets what is held. Raises Refused `holds.*`, `retractions.*`."""
    return await home.holds.stop(subject, declaration, given_by=given_by)
