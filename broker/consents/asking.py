"""Asking: the stand-ins of a process that has no key of a consent: it asks the one that has them.

Refuses: to guess. An answer that did not come is asked for again under the same act, until the time is over; then it is
Unavailable `consents.away`, and nobody says whether it was done.
Keeps: what is asked for in one call is done once, however often the connection is lost. What only looks is looked at
here. Of what a process may do with it, `docs/adr/0060-a-process-for-consents.md` tells the limits.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from broker.access.acts import ID_BYTES
from broker.access.typed_json import written
from broker.consents import local, wire
from broker.consents.consents import Consents, GrantRequest, Recorded
from broker.consents.linking import Linking, Parted
from broker.consents.objections import Objected, Objections
from broker.consents.repairing import Begun
from broker.directory.kin import Link
from broker.flow.holds import Held, HeldDeclarations
from broker.flow.objected import Objecting
from broker.flow.retracted import Retraction
from broker.observability.observe import logger
from broker.people.pivot import PivotIdentity
from broker.ports import Entropy
from consent.grant import Grant, Voice
from schemas.errors import Refused, Unavailable
from schemas.names import DeclarationId, GrantId, LinkId, PartyId, RuleId, SubjectRef
from schemas.retry import doubled_ms, spread_ms

SECONDS: Final = 20
"""For one call, however often it is asked."""
AGAIN_MS: Final = (50, 1_000)
"""The wait before it is asked again: it doubles from the first to the second."""

_AS: ContextVar[bytes | None] = ContextVar("asked_as", default=None)


@contextmanager
def asked_as(name: bytes) -> Iterator[None]:
    """What is asked for in this block is the same act each time that it is asked for under this name, also by a process
    that knows nothing of the first time. `name`: what the asker's own client said, such as an Idempotency-Key.
    """
    token = _AS.set(name)
    try:
        yield
    finally:
        _AS.reset(token)


class Asking:
    """Asks over the socket. May be called concurrently."""

    def __init__(self, path: Path, group: int | None, entropy: Entropy, seconds: float = SECONDS) -> None:
        self._path = path
        self._group = group
        self._entropy = entropy
        self._seconds = seconds

    async def ask(self, name: str, asked: object) -> Any:
        """What is told. Raises the fault that is told instead; Unavailable `consents.away`, `consents.foreign`,
        `consents.garbled`; Refused `consents.too-large`.
        """
        operation = wire.OPERATIONS[name]
        act, ends = self._act(name, asked), asyncio.get_running_loop().time() + self._seconds
        tries = 0
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            raw = wire.Question(operation, act, max(1, int(left * 1000)), asked).encode()
            try:
                async with asyncio.timeout(left):
                    return wire.answer(operation, await self._exchanged(raw))
            except (OSError, EOFError, TimeoutError):
                tries += 1
                left = ends - asyncio.get_running_loop().time()
                wait = spread_ms(doubled_ms(*AGAIN_MS, tries), self._entropy) / 1000
                await asyncio.sleep(max(0.0, min(wait, left)))
        logger().warning("consents.away", attempts=tries)
        raise Unavailable("consents.away")

    async def _exchanged(self, raw: bytes) -> bytes:
        reader, writer = await local.connected(self._path, self._group)
        try:
            await local.sent(writer, raw)
            return await local.received(reader, wire.ANSWER_BYTES)
        except Refused:
            raise Unavailable("consents.garbled") from None
        finally:
            await local.closed(writer)

    def _act(self, name: str, asked: object) -> bytes:
        named = _AS.get()
        if named is None:
            return self._entropy(ID_BYTES)
        return sha256(b"\x00".join((sha256(named).digest(), name.encode(), written(asked)))).digest()[:ID_BYTES]


class AskedConsents:
    """`ConsentChanges`, of another process."""

    def __init__(self, asking: Asking, here: Consents) -> None:
        self._asking = asking
        self._here = here

    async def give(self, wish: GrantRequest) -> Recorded:
        """As `Consents.give`."""
        return await self._told("give", wire.Give(wish))

    async def give_unless(self, wish: GrantRequest) -> Recorded | Grant:
        """As `Consents.give_unless`."""
        found: wire.Found = await self._asking.ask("give-unless", wire.Give(wish))
        return found.grant if found.entry is None else Recorded(found.grant, found.entry)

    async def revoke(self, grant_id: GrantId, voice: Voice) -> Recorded:
        """As `Consents.revoke`."""
        return await self._told("revoke", wire.Change(grant_id, voice))

    async def end_mandate(self, grant_id: GrantId, voice: Voice) -> Recorded:
        """Raises Refused `consents.operators`."""
        raise Refused("consents.operators")

    async def pause(self, grant_id: GrantId, voice: Voice, *, version: int | None = None) -> Recorded:
        """As `Consents.pause`."""
        return await self._told("pause", wire.Change(grant_id, voice, version))

    async def resume(self, grant_id: GrantId, voice: Voice, *, version: int | None = None) -> Recorded:
        """As `Consents.resume`."""
        return await self._told("resume", wire.Change(grant_id, voice, version))

    async def narrow(
        self, grant_id: GrantId, fields: frozenset[str], voice: Voice, *, version: int | None = None
    ) -> Recorded:
        """As `Consents.narrow`."""
        return await self._told("narrow", wire.Narrow(grant_id, fields, voice, version))

    async def revoke_all(self, subject: SubjectRef, voice: Voice) -> list[Recorded]:
        """As `Consents.revoke_all`."""
        found: list[Recorded] = await self._asking.ask("revoke-all", wire.RevokeAll(subject, voice))
        return found

    async def of(self, subject: SubjectRef) -> tuple[Grant, ...]:
        """As `Consents.of`, looked at here."""
        return await self._here.of(subject)

    async def _told(self, name: str, asked: object) -> Recorded:
        found: Recorded = await self._asking.ask(name, asked)
        return found


class AskedObjections:
    """`ObjectionChanges`, of another process."""

    def __init__(self, asking: Asking, here: Objections) -> None:
        self._asking = asking
        self._here = here

    async def object(self, subject: SubjectRef, rule_id: RuleId, *, reason: str, given_by: str) -> Objected:
        """As `Objections.object`."""
        done: Objected = await self._asking.ask("object", wire.Object(subject, rule_id, reason, given_by))
        return done

    async def withdraw(self, subject: SubjectRef, rule_id: RuleId, *, given_by: str) -> Objected:
        """As `Objections.withdraw`."""
        done: Objected = await self._asking.ask("withdraw-objection", wire.Withdraw(subject, rule_id, given_by))
        return done

    async def of(self, subject: SubjectRef) -> list[Objecting]:
        """As `Objections.of`, looked at here."""
        return await self._here.of(subject)


class AskedHolds:
    """`HoldChanges`, of another process."""

    def __init__(self, asking: Asking, here: HeldDeclarations) -> None:
        self._asking = asking
        self._here = here

    async def stop(self, subject: SubjectRef, declaration: DeclarationId, *, given_by: str) -> Retraction:
        """As `HeldDeclarations.stop`."""
        done: Retraction = await self._asking.ask("stop", wire.Stop(subject, declaration, given_by))
        return done

    async def of(self, subject: SubjectRef) -> list[Held]:
        """As `HeldDeclarations.of`, looked at here."""
        return await self._here.of(subject)


class AskedLinks:
    """`LinkChanges`, of another process; what takes two operators is not asked for."""

    def __init__(self, asking: Asking, here: Linking) -> None:
        self._asking = asking
        self._here = here

    async def ask(
        self, kept: SubjectRef, alias: SubjectRef, *, evidence: str, asked_by: str, entitled: bool = False
    ) -> Link:
        """As `Linking.ask`, but that nobody is `entitled` here: the link waits for two operators."""
        made: Link = await self._asking.ask("ask-link", wire.AskLink(kept, alias, evidence, asked_by))
        return made

    async def confirm(self, link: LinkId) -> Link:
        """Raises Refused `consents.operators`."""
        raise Refused("consents.operators")

    async def refuse(self, link: LinkId, whose: SubjectRef) -> Parted:
        """As `Linking.refuse`: before a link acts nobody has got anything by it."""
        over: Link = await self._asking.ask("refuse-link", wire.RefuseLink(link, whose))
        return Parted(over, ())

    async def end(self, link: LinkId) -> Parted:
        """Raises Refused `consents.operators`."""
        raise Refused("consents.operators")

    async def of(self, subject: SubjectRef | None = None) -> list[Link]:
        """As `Linking.of`, looked at here."""
        return await self._here.of(subject)


class AskedRepairs:
    """`RepairBegins`, of another process."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def begin(
        self, wish: GrantRequest, declaration: DeclarationId, to: PartyId, reference: DeclarationId
    ) -> Begun:
        """As `Repairing.begin`."""
        begun: Begun = await self._asking.ask("begin-repair", wire.BeginRepair(wish, declaration, to, reference))
        return begun


class AskedReceipts:
    """`ReceiptSigner`, of another process."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def of(self, recorded: Recorded) -> bytes:
        """As `Receipts.of_known`."""
        signed: bytes = await self._asking.ask("receipt", wire.Receipt(recorded))
        return signed


async def reference(asking: Asking, person: PivotIdentity) -> SubjectRef:
    """As `Contact.reference`."""
    found: SubjectRef = await asking.ask("reference", wire.Reference(person))
    return found
