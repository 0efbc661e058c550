"""The mailboxes of the broker in memory: grants with their keys, deliveries with their leases, and the gate.

Refuses: what mailbox and gate refuse, with their codes.
Keeps: in order for each citizen and recipient; a delivery is handed to one pull for one lease; without its grant's key
it never opens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from connectors.contract import Answered, Applied, Outcome, Partly, Rejected
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Refused
from schemas.hpke import SealingKey
from schemas.locked import LockedDelivery, bitmap, lock, manifest_of, open_locked
from schemas.names import DeliveryId, EventType, GrantId, Instant, LeafHash, PartyId, Reason
from schemas.release import Release, Statement, make_release
from schemas.signing import PrivateKey

CONSENT: Final = "consent"
_NEVER: Final = Instant(0)
_SAID: Final = frozenset({"applied", "rejected", "answered", "awaiting"})
_ENDED: Final = _SAID | {"withheld"}


@dataclass(slots=True)
class Grant:
    """Who gets which fields of a type; `key` is None once it is revoked."""

    recipient: PartyId
    event_type: EventType
    indices: tuple[int, ...]
    purpose: str
    key: bytes | None = field(repr=False)


@dataclass(slots=True)
class Letter:
    """A delivery on its way."""

    locked: LockedDelivery
    subject: str
    pseudonym: bytes
    state: str = "waiting"
    lease_until: Instant = _NEVER
    attempts: int = 0
    released: bool = False
    end: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """What a pull or a release gives: letters with their releases, and what was withheld."""

    letters: tuple[Letter, ...]
    releases: tuple[Release, ...]
    withheld: tuple[DeliveryId, ...]


class Original(Protocol):
    """What a correction corrects."""

    @property
    def verified(self) -> VerifiedDeclaration:
        """The first declaration."""
        ...


class Mailboxes:
    """Every recipient's mailbox. `signer` signs statements, `gate` opens what was sealed to the broker."""

    def __init__(self, entropy: Callable[[int], bytes], signer: PrivateKey, gate: SealingKey, lease_ms: int) -> None:
        self._entropy = entropy
        self._signer = signer
        self._gate = gate
        self._lease_ms = lease_ms
        self._grants: dict[GrantId, Grant] = {}
        self._letters: dict[DeliveryId, Letter] = {}
        self._pseudonyms: dict[tuple[PartyId, str], bytes] = {}

    def grant(self, grant_id: GrantId, grant: Grant) -> None:
        """Let a recipient have these fields of a type."""
        self._grants[grant_id] = grant

    def revoke(self, grant_id: GrantId) -> None:
        """Its key is gone. Raises Refused("testing.unknown-grant")."""
        if grant_id not in self._grants:
            raise Refused("testing.unknown-grant")
        self._grants[grant_id].key = None

    def route(self, verified: VerifiedDeclaration, subject: str, at: Instant, original: Original | None) -> None:
        """Put a delivery into the mailbox of everybody who may have it; a correction goes to whom the first went."""
        for grant_id, grant in self._grants.items():
            if grant.event_type != verified.manifest.event_type or grant.key is None:
                continue
            if original is not None and not self._had(original.verified, grant_id):
                continue
            locked = lock(
                verified,
                grant.recipient,
                grant.purpose,
                grant_id,
                1,
                field_indices=grant.indices,
                consent_key=grant.key,
                nonce=self._entropy(12),
            )
            known = self._pseudonyms.setdefault((grant.recipient, subject), self._entropy(20))
            self._letters[locked.delivery_id] = Letter(locked, subject, known)

    def lease(self, recipient: PartyId, most: int, at: Instant) -> list[DeliveryId]:
        """At most so many that may be handed out now: for each citizen the oldest that has not ended."""
        heads: dict[str, Letter] = {}
        for letter in self._letters.values():
            if letter.locked.recipient == recipient and letter.state not in _ENDED:
                heads.setdefault(letter.subject, letter)
        free = [letter for letter in heads.values() if letter.lease_until <= at][:most]
        for letter in free:
            letter.state, letter.lease_until = "handed", Instant(at + self._lease_ms)
        return [letter.locked.delivery_id for letter in free]

    def release(self, recipient: PartyId, ids: Sequence[DeliveryId], at: Instant) -> Handed:
        """The keys of deliveries that were handed out. Raises Refused `gate.unknown-delivery`, `gate.not-handed`."""
        handed, withheld = [], []
        for number, each in enumerate(ids):
            letter = self._own(recipient, each)
            if letter is None:
                raise Refused("gate.unknown-delivery", f"/deliveries/{number}")
            if letter.state in _SAID:
                raise Refused("gate.ended", f"/deliveries/{number}", state=letter.state)
            if letter.state == "waiting":
                raise Refused("gate.not-handed", f"/deliveries/{number}")
            if self._grants[letter.locked.grant_id].key is None:
                letter.state = "withheld"
                withheld.append(each)
            else:
                handed.append(letter)
        return Handed(tuple(handed), tuple(self._released(letter, at) for letter in handed), tuple(withheld))

    def acknowledge(self, recipient: PartyId, of: DeliveryId, end: Outcome) -> Refused | None:
        """Record an end; the same one again changes nothing. Returns why it cannot be."""
        letter = self._own(recipient, of)
        if letter is None:
            return Refused("mailbox.unknown-delivery", "/delivery")
        if letter.end == end:
            return None
        fault = _never_had(letter, end) or _why_not(letter, end)
        if fault is not None:
            return fault
        letter.state, letter.end = _state(end), end
        return None

    def put_off(self, recipient: PartyId, of: DeliveryId, until: Instant) -> Refused | None:
        """Hand it out again from then on; what has ended stays so. Returns why it cannot be."""
        letter = self._own(recipient, of)
        if letter is None:
            return Refused("mailbox.unknown-delivery", "/delivery")
        if letter.state == "waiting":
            return Refused("mailbox.not-handed", "/delivery")
        if letter.state == "handed":
            letter.lease_until = until
        return None

    def replay(self, recipient: PartyId, of: DeliveryId) -> Reason | None:
        """Try a rejected one again; the reason if it is withheld now. Raises Refused `dead.*`."""
        letter = self._own(recipient, of)
        if letter is None:
            raise Refused("dead.unknown", "/delivery")
        if letter.state == "applied":
            raise Refused("dead.applied", "/delivery")
        if letter.state != "rejected":
            raise Refused("dead.replayed", "/delivery")
        if self._grants[letter.locked.grant_id].key is None:
            letter.state = "withheld"
            return Reason.REVOKED
        letter.state, letter.lease_until, letter.end = "waiting", _NEVER, None
        return None

    def again(self, of: DeliveryId) -> None:
        """One that was answered waits once more, as after the person has added their number. Raises Refused
        `repair.nothing`.
        """
        letter = self._letters[of]
        if letter.state != "answered":
            raise Refused("repair.nothing", "/delivery")
        letter.state, letter.lease_until, letter.end, letter.released = "waiting", _NEVER, None, False

    def states(self, recipient: PartyId, at: Instant) -> Mapping[DeliveryId, str]:
        """Every delivery of a recipient with its state; a lease that has run out is waiting again."""
        return {
            each: "waiting" if letter.state == "handed" and letter.lease_until <= at else letter.state
            for each, letter in self._letters.items()
            if letter.locked.recipient == recipient
        }

    def end(self, of: DeliveryId) -> Outcome | None:
        """What a delivery was acknowledged as."""
        return self._letters[of].end

    def _own(self, recipient: PartyId, of: DeliveryId) -> Letter | None:
        letter = self._letters.get(of)
        return letter if letter is not None and letter.locked.recipient == recipient else None

    def _had(self, first: VerifiedDeclaration, grant_id: GrantId) -> bool:
        return any(
            letter.locked.grant_id == grant_id and letter.locked.payload == first.signed.payload
            for letter in self._letters.values()
        )

    def _released(self, letter: Letter, at: Instant) -> Release:
        grant, locked = self._grants[letter.locked.grant_id], letter.locked
        facts: dict[str, Any] = {
            "fields": bitmap(len(manifest_of(locked.payload).digests), [each.index for each in locked.fields]),
            "basis": CONSENT,
            "pseudonym": letter.pseudonym,
            "pseudonym_version": 1,
            "released_at": at,
            "ledger_entry": LeafHash(self._entropy(32)),
        }
        letter.released = True
        dek = open_locked(locked, grant.key or b"", self._gate)
        return make_release(locked, dek, Statement.of(locked, **facts), self._signer)


def _state(end: Outcome) -> str:
    if isinstance(end, Answered):
        return "awaiting" if end.reason is Reason.AWAITING_HUMAN else "answered"
    return "applied" if isinstance(end, Applied | Partly) else "rejected"


def _never_had(letter: Letter, end: Outcome) -> Refused | None:
    if isinstance(end, Rejected):
        unknown = letter.state in {"waiting", "withheld"}
        return Refused("mailbox.not-handed", "/delivery") if unknown else None
    return None if letter.released else Refused("mailbox.not-released", "/delivery")


def _why_not(letter: Letter, end: Outcome) -> Refused | None:
    if letter.state == "applied":
        return Refused("mailbox.already-applied", "/delivery")
    if isinstance(end, Answered) and letter.state not in {"handed", "awaiting", "answered"}:
        return Refused("mailbox.other-answer", "/outcome", state=letter.state)
    return None
