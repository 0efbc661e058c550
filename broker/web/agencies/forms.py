"""Forms: the form of everything that the agencies' API answers when it did what was asked, for its description.

Refuses: nothing.
Keeps: a member that is always there is required, also where it may be null; one that is not always there is
`NotRequired`, and never null. A word that may get company in a later version (a reason, a status) is a text, so that
the clients of today can read it then. No form is called as a member of its own is: generated clients would confuse the
two. The tests hold every answer of a running broker to these forms, without a member more.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from broker.web.common.answered import Code, Problem

At = Annotated[str, Field(description="RFC 3339, UTC.", json_schema_extra={"format": "date-time"})]
Id = Annotated[str, Field(description="A UUID.")]
Digest = Annotated[str, Field(description="SHA-256, in hexadecimal.")]
Bytes = Annotated[str, Field(description="base64url, without padding.")]
Millis = Annotated[int, Field(description="Milliseconds since 1970.")]


class SubjectToken(TypedDict):
    """A person as a declaration names them."""

    subject_token: Bytes
    expires_at: At


class Signature(TypedDict):
    """Of an envelope."""

    keyid: Digest
    sig: Annotated[str, Field(description="base64.")]


class Envelope(TypedDict):
    """A signed text (DSSE)."""

    payload: Annotated[str, Field(description="base64 of the exact bytes that are signed.")]
    payloadType: str
    signatures: list[Signature]


class Accepted(TypedDict):
    """A declaration that is kept: durable once this was answered."""

    declaration: Id
    manifest: Digest
    received_at: At
    repeated: Annotated[bool, Field(description="The same bytes came before; this is the receipt of then.")]
    receipt: Annotated[Envelope, Field(description="The broker's word for it.")]


class WaitingAdult(TypedDict):
    """An adult of a household who has to confirm: give them, and nobody else, their code."""

    member: Annotated[int, Field(description="The place in the form, from 0 on.")]
    code: str
    expires_at: At


class Household(TypedDict):
    """A form that was taken in: its declarant's declaration, and those of the minors, are kept."""

    household: Id
    declarations: Annotated[list[Accepted], Field(description="In the order of the form.")]
    waiting: list[WaitingAdult]


class Refused(TypedDict):
    """An adult has refused: nothing of theirs goes by this form."""

    household: Id
    confirmed: bool


class Representation(TypedDict):
    """That one person may act for another. It names neither."""

    id: Id
    measure: str
    proof: str
    capacity: Annotated[str, Field(description="In which the representative declares.")]
    event_types: Annotated[list[str] | None, Field(description="Null: all.")]
    purposes: Annotated[list[str] | None, Field(description="Null: all.")]
    begins_at: At
    ends_at: At | None
    given_by: str
    recorded_at: At
    ended_at: At | None


class LinkAsked(TypedDict):
    """What was said beside a declaration is written down, where there is anything to write."""

    declaration: Id


class BatchResult(TypedDict):
    """Of one declaration: as `Accepted` where `ok` is true, else its problem. The last three members are there for an
    event type that is on its way out.
    """

    ok: bool
    problem: NotRequired[Problem]
    declaration: NotRequired[Id]
    manifest: NotRequired[Digest]
    received_at: NotRequired[At]
    repeated: NotRequired[bool]
    receipt: NotRequired[Envelope]
    deprecated_at: NotRequired[At | None]
    sunset_at: NotRequired[At | None]
    successor: NotRequired[str | None]


class BatchResultList(TypedDict):
    """In the order in which they were sent."""

    results: list[BatchResult]


DeliveryCounts = TypedDict(
    "DeliveryCounts",
    {
        "sent": int,
        "received": int,
        "in-progress": int,
        "done": int,
        "refused": int,
        "to-complete": int,
        "technical": int,
    },
)
"""How many administrations have it in which state."""


class Followed(TypedDict):
    """How far a declaration got."""

    declaration: Id
    event_type: str
    corrects: Annotated[Id | None, Field(description="The declaration that this one corrects.")]
    received_at: At
    routed_at: Annotated[At | None, Field(description="null: not yet.")]
    deliveries: DeliveryCounts


class Delivery(TypedDict):
    """What waits for you, locked."""

    id: Id
    attempts: Annotated[int, Field(description="How often it was handed out before.")]
    locked: Bytes


class WithheldDelivery(TypedDict):
    """What you do not get, and why."""

    id: Id
    reason: str


class Pulled(TypedDict):
    """Deliveries for one lease, with the keys to open them."""

    deliveries: list[Delivery]
    key_release: Annotated[Bytes | None, Field(description="Sealed to your key; null where there is no delivery.")]
    withheld: list[WithheldDelivery]
    lease_seconds: int


class Result(TypedDict):
    """Of one delivery; `problem` is there where `ok` is false."""

    delivery: Id
    ok: bool
    problem: NotRequired[Problem]


class ResultList(TypedDict):
    """In the order in which they were sent."""

    results: list[Result]


class ReplayResult(Result):
    """Of one delivery; `withheld` is there where `ok` is true: null where it is on its way, else why it is not."""

    withheld: NotRequired[str | None]


class ReplayResultList(TypedDict):
    """One for each delivery that was tried again."""

    results: list[ReplayResult]


class DeadLetter(TypedDict):
    """A delivery that nothing more is done about."""

    delivery: Id | None
    event_type: str | None
    reason: str
    code: str | None
    attempts: int
    at: At


class DeadLetterList(TypedDict):
    """Oldest first."""

    dead_letters: list[DeadLetter]


class StatusWebhook(TypedDict):
    """How one webhook is."""

    id: Id
    status: str
    reason: str | None


class Status(TypedDict):
    """How much waits for you, and since when."""

    party: str
    waiting: int
    handed: Annotated[int, Field(description="Handed out to you, and not acknowledged yet.")]
    oldest_at: At | None
    dead_letters: int
    webhooks: list[StatusWebhook]
    at: At


class SigningKey(TypedDict):
    """A key that signs, and when it may."""

    kid: Digest
    party: str
    algorithm: int
    public: Annotated[str, Field(description="Hexadecimal.")]
    valid_from: Millis
    valid_to: Millis | None
    revoked_at: Millis | None


class SealingKey(TypedDict):
    """A key that others may seal to, and when."""

    kid: Digest
    party: str
    suite: int
    public: Annotated[str, Field(description="Hexadecimal.")]
    valid_from: Millis
    valid_to: Millis | None
    revoked_at: Millis | None


class PublishingRight(TypedDict):
    """Who may declare what."""

    party: str
    event_type: str
    valid_from: Millis
    valid_to: Millis | None


class SignaturePolicy(TypedDict):
    """Which signatures the declarations of a party need."""

    party: str
    policy: int
    valid_from: Millis


class Directory(TypedDict):
    """Who holds which key, and who may publish what."""

    broker: str
    signing: list[SigningKey]
    sealing: list[SealingKey]
    rights: list[PublishingRight]
    policies: list[SignaturePolicy]


class SignedDirectory(TypedDict):
    """The directory with the note that signs it."""

    directory: Annotated[str, Field(description="The exact JSON, as a text.")]
    note: Annotated[str, Field(description="A C2SP signed note.")]


class SignedLaw(TypedDict):
    """The rules by law and the purposes with the note that signs them."""

    law: Annotated[str, Field(description="The exact JSON, as a text.")]
    note: Annotated[str, Field(description="A C2SP signed note.")]


class DirectoryNote(TypedDict):
    """The signed note of one version."""

    version: int
    note: str


class DirectoryNoteList(TypedDict):
    """Oldest first."""

    notes: list[DirectoryNote]


class Jwk(TypedDict):
    """A public key (RFC 7517); which members it has follows from `kty`."""

    kty: str
    kid: Digest
    use: str
    party: str
    alg: NotRequired[str]
    crv: NotRequired[str]
    x: NotRequired[Bytes]
    y: NotRequired[Bytes]
    pub: NotRequired[Bytes]


class JwkSet(TypedDict):
    """The keys that are good now."""

    keys: list[Jwk]


class Label(TypedDict):
    """A name in both languages."""

    fr: str
    en: str


class EventType(TypedDict):
    """An event type with its schema."""

    event_type: str
    schema: Digest
    label: Label
    deprecated_at: At | None
    sunset_at: At | None
    successor: str | None


class EventTypeList(TypedDict):
    """In the order of their names."""

    schemas: list[EventType]


class AvroSchema(TypedDict):
    """An Avro record; it has further members, as Avro lets schemas have."""

    type: str
    name: str
    fields: list[dict[str, Any]]


class Subscription(TypedDict):
    """What you receive, or have asked for."""

    id: Id
    event_type: str
    purpose: str
    fields: list[str]
    territories: Annotated[list[str] | None, Field(description="null: everywhere.")]
    status: Annotated[str, Field(description="asked, approved or ended.")]
    legal_reference: str | None
    approved_at: At | None
    ended_at: At | None
    least_assurance: Annotated[str, Field(description="none, low, counter, substantial or high.")]
    least_quality: Annotated[str, Field(description="declared, certified or authentic.")]
    paused_at: At | None


class SubscriptionList(TypedDict):
    """In the order of their ids."""

    subscriptions: list[Subscription]


class Webhook(TypedDict):
    """Where you are told that deliveries wait. `secret` is there once, where it is new."""

    id: Id
    url: str
    status: Annotated[str, Field(description="proving, active, disabled or ended.")]
    reason: str | None
    changed_at: At
    attempts: int
    next_at: At | None
    mailed_at: At | None
    mail_code: str | None
    symmetric: bool
    public_keys: list[str]
    secret: NotRequired[str]


class WebhookList(TypedDict):
    """In the order of their ids."""

    webhooks: list[Webhook]


class Attempt(TypedDict):
    """Something that was sent to a webhook, and what was answered."""

    message: Id
    type: str
    at: At
    duration_ms: int
    status: Annotated[int | None, Field(description="The HTTP status of the answer; null where there was none.")]
    code: Annotated[Code | None, Field(description="Why there was none.")]


class AttemptList(TypedDict):
    """Newest first."""

    attempts: list[Attempt]


class Challenge(TypedDict):
    """What shows that you hold a new key: sign `challenge`, or open `sealed`."""

    challenge: Bytes
    sealed: Bytes | None
    expires_at: At


class ListedKey(TypedDict):
    """A key that the directory has now."""

    kid: Digest
    valid_from: At


class Token(TypedDict):
    """An access token (RFC 6749, section 5.1)."""

    access_token: str
    token_type: str
    expires_in: Annotated[int, Field(description="Seconds.")]
    scope: str


class TokenError(TypedDict):
    """Why there is none (RFC 6749, section 5.2)."""

    error: str
    code: Code
