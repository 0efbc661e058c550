"""A broker in memory, for an agency's own tests: no server, no port, no file. The agency's real client talks to it.

    broker = TestBroker()
    town = broker.agency(PartyId("urn:fr:siret:21350238800019"))      # its keys, and the directory to pin
    broker.grant(town.party, AddressChanged.event_type, ["subject", "new_address"])
    broker.declare(AddressChanged(...))
    with BlockingClient.open(broker.url, broker.token(town.party), transport=broker.transport) as client: ...

Refuses: what the real broker's intake, mailbox and gate refuse, with the same codes.
Keeps: nothing is short-cut: declarations are signed and sealed, verified at the door, locked with a consent's key, and
released with two keys by the functions of `schemas` that everybody uses. Revoking a grant destroys its key.

What it is not: there is no ledger but for the key that signs the directory (entries in statements are random) and no
subscription; a grant is everybody's.
"""

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors.contract import Agency
from connectors.testing_directory import Chain
from connectors.testing_http import Answers, Transport
from connectors.testing_mail import Grant, Mailboxes
from schemas.catalogue import Catalogue, builtin
from schemas.declaration import Source, declare
from schemas.directory import Directory, PolicyEntry, PublishingRight, SealingKeyEntry, SigningKeyEntry
from schemas.envelope import SignedDeclaration, VerifiedDeclaration, verify_declaration
from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.intake_receipt import IntakeReceipt
from schemas.names import DeclarationId, DeliveryId, EventType, GrantId, Instant, PartyId, uuid7
from schemas.record_base import Event
from schemas.records import plain
from schemas.signing import Algorithm, PrivateKey

BROKER: Final = PartyId("urn:unefois:test-broker")
SOURCE: Final = PartyId("urn:unefois:test-source")
START: Final = Instant(1_795_521_493_000)
"""2026-11-24, the first instant of every test."""
_DAY_MS: Final = 86_400_000


@dataclass(slots=True)
class Key:
    """A key of somebody's, from when it counts and when it was revoked."""

    party: PartyId
    key: PrivateKey | SealingKey
    since: Instant
    revoked_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A declaration that came in, with the bytes that it came in as."""

    envelope: bytes
    verified: VerifiedDeclaration
    subject: str
    receipt: Mapping[str, Any]


@dataclass(repr=False)
class TestBroker:
    """A broker with a source of its own. `now` is its clock: move it with `advance`; leases and validity follow it.

    `entropy(n)` gives n random bytes; with a fixed one every id is the same in each run.
    """

    __test__ = False  # pytest: a helper, not a class of tests

    now: Instant = START
    entropy: Callable[[int], bytes] = secrets.token_bytes
    catalogue: Catalogue = field(default_factory=builtin)
    url: str = "https://broker.test.example"
    lease_ms: int = 60_000
    kept: dict[DeclarationId, Kept] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    rights: list[tuple[PartyId, EventType]] = field(default_factory=list)
    mail: Mailboxes = field(init=False)
    chain: Chain = field(init=False)
    """The directory as it was shown. `chain.ledger` is what an agency gives its `Pin`."""
    answers: Answers = field(init=False)
    """What the API answers: it can be told to fail."""
    _tokens: dict[str, PartyId] = field(default_factory=dict)
    _subjects: dict[bytes, tuple[PartyId, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        since = Instant(self.now - _DAY_MS)
        self._signer = self._signing(SOURCE, since)
        gate = SealingKey.from_raw(Suite.X25519, self.entropy(32))
        self.keys.append(Key(BROKER, gate, since))
        self._broker = self._signing(BROKER, since)
        self.mail = Mailboxes(self.entropy, self._broker, gate, self.lease_ms)
        self.rights += ((SOURCE, event.event_type) for event in self.catalogue)
        self.answers = Answers(self)
        self.chain = Chain(PrivateKey.from_raw(Algorithm.ED25519, self.entropy(32)))

    @property
    def transport(self) -> Transport:
        """What `Client.open` and `BlockingClient.open` take as `transport`."""
        return Transport(self.answers)

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now = Instant(self.now + milliseconds)

    def agency(self, party: PartyId, suite: Suite = Suite.X25519) -> Agency:
        """A recipient with a fresh key. Again for the same party: a further key, the one to seal to from now on."""
        raw = self.entropy(32 if suite is Suite.X25519 else 96)
        self.keys.append(Key(party, SealingKey.from_raw(suite, raw), self.now))
        mine = {
            each.key.kid: each.key for each in self.keys if each.party == party and isinstance(each.key, SealingKey)
        }
        return Agency(party, mine, self.directory(), self.catalogue)

    def source(self, party: PartyId, *event_types: EventType, algorithm: Algorithm = Algorithm.ED25519) -> Source:
        """A further source with a fresh key, that may declare these types."""
        self.rights += ((party, event_type) for event_type in event_types)
        return Source(party, (self._signing(party, self.now, algorithm),), int(algorithm))

    def token(self, party: PartyId) -> str:
        """A token with which this party may do all that the API offers."""
        made = f"unefois_{self.entropy(8).hex()}_{secrets.token_urlsafe(32)}"
        self._tokens[made] = party
        return made

    def directory(self) -> Directory:
        """Who holds which key and may declare what, as of now."""
        since = {each.party: each.since for each in reversed(self.keys)}
        signing, sealing, policies = [], [], []
        for one in self.keys:
            if isinstance(one.key, SealingKey):
                entry = SealingKeyEntry(
                    one.key.kid, one.party, one.key.suite, one.key.public, one.since, None, one.revoked_at
                )
                sealing.append(entry)
                continue
            kind = one.key.algorithm
            signing.append(
                SigningKeyEntry(one.key.kid, one.party, kind, one.key.public, one.since, None, one.revoked_at)
            )
            policies.append(PolicyEntry(one.party, int(kind), one.since))
        rights = [PublishingRight(party, event_type, since[party]) for party, event_type in dict.fromkeys(self.rights)]
        first = list({each.party: each for each in reversed(policies) if each.party != BROKER}.values())
        return Directory.of(signing, sealing, rights, first, BROKER)

    def grant(
        self, recipient: PartyId, event_type: EventType, fields: Collection[str], *, purpose: str = "local-services"
    ) -> GrantId:
        """From now on, declarations of this type go to this recipient with these fields."""
        event = self.catalogue.by_type(event_type)
        indices = tuple(sorted(event.field(name).index for name in fields))
        grant_id = GrantId(uuid7(self.now, self.entropy(10)))
        self.mail.grant(grant_id, Grant(recipient, event_type, indices, purpose, self.entropy(32)))
        return grant_id

    def revoke(self, grant_id: GrantId) -> None:
        """Destroy the grant's key: what was not released yet is withheld for ever."""
        self.mail.revoke(grant_id)

    def resolve(self, source: PartyId, person: str) -> bytes:
        """A token for a person; `person` is any text that is the same for the same person."""
        token = self.entropy(32)
        self._subjects[token] = (source, person)
        return token

    def declare(
        self,
        record: Event | Mapping[str, Any],
        event_type: EventType | None = None,
        *,
        source: Source | None = None,
        corrects: DeclarationId | None = None,
        lifetime_ms: int = 30 * _DAY_MS,
    ) -> DeclarationId:
        """Declare as the test's own source, or as another one, and route. Raises Refused like `schemas.declaration`."""
        chosen = record.event_type if isinstance(record, Event) else event_type
        if chosen is None:
            raise Refused("draft.no-type")
        told = plain(record) if isinstance(record, Event) else record
        by, event = source or Source(SOURCE, (self._signer,), 1), self.catalogue.by_type(chosen)
        signed = declare(
            by,
            event,
            told,
            subject_token=self.resolve(by.party, repr(told["subject"])),
            gate=self.directory().current_sealing_key(BROKER, self.now),
            at=self.now,
            lifetime_ms=lifetime_ms,
            declaration_id=DeclarationId(uuid7(self.now, self.entropy(10))),
            entropy=self.entropy,
            corrects=corrects,
        )
        return self.accept(signed.encode(), by.party).verified.manifest.declaration_id

    def accept(self, envelope: bytes, sender: PartyId) -> Kept:
        """Take a signed envelope as the intake does, and route it at once.

        Raises Refused: `intake.other-source`, `.id-reused`, `identity.token-forged`, those of `verify_declaration`.
        """
        signed = SignedDeclaration.decode(envelope)
        verified = verify_declaration(signed, self.directory(), self.catalogue, self.now)
        manifest = verified.manifest
        if manifest.source != sender:
            raise Refused("intake.other-source", "/payload/source")
        before = self.kept.get(manifest.declaration_id)
        if before is not None:
            if before.envelope != envelope:
                raise Refused("intake.id-reused", "/payload/declaration_id")
            return before
        whose, subject = self._subjects.get(signed.slip.subject_token, (None, ""))
        if whose != sender:
            raise Refused("identity.token-forged", "/slip/subject_token")
        receipt = IntakeReceipt(BROKER, sender, manifest.declaration_id, verified.digest, self.now).sign(self._broker)
        kept = self.kept[manifest.declaration_id] = Kept(envelope, verified, subject, json.loads(receipt))
        original = None if manifest.corrects is None else self.kept.get(manifest.corrects)
        self.mail.route(verified, subject, self.now, original)
        return kept

    def deliveries(self, recipient: PartyId) -> Mapping[DeliveryId, str]:
        """Every delivery of a recipient with its state: waiting, handed, applied, rejected, withheld."""
        return self.mail.states(recipient, self.now)

    def repaired(self, delivery: DeliveryId) -> None:
        """The person has added their number, and it was applied: what was answered comes again. Raises Refused
        `repair.nothing`.
        """
        self.mail.again(delivery)

    def rotate_source(self) -> PrivateKey:
        """A new key of the test's own source: from now on it signs; the old one stays good for what it signed."""
        self._signer = self._signing(SOURCE, self.now)
        return self._signer

    def revoke_key(self, key: PrivateKey) -> None:
        """The directory says from now on that this key was revoked."""
        self.keys[:] = [replace(each, revoked_at=self.now) if each.key is key else each for each in self.keys]

    def whose(self, token: str) -> PartyId | None:
        """Whose token this is."""
        return self._tokens.get(token)

    def _signing(self, party: PartyId, since: Instant, algorithm: Algorithm = Algorithm.ED25519) -> PrivateKey:
        key = PrivateKey.from_raw(algorithm, self.entropy(32))
        self.keys.append(Key(party, key, since))
        return key
