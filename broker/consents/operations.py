"""Operations: what the process that holds the keys of consents does for others, and nothing else.

Refuses: what takes operators: a mandate by law, an entitled source's link (`consents.operators`). Whatever the asking
process says of itself, it speaks for citizens.
Keeps: each operation is one call of the class that does it in any process.
"""

from collections.abc import Mapping
from typing import Final

from broker.consents.answering import Does
from broker.consents.consents import Consents, GrantRequest, Recorded
from broker.consents.linking import Linking
from broker.consents.objections import Objected, Objections
from broker.consents.receipts import Receipts
from broker.consents.repairing import Begun, Repairing
from broker.consents.wire import (
    AskLink,
    BeginRepair,
    Change,
    Found,
    Give,
    Narrow,
    Object,
    Receipt,
    Reference,
    RefuseLink,
    RevokeAll,
    Stop,
    Withdraw,
)
from broker.directory.kin import Link
from broker.flow.contact import Contact
from broker.flow.holds import HeldDeclarations
from broker.flow.retracted import Retraction
from consent.basis import BasisKind
from schemas.errors import Refused
from schemas.names import SubjectRef

CITIZENS: Final = frozenset({BasisKind.CONSENT, BasisKind.CHOICE})
"""On what a citizen's own word can rest."""


class Operations:
    """Each of `wire.OPERATIONS`."""

    def __init__(
        self,
        *,
        consents: Consents,
        objections: Objections,
        holds: HeldDeclarations,
        linking: Linking,
        repairing: Repairing,
        receipts: Receipts,
        contact: Contact,
    ) -> None:
        self._consents = consents
        self._objections = objections
        self._holds = holds
        self._linking = linking
        self._repairing = repairing
        self._receipts = receipts
        self._contact = contact

    def by_name(self) -> Mapping[str, Does]:
        """What does each, by its name."""
        return {
            "give": self.give,
            "give-unless": self.give_unless,
            "revoke": self.revoke,
            "pause": self.pause,
            "resume": self.resume,
            "narrow": self.narrow,
            "revoke-all": self.revoke_all,
            "object": self.object,
            "withdraw-objection": self.withdraw,
            "stop": self.stop,
            "refuse-link": self.refuse_link,
            "ask-link": self.ask_link,
            "begin-repair": self.begin_repair,
            "receipt": self.receipt,
            "reference": self.reference,
        }

    async def give(self, one: Give) -> Recorded:
        """A consent, or a choice; never a mandate by law."""
        return await self._consents.give(_own(one.wish))

    async def give_unless(self, one: Give) -> Found:
        """The same, where there is none yet."""
        given = await self._consents.give_unless(_own(one.wish))
        return Found(given.grant, given.entry) if isinstance(given, Recorded) else Found(given, None)

    async def revoke(self, one: Change) -> Recorded:
        """End it."""
        return await self._consents.revoke(one.grant, one.voice)

    async def pause(self, one: Change) -> Recorded:
        """Hold everything back."""
        return await self._consents.pause(one.grant, one.voice, version=one.version)

    async def resume(self, one: Change) -> Recorded:
        """End a pause."""
        return await self._consents.resume(one.grant, one.voice, version=one.version)

    async def narrow(self, one: Narrow) -> Recorded:
        """Keep only these fields."""
        return await self._consents.narrow(one.grant, one.fields, one.voice, version=one.version)

    async def revoke_all(self, one: RevokeAll) -> list[Recorded]:
        """End all of one citizen's."""
        return await self._consents.revoke_all(one.subject, one.voice)

    async def object(self, one: Object) -> Objected:
        """Object to a rule by law."""
        return await self._objections.object(one.subject, one.rule, reason=one.reason, given_by=one.given_by)

    async def withdraw(self, one: Withdraw) -> Objected:
        """Withdraw that."""
        return await self._objections.withdraw(one.subject, one.rule, given_by=one.given_by)

    async def stop(self, one: Stop) -> Retraction:
        """Stop what is held."""
        return await self._holds.stop(one.subject, one.declaration, given_by=one.given_by)

    async def refuse_link(self, one: RefuseLink) -> Link:
        """Say that the other is somebody else."""
        return (await self._linking.refuse(one.link, one.whose)).link

    async def ask_link(self, one: AskLink) -> Link:
        """Ask for a link, which two operators confirm."""
        return await self._linking.ask(one.kept, one.alias, evidence=one.evidence, asked_by=one.asked_by)

    async def begin_repair(self, one: BeginRepair) -> Begun:
        """The consent for a number, and its try."""
        return await self._repairing.begin(_own(one.wish), one.declaration, one.to, one.reference)

    async def receipt(self, one: Receipt) -> bytes:
        """The receipt of what was changed here."""
        return await self._receipts.of_known(one.recorded)

    async def reference(self, one: Reference) -> SubjectRef:
        """Whose facts these are; an older spelling is written down."""
        return await self._contact.reference(one.person)


def _own(wish: GrantRequest) -> GrantRequest:
    if wish.basis.kind not in CITIZENS:
        raise Refused("consents.operators", "/basis")
    return wish
