"""Protecting: people in danger, as a counter, a prosecutor's notice and the DPO have to do with them.

Refuses: what `broker.consents.protecting` refuses; a notice without its reference.
Keeps: who wrote it down stands in the journal of endings, beside the protection, and in no list of acts: that one would
name, with the entries that came of it, whom it is about. What is asked for again answers the same as the first time.
"""

from dataclasses import dataclass, replace
from typing import Final

from broker.consents.protecting import Wanted
from broker.ledger.acting import ACTING, unlisted
from broker.maintenance.dpo_letters import looks_at
from broker.people import protection
from broker.people.protection import Protection
from broker.services import acts, approvals
from broker.services.viewing import record_look
from broker.setup.wiring import Home
from schemas.errors import Refused
from schemas.names import Instant, LeafHash, SubjectRef

JOURNAL: Final = (protection.TABLE, protection.HOUSEMATES)
"""What no count of the journal's objects says."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One protection as the DPO's list has it: whom it is about is only its number, the same in `Look`."""

    number: str
    protection: Protection
    children: int


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody looked at the file of a protected person. `operator`: their account, where the ledger names one."""

    number: str
    at: Instant
    entry: LeafHash
    operator: str | None


async def add(home: Home, wanted: Wanted) -> Protection:
    """By the person's own word. Raises Refused as `Protecting.protect`."""
    if wanted.notice is not None:
        raise Refused("protection.reference", "/notice")
    return await _protect(home, wanted)


async def by_notice(home: Home, wanted: Wanted) -> Protection:
    """On a notice of the prosecutor, by two. Raises Refused as `Protecting.protect`, `protection.reference`."""
    if wanted.notice is None:
        raise Refused("protection.reference", "/notice")
    return await _protect(home, wanted)


async def lift(home: Home, subject: SubjectRef, *, given_by: str) -> Protection:
    """Three days from now. Raises Refused `protection.*`."""
    by = _by()
    with unlisted():
        return await home.protecting.lift(subject, given_by=given_by, by=by)


async def keep(home: Home, subject: SubjectRef) -> Protection:
    """It is not lifted after all. Raises Refused `protection.none`."""
    by = _by()
    with unlisted():
        return await home.protecting.keep(subject, by=by)


async def show(home: Home, subject: SubjectRef) -> Protection | None:
    """What protects a person; the look is recorded, as any. For the DPO."""
    async with home.store.begin() as tx:
        record_look(home, tx, subject)
    return await home.protecting.of(subject)


async def own(home: Home, subject: SubjectRef) -> Protection | None:
    """The same for the person, in their own session: nobody looks at them."""
    return await home.protecting.of(subject)


async def listed(home: Home) -> list[Listed]:
    """Every protection that stands, the oldest first; no person is named. For the DPO."""
    every = await home.protecting.every()
    return [
        Listed(_number(home, one), one, sum(each.whose == one.subject for each in every) - 1)
        for one in every
        if one.whose == one.subject
    ]


async def looks(home: Home, since: Instant) -> list[Look]:
    """Who looked at the file of somebody who is protected now, the newest first. It is told from the ledger, in which
    each look at anybody stands: a look at a protected person leaves no more and no less than any. For the DPO.
    """
    theirs = {one.subject: one for one in await home.protecting.every()}
    async with home.store.read() as tx:
        found = await looks_at(tx, home.openings, theirs, since)
    named = {
        leaf: act.operator for act, _ in await acts.newest(home, since=since, limit=10_000) for leaf in act.entries
    }
    told = [Look(_number(home, theirs[who]), at, leaf, named.get(leaf)) for who, leaf, at in found]
    return sorted(told, key=lambda one: (-one.at, one.entry))


async def request(home: Home, request_id: bytes) -> approvals.Listed | None:
    """One request that waits, for whoever is to approve it; `approvals.shown` opens it."""
    for one in await approvals.listed(home):
        if one.request.id == request_id:
            return one
    return None


async def _protect(home: Home, wanted: Wanted) -> Protection:
    by = _by()
    with unlisted():
        return await home.protecting.protect(replace(wanted, by=by))


def _by() -> tuple[str, ...]:
    """The accounts of who acts and of who agreed."""
    one = ACTING.get()
    if one is None or one.by is None:
        return ()
    second = () if one.request is None else (str(one.request.get("by", "")),)
    return (one.by.name, *second)


def _number(home: Home, one: Protection) -> str:
    """By which the DPO knows the same person again, and nobody else knows anybody."""
    return home.macs.asked(["protection", one.whose.hex()]).hex()[:8]
