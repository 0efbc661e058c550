"""A rehearsal: a whole broker and source in one object, with throwaway keys, for trying a mapping and a connector.

An integrator declares invented records and gets what a real pull would give: signed, sealed, locked, released. Nothing
is short-cut: the same functions of `schemas` make and verify every delivery. Our own tests stand on it too.

Refuses: nothing that the real path would take, and takes nothing that the real path refuses.
Keeps: no key, no log and no file outside this object.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from connectors.contract import Agency, Answered, Applied, Outcome, Pulled, Ready, Rejected, WithheldDelivery
from schemas.catalogue import builtin
from schemas.declaration import Source, declare
from schemas.delivery import VerifiedDelivery, open_release, verify_delivery
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.envelope import VerifiedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.locked import LockedDelivery, bitmap, lock
from schemas.names import (
    DeclarationId,
    DeliveryId,
    EventType,
    GrantId,
    Instant,
    LeafHash,
    PartyId,
    Reason,
    uuid7,
)
from schemas.release import Release, Statement, make_release, open_locked, seal_releases
from schemas.signing import Algorithm, PrivateKey

BROKER = PartyId("urn:unefois:rehearsal-broker")
SOURCE = PartyId("urn:unefois:rehearsal-source")
_DAY_MS = 86_400_000


@dataclass(slots=True)
class _Waiting:
    verified: VerifiedDeclaration
    locked: LockedDelivery
    release: Release
    due: Instant
    attempts: int = 0


class _Grant(TypedDict, total=False):
    grant_id: GrantId
    purpose: str
    basis: str
    pseudonym: bytes


@dataclass(slots=True)
class Rehearsal:
    """A broker and a source for one agency; it is that agency's `Inbox` too.

    `outcomes` and `later` hold what was acknowledged and put off. `revoke` makes a delivery withheld from now on.
    """

    recipient: PartyId
    clock: Callable[[], Instant]
    entropy: Callable[[int], bytes]
    outcomes: dict[DeliveryId, Outcome] = field(default_factory=dict)
    later: list[tuple[DeliveryId, str, int | None]] = field(default_factory=list)
    agency: Agency = field(init=False)
    _signer: PrivateKey = field(init=False)
    _broker: PrivateKey = field(init=False)
    _gate: SealingKey = field(init=False)
    _key: SealingKey = field(init=False)
    _waiting: dict[DeliveryId, _Waiting] = field(default_factory=dict)
    _withheld: dict[DeliveryId, Reason] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._signer, self._broker = (PrivateKey.from_raw(Algorithm.ED25519, self.entropy(32)) for _ in range(2))
        self._gate, self._key = (SealingKey.from_raw(Suite.X25519, self.entropy(32)) for _ in range(2))
        since = Instant(self.clock() - _DAY_MS)
        self.agency = Agency(self.recipient, {self._key.kid: self._key}, self._pinned(since), builtin())

    def _pinned(self, since: Instant) -> Directory:
        signers = ((SOURCE, self._signer), (BROKER, self._broker))
        sealers = ((self.recipient, self._key), (BROKER, self._gate))
        return Directory.of(
            [SigningKeyEntry(key.kid, party, key.algorithm, key.public, since) for party, key in signers],
            [SealingKeyEntry(key.kid, party, key.suite, key.public, since) for party, key in sealers],
            [PublishingRight(SOURCE, event.event_type, since) for event in builtin().newest],
            [PolicyEntry(SOURCE, 1, since)],
            BROKER,
        )

    def declare(
        self,
        event_type: EventType,
        record: Mapping[str, Any],
        disclosed: Collection[str],
        *,
        declaration_id: DeclarationId | None = None,
        corrects: DeclarationId | None = None,
        **grant: Unpack[_Grant],
    ) -> DeliveryId:
        """Declare a whole record, and put a delivery of some of its fields into the inbox.

        `grant` is about the delivery: grant_id, purpose, basis, pseudonym (20 bytes; the same one is the same citizen).
        Raises what `schemas.declaration.declare` raises.
        """
        at, event = self.clock(), builtin().by_type(event_type)
        signed = declare(
            Source(SOURCE, (self._signer,), 1),
            event,
            record,
            subject_token=b"rehearsal",
            gate=self.agency.directory.current_sealing_key(BROKER, at),
            at=at,
            lifetime_ms=30 * _DAY_MS,
            declaration_id=declaration_id or DeclarationId(uuid7(at, self.entropy(10))),
            entropy=self.entropy,
            corrects=corrects,
        )
        verified = verify_declaration(signed, self.agency.directory, self.agency.catalogue, at)
        return self._deliver(verified, disclosed, grant)

    def deliver_again(self, of: DeliveryId, disclosed: Collection[str], **grant: Unpack[_Grant]) -> DeliveryId:
        """Another delivery of the same declaration, under another grant. Raises Refused."""
        return self._deliver(self._known(of).verified, disclosed, grant)

    def _deliver(self, verified: VerifiedDeclaration, disclosed: Collection[str], grant: _Grant) -> DeliveryId:
        at, event = self.clock(), builtin().by_type(verified.manifest.event_type)
        indices = sorted(event.field(name).index for name in disclosed)
        grant_id = grant.get("grant_id") or GrantId(uuid7(at, self.entropy(10)))
        purpose, consent_key, nonce = grant.get("purpose", "rehearsal"), self.entropy(32), self.entropy(12)
        locked = lock(
            verified,
            self.recipient,
            purpose,
            grant_id,
            1,
            field_indices=indices,
            consent_key=consent_key,
            nonce=nonce,
        )
        pseudonym = grant.get("pseudonym")
        statement = Statement.of(
            locked,
            fields=bitmap(len(event.fields), indices),
            basis=grant.get("basis", "consent"),
            pseudonym=self.entropy(20) if pseudonym is None else pseudonym,
            pseudonym_version=1,
            released_at=at,
            ledger_entry=LeafHash(self.entropy(32)),
        )
        release = make_release(locked, open_locked(locked, consent_key, self._gate), statement, self._broker)
        self._waiting[locked.delivery_id] = _Waiting(verified, locked, release, at)
        return locked.delivery_id

    def _known(self, delivery_id: DeliveryId) -> _Waiting:
        if delivery_id not in self._waiting:
            raise Refused("rehearsal.unknown-delivery")
        return self._waiting[delivery_id]

    def verified(self, delivery_id: DeliveryId) -> VerifiedDelivery:
        """A delivery as a connector gets it. Raises Refused("rehearsal.unknown-delivery")."""
        self._known(delivery_id)
        pulled = self._handed([delivery_id])
        (released,) = open_release(pulled.locked, pulled.key_release, self._key)
        return verify_delivery(
            released,
            recipient=self.recipient,
            directory=self.agency.directory,
            catalogue=self.agency.catalogue,
            at=self.clock(),
            seen=lambda source, declaration_id: None,
        )

    def revoke(self, delivery_id: DeliveryId, reason: Reason = Reason.REVOKED) -> None:
        """From now on this delivery is withheld."""
        self._withheld[delivery_id] = reason

    async def pull(self, limit: int) -> Pulled:
        """What waits and is due, oldest first; there are no leases, so what is not acknowledged comes at once."""
        return self._handed([each for each in self._due() if each not in self.outcomes][:limit])

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """These deliveries alone."""
        return self._handed(ids)

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """Remember the ends; another end than before comes back as Refused("rehearsal.acknowledged"), but not where a
        human was awaited.
        """
        for delivery_id in ended:
            before = self.outcomes.get(delivery_id)
            if isinstance(before, Answered) and before.reason is Reason.AWAITING_HUMAN:
                del self.outcomes[delivery_id]
        return {
            delivery_id: Refused("rehearsal.acknowledged")
            for delivery_id, outcome in ended.items()
            if self.outcomes.setdefault(delivery_id, outcome) != outcome
        }

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """Hold the delivery back for this long."""
        self.later.append((delivery_id, code, after_ms))
        self._waiting[delivery_id].due = Instant(self.clock() + (after_ms or 0))

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """What waits and is due, without its content."""
        waiting = [each for each in self._due() if each not in self.outcomes][:limit]
        return tuple(Ready(each, self._waiting[each].verified.manifest.event_type) for each in waiting)

    def applied(self) -> tuple[DeliveryId, ...]:
        """Every delivery acknowledged as applied."""
        return tuple(each for each, outcome in self.outcomes.items() if isinstance(outcome, Applied))

    def rejected(self) -> dict[DeliveryId, str]:
        """Every delivery acknowledged as rejected, with its code."""
        return {each: outcome.code for each, outcome in self.outcomes.items() if isinstance(outcome, Rejected)}

    def _due(self) -> list[DeliveryId]:
        return [each for each, waiting in self._waiting.items() if waiting.due <= self.clock()]

    def _handed(self, ids: Sequence[DeliveryId]) -> Pulled:
        withheld = tuple(WithheldDelivery(each, self._withheld[each]) for each in ids if each in self._withheld)
        handed = [self._waiting[each] for each in ids if each not in self._withheld]
        attempts = {each.locked.delivery_id: each.attempts for each in handed}
        for each in handed:
            each.attempts += 1
        if not handed:
            return Pulled((), b"", withheld)
        locked = tuple(each.locked for each in handed)
        sealed = seal_releases(
            [each.release for each in handed], self._key.suite, self._key.public, [each.delivery_id for each in locked]
        )
        return Pulled(locked, sealed.encode(), withheld, attempts)
