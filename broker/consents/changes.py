"""Changes: what may be asked of whoever holds the keys of consents, whichever process that is.

    a process with the keys      `Consents`, `Objections`, `HeldDeclarations`, `Linking`, `Repairing`, `Receipts`
    any other                    `broker.consents.asking`, which asks the process that has them

Refuses: nothing of its own.
Keeps: services see these and no class behind them. Each promise is the one of the class that is named; besides, any
call may raise Unavailable `consents.away` where another process is asked: called again, it is done once.
"""

from typing import Protocol

from broker.consents.consents import GrantRequest, Recorded
from broker.consents.linking import Parted
from broker.consents.objections import Objected
from broker.consents.repairing import Begun
from broker.directory.kin import Link
from broker.flow.holds import Held
from broker.flow.objected import Objecting
from broker.flow.retracted import Retraction
from consent.grant import Grant, Voice
from schemas.names import DeclarationId, GrantId, LinkId, PartyId, RuleId, SubjectRef


class ConsentChanges(Protocol):
    """As `broker.consents.consents.Consents`."""

    async def give(self, wish: GrantRequest) -> Recorded: ...
    async def give_unless(self, wish: GrantRequest) -> Recorded | Grant: ...
    async def revoke(self, grant_id: GrantId, voice: Voice) -> Recorded: ...
    async def end_mandate(self, grant_id: GrantId, voice: Voice) -> Recorded: ...
    async def pause(self, grant_id: GrantId, voice: Voice, *, version: int | None = None) -> Recorded: ...
    async def resume(self, grant_id: GrantId, voice: Voice, *, version: int | None = None) -> Recorded: ...
    async def narrow(
        self, grant_id: GrantId, fields: frozenset[str], voice: Voice, *, version: int | None = None
    ) -> Recorded: ...
    async def revoke_all(self, subject: SubjectRef, voice: Voice) -> list[Recorded]: ...
    async def of(self, subject: SubjectRef) -> tuple[Grant, ...]: ...


class ObjectionChanges(Protocol):
    """As `broker.consents.objections.Objections`."""

    async def object(self, subject: SubjectRef, rule_id: RuleId, *, reason: str, given_by: str) -> Objected: ...
    async def withdraw(self, subject: SubjectRef, rule_id: RuleId, *, given_by: str) -> Objected: ...
    async def of(self, subject: SubjectRef) -> list[Objecting]: ...


class HoldChanges(Protocol):
    """As `broker.flow.holds.HeldDeclarations`."""

    async def stop(self, subject: SubjectRef, declaration: DeclarationId, *, given_by: str) -> Retraction: ...
    async def of(self, subject: SubjectRef) -> list[Held]: ...


class LinkChanges(Protocol):
    """As `broker.consents.linking.Linking`."""

    async def ask(
        self, kept: SubjectRef, alias: SubjectRef, *, evidence: str, asked_by: str, entitled: bool = False
    ) -> Link: ...
    async def confirm(self, link: LinkId) -> Link: ...
    async def refuse(self, link: LinkId, whose: SubjectRef) -> Parted: ...
    async def end(self, link: LinkId) -> Parted: ...
    async def of(self, subject: SubjectRef | None = None) -> list[Link]: ...


class RepairBegins(Protocol):
    """As `broker.consents.repairing.Repairing`."""

    async def begin(
        self, wish: GrantRequest, declaration: DeclarationId, to: PartyId, reference: DeclarationId
    ) -> Begun: ...


class ReceiptSigner(Protocol):
    """As `broker.consents.receipts.Receipts`."""

    async def of(self, recorded: Recorded) -> bytes: ...
