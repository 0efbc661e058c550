"""Channels: where a citizen is told, as the citizen, or an agent on their word, gives it.

Refuses: what `broker.messages.channels` refuses; a channel of another citizen, as one that never was.
Keeps: each call names the citizen and is one transaction; whoever looks at a citizen's channels is entered in the
ledger first. An address leaves as a hint, never whole.
"""

from dataclasses import dataclass

from sqlalchemy import func, select

from broker.messages.addresses import ChannelKind, hinted
from broker.messages.channels import Changed, Channel
from broker.services.viewing import record_look
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.message_tables import GIVEN_UP, messages
from schemas.errors import Corrupt, Refused
from schemas.messages import Language
from schemas.names import ChannelId, Instant, LeafHash, SubjectRef


@dataclass(frozen=True, slots=True)
class Shown:
    """A channel as it is shown. `hint`: enough of the address to know it again; None where it cannot be opened.

    `sent_at`: when the last message was taken; `failing`: the code of what is wrong with one that was not;
    `given_up`: how many were tried for too long.
    """

    channel: Channel
    hint: str | None
    sent_at: Instant | None = None
    failing: str | None = None
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """A channel that was added or ended, and the ledger's entry."""

    shown: Shown
    entry: LeafHash


async def add(home: Home, subject: SubjectRef, kind: str, address: str, language: Language) -> Done:
    """From now on the citizen is told there. `kind`: `email` or `mobile`. Raises Refused `channels.*`."""
    known = {one.value: one for one in ChannelKind}
    if kind not in known:
        raise Refused("channels.no-way", "/kind", way=kind[:16])
    return _done(home, await home.channels.add(subject, known[kind], address, language))


async def end(home: Home, subject: SubjectRef, channel: ChannelId) -> Done:
    """From now on nothing is told there. Raises Refused `channels.unknown`."""
    async with home.store.read() as tx:
        kin = (await home.lookup.kin(tx, [subject], home.clock())).of(subject)
        theirs = {one.id: one.subject for one in await home.channels.of(tx, kin)}
    return _done(home, await home.channels.end(theirs.get(channel, subject), channel))


async def of(home: Home, subject: SubjectRef) -> list[Shown]:
    """Those of a citizen that have not ended, the oldest first; the look is recorded."""
    async with home.store.begin() as tx:
        kin = (await home.lookup.kin(tx, [subject], home.clock())).of(subject)
        found = [one for one in await home.channels.of(tx, kin) if one.ended_at is None]
        shown = [await _told(home, tx, one) for one in found]
        record_look(home, tx, subject)
    return shown


async def _told(home: Home, tx: Transaction, one: Channel) -> Shown:
    mine = messages.c.channel == one.id
    sent = (await tx.execute(select(func.max(messages.c.sent_at)).where(mine))).scalar()
    open_ = select(messages.c.code).where(mine, messages.c.sent_at.is_(None), messages.c.code.is_not(None))
    failing = (await tx.execute(open_.order_by(messages.c.at.desc()).limit(1))).scalar()
    over = select(func.count()).select_from(messages).where(mine, *GIVEN_UP)
    given_up = (await tx.execute(over)).scalar_one()
    return Shown(one, _hint(home, one), None if sent is None else Instant(sent), failing, given_up)


def _done(home: Home, changed: Changed) -> Done:
    return Done(Shown(changed.channel, _hint(home, changed.channel)), changed.entry)


def _hint(home: Home, one: Channel) -> str | None:
    try:
        return hinted(one.kind, home.channels.address(one))
    except (Corrupt, Refused):
        return None
