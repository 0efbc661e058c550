"""Drafts of a citizen: what they have begun to type is there when they come back, in a session or with a code.

Refuses: what `broker.citizens.drafts` refuses; another person's draft or code, as one that never was.
Keeps: each call names the citizen and is one transaction. Nothing here declares anything: what a draft holds is shown
to whoever signed in, and confirmed before it is declared.
"""

from collections.abc import Mapping
from typing import Any

from broker.access.tallies import Tally
from broker.citizens.citizen import Citizen
from broker.citizens.drafts import HOURS, Draft, Saved
from broker.setup.wiring import Home

__all__ = ["HOURS", "Draft", "Saved", "all_of", "close", "open_newest", "read", "resume", "save_as_code", "write"]


async def all_of(home: Home, citizen: Citizen) -> tuple[Draft, ...]:
    """Their drafts, the one written last first. Raises Corrupt `drafts.damaged`; Unavailable."""
    return tuple(await home.drafts.of(citizen.subject))


async def open_newest(home: Home, citizen: Citizen, form: str) -> Draft | None:
    """Their newest draft of a form, if there is one. Raises as `all_of`."""
    return next((one for one in await home.drafts.of(citizen.subject) if one.form == form), None)


async def read(home: Home, citizen: Citizen, draft: bytes) -> Draft:
    """One of theirs. Raises Refused `drafts.unknown`; Corrupt `drafts.damaged`; Unavailable."""
    return await home.drafts.read(citizen.subject, draft)


async def write(
    home: Home,
    citizen: Citizen,
    form: str,
    content: Mapping[str, Any],
    *,
    draft: bytes | None = None,
    seen: int = 0,
) -> Draft:
    """Keep what they typed; durable once it returns. `draft`: None for a new one; `seen`: the version on their screen.

    Raises Refused `drafts.changed`, `drafts.unknown`, `drafts.too-large`, `drafts.too-many`; Unavailable.
    """
    return await home.drafts.write(citizen.subject, form, content, draft, seen)


async def close(home: Home, citizen: Citizen, draft: bytes) -> None:
    """It was declared, or they do not want it any more: it goes, and its code. Raises Unavailable."""
    await home.drafts.close(citizen.subject, draft)


async def save_as_code(home: Home, citizen: Citizen, draft: bytes) -> Saved:
    """A code that opens a copy of it, shown once. Raises Refused `drafts.unknown`; Unavailable."""
    return await home.drafts.save_as_code(citizen.subject, draft)


async def resume(home: Home, citizen: Citizen, code: str, *, address: str) -> Draft:
    """Their draft by a code. `address`: the client's, as quotas count it; its tries are counted, and the session's.

    Raises Refused `drafts.code`, `drafts.too-many`, `citizens.too-many-attempts`; Unavailable.
    """
    tried = (citizen.session.hex(), address)
    for one in tried:
        await home.attempts.begin(Tally.DRAFT_CODES, one)
    found = await home.drafts.resume(citizen.subject, code)
    for one in tried:
        await home.attempts.right(Tally.DRAFT_CODES, one)
    # Crash here: the draft is theirs, and the try counts for a quarter of an hour as if it had been wrong.
    return found
