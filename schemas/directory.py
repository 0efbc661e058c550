"""The directory: what everybody pins. Who holds which key, from when to when, and who may publish what.

Refuses: a key whose id is not its hash, a key that signing.py or hpke.py would not trust, the same key twice; a
question about a key or a right that it does not hold (empty means deny).
Keeps: it is immutable and answers for an instant that the caller names, so an old declaration is judged by the keys of
its own day; its JSON form is exact, so that two parties can compare what they pinned by comparing bytes.

Validity. A key is good from `valid_from` to `valid_to`, both included, and from `revoked_at` on it is not. A signer
chooses `issued_at`, so the thief of a key can write an instant before the revocation. The directory cannot see that;
the intake can, and asks about the instant of receipt too. Whoever verifies without having received (a recipient, an
auditor) relies on the broker's ledger for the time of receipt. Retire a key with `valid_to`, revoke a stolen one.
Source: docs/protocol.md 1, 4 and 7.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

from schemas import hpke, signing
from schemas.errors import Refused
from schemas.names import EventType, Instant, Kid, PartyId
from schemas.retractions import RECALLED, RETRACTIONS


@dataclass(frozen=True, slots=True)
class SigningKeyEntry:
    """A party's public signing key and when it may sign."""

    kid: Kid
    party: PartyId
    algorithm: signing.Algorithm
    public: bytes = field(repr=False)
    valid_from: Instant
    valid_to: Instant | None = None
    revoked_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class SealingKeyEntry:
    """A party's public HPKE key and when others may seal to it."""

    kid: Kid
    party: PartyId
    suite: hpke.Suite
    public: bytes = field(repr=False)
    valid_from: Instant
    valid_to: Instant | None = None
    revoked_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class PublishingRight:
    """A party may declare events of one type."""

    party: PartyId
    event_type: EventType
    valid_from: Instant
    valid_to: Instant | None = None


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """From this instant the party's declarations need the signatures of this policy (`signing.POLICIES`)."""

    party: PartyId
    policy: int
    valid_from: Instant


_Key = TypeVar("_Key", SigningKeyEntry, SealingKeyEntry)
_Entry = TypeVar("_Entry")
_Group = TypeVar("_Group")


@dataclass(frozen=True, slots=True)
class Directory:
    """Every key, right and policy that one pins; made by `Directory.of`."""

    broker: PartyId
    signing: tuple[SigningKeyEntry, ...]
    sealing: tuple[SealingKeyEntry, ...]
    rights: tuple[PublishingRight, ...]
    policies: tuple[PolicyEntry, ...]
    _signing: Mapping[Kid, SigningKeyEntry] = field(repr=False, compare=False)
    _sealing: Mapping[Kid, SealingKeyEntry] = field(repr=False, compare=False)
    _sealing_of: Mapping[PartyId, tuple[SealingKeyEntry, ...]] = field(repr=False, compare=False)
    _rights_of: Mapping[tuple[PartyId, EventType], tuple[PublishingRight, ...]] = field(repr=False, compare=False)
    _policies_of: Mapping[PartyId, tuple[PolicyEntry, ...]] = field(repr=False, compare=False)

    @classmethod
    def of(
        cls,
        signing: Iterable[SigningKeyEntry],
        sealing: Iterable[SealingKeyEntry],
        rights: Iterable[PublishingRight],
        policies: Iterable[PolicyEntry],
        broker: PartyId,
    ) -> Self:
        """A directory of these entries, in any order, each checked.

        `broker` is the party whose signing keys sign statements and to whose sealing keys the DEKs are addressed.
        Raises Refused `directory.*`, `signing.*`, `hpke.*`.
        """
        signers = tuple(sorted(signing, key=attrgetter("kid")))
        sealers = tuple(sorted(sealing, key=attrgetter("kid")))
        allowed = tuple(sorted(rights, key=attrgetter("party", "event_type", "valid_from")))
        demanded = tuple(sorted(policies, key=attrgetter("party", "valid_from")))
        for number, signer in enumerate(signers):
            _check_signing(signer, f"/signing/{number}")
        for number, sealer in enumerate(sealers):
            _check_sealing(sealer, f"/sealing/{number}")
        for number, right in enumerate(allowed):
            _check_period(right.valid_from, right.valid_to, f"/rights/{number}")
        for number, entry in enumerate(demanded):
            _check_policy(entry, demanded[number - 1] if number else None, f"/policies/{number}")
        return cls(
            broker,
            signers,
            sealers,
            allowed,
            demanded,
            _one_each(signers),
            _one_each(sealers),
            _grouped(sorted(sealers, key=attrgetter("valid_from", "kid"), reverse=True), lambda entry: entry.party),
            _grouped(allowed, lambda right: (right.party, right.event_type)),
            _grouped(reversed(demanded), lambda entry: entry.party),
        )

    def to_json(self) -> str:
        """The directory as JSON text: sorted, indented, ends with a newline; equal directories give equal text."""
        lists = {name: [_written(entry) for entry in getattr(self, name)] for name in _ENTRY}
        return json.dumps({"broker": self.broker, **lists}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The directory that `to_json` wrote, byte for byte.

        Raises Refused `directory.malformed`, `directory.not-exact` (spaces, order, case, a key twice), or like `of`.
        """
        try:
            whole = json.loads(text)
            broker = PartyId(whole.pop("broker"))
            lists = {name: [_read(entry, raw) for raw in whole.pop(name)] for name, entry in _ENTRY.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Refused):
            raise Refused("directory.malformed") from None
        directory = cls.of(**lists, broker=broker)
        if directory.to_json() != text:
            raise Refused("directory.not-exact")
        return directory

    def signing_key(self, kid: Kid) -> SigningKeyEntry:
        """The entry of this key id, valid or not. Raises Refused `directory.unknown-key`."""
        entry = self._signing.get(kid)
        if entry is None:
            raise Refused("directory.unknown-key", kid=kid.hex())
        return entry

    def sealing_key(self, kid: Kid) -> SealingKeyEntry:
        """The entry of this key id, valid or not. Raises Refused `directory.unknown-sealing-key`."""
        entry = self._sealing.get(kid)
        if entry is None:
            raise Refused("directory.unknown-sealing-key", kid=kid.hex())
        return entry

    def current_sealing_key(self, party: PartyId, at: Instant) -> SealingKeyEntry:
        """The party's valid key that became valid last: with overlap, the new one.

        Raises Refused `directory.no-sealing-key`.
        """
        for entry in self._sealing_of.get(party, ()):
            if entry.valid_from <= at and not _over(entry.valid_to, at) and not _revoked(entry.revoked_at, at):
                return entry
        raise Refused("directory.no-sealing-key", party=party)

    def policy(self, party: PartyId, at: Instant) -> int:
        """Number of the signature policy in force for the party. Raises Refused `directory.no-policy`."""
        for entry in self._policies_of.get(party, ()):
            if entry.valid_from <= at:
                return entry.policy
        raise Refused("directory.no-policy", party=party)

    def check_signer(self, party: PartyId, kid: Kid, at: Instant) -> SigningKeyEntry:
        """The key, if it is this party's and good at this instant.

        Raises Refused `directory.unknown-key`, `.key-of-another-party`, `.key-not-yet-valid`, `.key-expired`,
        `.key-revoked`.
        """
        entry = self.signing_key(kid)
        if entry.party != party:
            raise Refused("directory.key-of-another-party", kid=kid.hex(), party=party)
        check_valid(entry, at)
        return entry

    def check_publishing(self, party: PartyId, event_type: EventType, kid: Kid, at: Instant) -> None:
        """May this key of this party sign events of this type at this instant?

        Who may publish any type may take back what it has declared; the broker may recall for another. Raises what
        `check_signer` raises, and Refused `directory.not-entitled`.
        """
        self.check_signer(party, kid, at)
        rights: Iterable[PublishingRight] = self._rights_of.get((party, event_type), ())
        if event_type in RETRACTIONS:
            if event_type == RECALLED and party == self.broker:
                return
            rights = (right for right in self.rights if right.party == party)
        if any(right.valid_from <= at and not _over(right.valid_to, at) for right in rights):
            return
        raise Refused("directory.not-entitled", party=party, event_type=event_type)

    def check_sealing(self, party: PartyId, kid: Kid, at: Instant) -> SealingKeyEntry:
        """The sealing key, if it is this party's and good at this instant; raises like `check_signer`."""
        entry = self.sealing_key(kid)
        if entry.party != party:
            raise Refused("directory.key-of-another-party", kid=kid.hex(), party=party)
        check_valid(entry, at)
        return entry


def _over(valid_to: Instant | None, at: Instant) -> bool:
    return valid_to is not None and at > valid_to


def _revoked(revoked_at: Instant | None, at: Instant) -> bool:
    return revoked_at is not None and at >= revoked_at


def check_valid(entry: SigningKeyEntry | SealingKeyEntry, at: Instant) -> None:
    """Is the key good at this instant? Raises Refused `directory.key-revoked`, `.key-not-yet-valid`, `.key-expired`."""
    if _revoked(entry.revoked_at, at):
        raise Refused("directory.key-revoked", kid=entry.kid.hex())
    if at < entry.valid_from:
        raise Refused("directory.key-not-yet-valid", kid=entry.kid.hex())
    if _over(entry.valid_to, at):
        raise Refused("directory.key-expired", kid=entry.kid.hex())


def _check_signing(entry: SigningKeyEntry, pointer: str) -> None:
    try:
        signing.check_public(entry.algorithm, entry.public)
    except Refused as fault:
        raise fault.under(pointer) from None
    if entry.kid != signing.kid_of(entry.algorithm, entry.public):
        raise Refused("directory.kid-mismatch", pointer)
    _check_period(entry.valid_from, entry.valid_to, pointer)


def _check_sealing(entry: SealingKeyEntry, pointer: str) -> None:
    try:
        hpke.check_public(entry.suite, entry.public)
    except Refused as fault:
        raise fault.under(pointer) from None
    if entry.kid != hpke.kid_of(entry.suite, entry.public):
        raise Refused("directory.kid-mismatch", pointer)
    _check_period(entry.valid_from, entry.valid_to, pointer)


def _check_period(valid_from: Instant, valid_to: Instant | None, pointer: str) -> None:
    if valid_to is not None and valid_to < valid_from:
        raise Refused("directory.empty-period", pointer)


def _check_policy(entry: PolicyEntry, before: PolicyEntry | None, pointer: str) -> None:
    if entry.policy not in signing.POLICIES:
        raise Refused("directory.unknown-policy", pointer, policy=entry.policy)
    if before is not None and (before.party, before.valid_from) == (entry.party, entry.valid_from):
        raise Refused("directory.two-policies", pointer)


def _whole(raw: object) -> int:
    if type(raw) is not int:  # a bool is an int too, and would be written back as it was read
        raise ValueError
    return raw


def _instant(raw: object) -> Instant:
    return Instant(_whole(raw))


_ENTRY: Final[Mapping[str, type[Any]]] = MappingProxyType(
    {"signing": SigningKeyEntry, "sealing": SealingKeyEntry, "rights": PublishingRight, "policies": PolicyEntry}
)
_READ: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "kid": Kid.parse,
        "party": PartyId,
        "event_type": EventType,
        "algorithm": signing.Algorithm,
        "suite": hpke.Suite,
        "policy": _whole,
        "public": bytes.fromhex,
        "valid_from": _instant,
        "valid_to": lambda raw: None if raw is None else _instant(raw),
        "revoked_at": lambda raw: None if raw is None else _instant(raw),
    }
)


def _written(entry: Any) -> dict[str, str | int | None]:
    values = {member.name: getattr(entry, member.name) for member in fields(entry)}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


def _read(kind: type[Any], raw: Any) -> Any:
    return kind(**{name: _READ[name](value) for name, value in raw.items()})


def _one_each(entries: tuple[_Key, ...]) -> Mapping[Kid, _Key]:
    held: dict[Kid, _Key] = {}
    for entry in entries:
        if entry.kid in held:
            raise Refused("directory.same-key-twice", kid=entry.kid.hex())
        held[entry.kid] = entry
    return MappingProxyType(held)


def _grouped(entries: Iterable[_Entry], key: Callable[[_Entry], _Group]) -> Mapping[_Group, tuple[_Entry, ...]]:
    held: dict[_Group, tuple[_Entry, ...]] = {}
    for entry in entries:
        held[key(entry)] = (*held.get(key(entry), ()), entry)
    return MappingProxyType(held)
