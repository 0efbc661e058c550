"""The intake's door, as a source, an impostor or a broken program stands before it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from broker.flow.arrived import Accepted
from schemas import declaration
from schemas.catalogue import EventSchema, territories_of
from schemas.declaration import Source
from schemas.delivery import VerifiedDelivery
from schemas.directory import Directory, SealingKeyEntry
from schemas.envelope import Manifest, SignedDeclaration
from schemas.errors import Fault, Refused
from schemas.manifest import MANIFEST_TYPE
from schemas.names import DeclarationId, Instant, PartyId, uuid7
from schemas.signing import PrivateKey, pae
from schemas.wire import Signature
from tests.bad_input.state import unchanged
from tests.bad_input.telling import CITIZEN, MOVE, assert_told
from tests.world import BANK, CAF, DAY, FAMILY, MOVED, PORTAL, World


@dataclass
class Door:
    """A broker whose citizen lets the family fund hear of a move and of a bank account."""

    here: World

    @property
    def database(self) -> Path:
        """The broker's database file."""
        return self.here.folder / "unefois.db"

    def move(self, **changes: Any) -> dict[str, Any]:
        """The citizen's move."""
        return self.here.moved(**{"subject": CITIZEN} | MOVE | changes)

    async def allow(self) -> None:
        """The citizen's consents."""
        fields = ("subject", "new_address")
        await self.here.give(CAF, MOVED, FAMILY, fields, person=CITIZEN)
        await self.here.give(CAF, BANK, FAMILY, ("subject", "iban"), person=CITIZEN)

    async def directory(self) -> Directory:
        """What the broker pins now."""
        async with self.here.home.store.read() as tx:
            return await self.here.home.lookup.directory(tx)

    async def keys(self, party: PartyId) -> Sequence[PrivateKey]:
        """A party's own signing keys."""
        return self.here.home.keyring.signers(await self.directory(), party, self.here.clock())

    async def envelope(
        self,
        *,
        source: PartyId = PORTAL,
        keys: Sequence[PrivateKey] | None = None,
        policy: int = 1,
        event: EventSchema | None = None,
        gate: SealingKeyEntry | None = None,
        ahead: int = 0,
        lifetime: int = DAY,
        declaration_id: DeclarationId | None = None,
    ) -> bytes:
        """The citizen's move, signed by these keys in this source's name; everything else as it should be."""
        home, directory = self.here.home, await self.directory()
        now = self.here.clock()
        known, record = home.catalogue.by_type(MOVED), self.move()
        signed = declaration.declare(
            Source(source, await self.keys(source) if keys is None else keys, policy),
            event or known,
            record,
            subject_token=home.identity.token(await home.desk.subject(record), source, Instant(now + DAY)),
            territories=territories_of(known, record),
            gate=gate or directory.current_sealing_key(directory.broker, now),
            at=Instant(now + ahead),
            lifetime_ms=lifetime,
            declaration_id=declaration_id or DeclarationId(uuid7(now, home.entropy(10))),
            entropy=home.entropy,
        )
        return signed.encode()

    async def signed_again(self, envelope: bytes, keys: Sequence[PrivateKey], **manifest: Any) -> bytes:
        """An envelope whose manifest says something else, with these keys' true signatures on it."""
        signed = SignedDeclaration.decode(envelope)
        payload = replace(Manifest.decode(signed.payload), **manifest).encode()
        message = pae(MANIFEST_TYPE, payload)
        signatures = tuple(Signature(key.kid, key.sign(message)) for key in keys)
        return replace(signed, payload=payload, signatures=signatures).encode()

    async def refuses(self, envelope: bytes, code: str, pointer: str) -> Refused:
        """The intake refuses these bytes, tells why in both languages, notes it, and changes nothing else."""
        return await self._fault(self.here.home.intake.accept(envelope), Refused, code, pointer, refusals=1)

    async def fails(
        self, call: Awaitable[object], code: str, pointer: str = "", kind: type[Fault] = Refused, refusals: int = 0
    ) -> Fault:
        """A call ends in this fault, told in both languages, and changes nothing but the note of a refusal."""
        return await self._fault(call, kind, code, pointer, refusals=refusals)

    async def _fault(
        self, call: Awaitable[object], kind: type[Fault], code: str, pointer: str, *, refusals: int
    ) -> Any:
        with unchanged(self.database, refusals=refusals), pytest.raises(kind) as caught:
            await call
        assert kind is type(caught.value)
        assert_told(caught.value, code, pointer)
        return caught.value

    async def arrives(self, hand_in: Callable[[], Awaitable[Accepted]] | None = None) -> VerifiedDelivery:
        """What is sound is taken afterwards, once, and reaches the family fund; nothing is out of order."""
        home = self.here.home
        accepted = await (self.here.home.desk.declare(PORTAL, MOVED, self.move()) if hand_in is None else hand_in())
        await home.router.route()
        (delivery,) = await self.here.take(CAF)
        assert accepted.declaration_id == delivery.declaration_id
        assert [] == await self.here.take(CAF)
        await self.here.step()
        return delivery
