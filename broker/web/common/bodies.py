"""Bodies: what the agencies' API takes and gives, as JSON with keys that stay.

Refuses: a member that is not asked for, a type that is not the one asked for (`"1"` is no number), more than a batch.
Keeps: identifiers of 16 bytes are UUIDs, digests hexadecimal, bytes base64url without padding, instants RFC 3339; a
field of a citizen is in no repr.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from broker.flow.gate import MOST
from schemas.errors import Refused
from schemas.text import check_count, check_unicode

WAIT_SECONDS: Final = 20
BATCH: Final = 100
"""Declarations in one request."""
AFTER_SECONDS: Final = 86_400
"""A longer wait is none that an agency may ask for: it pauses its subscription."""

T = TypeVar("T")

UUID: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
FIELD: Final = r"^[a-z][a-z0-9_]*$"
"""Of a field's name: one that does not exist is told back, so it is nothing else."""
Uuid = Annotated[str, Field(pattern=UUID)]
Bytes = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Body(BaseModel):
    """Whatever an agency sends as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Pull(Body):
    """How much, and how long to wait for the first one."""

    max: int = Field(100, ge=1, le=MOST)
    wait: int = Field(0, ge=0, le=WAIT_SECONDS, description="Seconds to wait when nothing is there.")


class Acknowledgement(Body):
    """What became of one delivery, or that it comes later. `code` is the agency's own, for its operator; never a value.

    `technical` is a rejection because your system failed. `unknown-person`, `several-persons` and `document-needed` are
    the person's to repair; `awaiting-human` says by which day somebody decides; `partly` which fields were taken.
    """

    delivery: Uuid
    outcome: Literal[
        "applied",
        "partly",
        "rejected",
        "technical",
        "unknown-person",
        "several-persons",
        "document-needed",
        "awaiting-human",
        "later",
    ]
    code: str | None = Field(None, max_length=64, pattern=r"^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$")
    reason: Literal["invalid-delivery", "mapping", "system-refused"] | None = None
    after: int | None = Field(None, ge=0, le=AFTER_SECONDS, description="Seconds to wait at least; with `later` alone.")
    until: str | None = Field(
        None, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A day; with `awaiting-human` alone."
    )
    fields: list[Annotated[str, Field(max_length=64, pattern=FIELD)]] | None = Field(
        None, min_length=1, max_length=200, description="What was taken of what was delivered; with `partly` alone."
    )


class Acknowledge(Body):
    """The ends of deliveries."""

    acknowledgements: list[Acknowledgement] = Field(min_length=1, max_length=MOST)


class Release(Body):
    """Deliveries whose keys are wanted once more."""

    deliveries: list[Uuid] = Field(min_length=1, max_length=MOST)


class Replay(Body):
    """Own dead letters to be tried again: these, or those that died at an instant or later, the oldest first."""

    deliveries: list[Uuid] | None = Field(None, min_length=1, max_length=BATCH)
    since: str | None = Field(None, max_length=40, description="An instant, RFC 3339.")


class Person(Body):
    """A citizen's pivot identity, as FranceConnect gives it."""

    family_name: str = Field(max_length=200, repr=False)
    given_names: list[Annotated[str, Field(max_length=200)]] = Field(max_length=20, repr=False)
    birthdate: str = Field(max_length=10, repr=False)
    gender: str = Field(max_length=20, repr=False)
    birthplace: str | None = Field(None, max_length=5, repr=False)
    birthcountry: str = Field(max_length=5, repr=False)


Capacities = Literal["parent", "guardian", "next_of_kin", "agent"]


class Resolve(Body):
    """Whom a declaration will be about, and who declares for that person, if somebody does."""

    subject: Person = Field(repr=False)
    declarant: Person | None = Field(None, repr=False)
    capacity: Capacities | None = Field(None, description="In which capacity the declarant speaks.")


class FormMember(Body):
    """One person of a household: their signed envelope, in base64url, or the token of an adult who has to confirm."""

    declaration: Bytes | None = Field(None, repr=False)
    subject_token: Bytes | None = Field(None, repr=False)


class Form(Body):
    """A household, the declarant first."""

    members: list[FormMember] = Field(max_length=BATCH, repr=False)


class Decline(Body):
    """The code of an adult."""

    code: str = Field(min_length=1, max_length=64, repr=False)


class Confirm(Decline):
    """The code of an adult, and their signed envelope, in base64url."""

    declaration: Bytes = Field(repr=False)


class Represent(Body):
    """Who may act for whom, on which ground, for what, from when to when."""

    representative: Person = Field(repr=False)
    subject: Person = Field(repr=False)
    measure: str = Field(max_length=40)
    proof: str = Field(max_length=120, description="Where the act is found: its reference, without any name.")
    event_types: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=BATCH, description="For which declarations; all, where it is left out."
    )
    purposes: list[Annotated[str, Field(max_length=64)]] | None = Field(
        None, max_length=BATCH, description="For which consents; all, where it is left out."
    )
    begins_at: str | None = Field(None, max_length=40, description="An instant, RFC 3339; now, where it is left out.")
    ends_at: str | None = Field(None, max_length=40, description="An instant, RFC 3339.")


class Renamed(Body):
    """Who somebody was, and who they are."""

    old: Person = Field(repr=False)
    new: Person = Field(repr=False)


class Declarations(Body):
    """Signed envelopes, each in base64url."""

    declarations: list[Bytes] = Field(min_length=1, max_length=BATCH, repr=False)


class Ask(Body):
    """What an administration wants to receive."""

    event_type: str = Field(max_length=200)
    purpose: str = Field(max_length=64)
    fields: list[Annotated[str, Field(max_length=64, pattern=FIELD)]] = Field(min_length=1, max_length=200)
    territories: list[Annotated[str, Field(max_length=9)]] | None = Field(None, min_length=1, max_length=40_000)
    least_assurance: str = Field("none", max_length=16)
    least_quality: str = Field("declared", max_length=16)


def named(kind: Callable[[str], T], text: str, pointer: str) -> T:
    """A name of the protocol. Raises Refused `name.*` at its place."""
    try:
        return kind(text)
    except Refused as fault:
        raise fault.under(pointer) from None


def read_json(raw: bytes) -> Any:
    """JSON as RFC 7493 (I-JSON) has it between strangers: UTF-8 without a mark, no member twice, no number that is
    none, no half of a character (`"\\ud800"`), which nothing that writes or hashes text could take.

    Raises ValueError; RecursionError for what is too deep.
    """
    check_count(raw)
    told = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_none)
    check_unicode(told)
    return told


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        raise ValueError("a member twice")
    return told


def _none(_: str) -> Any:
    raise ValueError("no number")


def b64u(raw: bytes) -> str:
    """Bytes in base64url, without padding."""
    return urlsafe_b64encode(raw).decode().rstrip("=")


def from_b64u(text: str, pointer: str) -> bytes:
    """The bytes that this text is, exactly. Raises Refused `api.base64`."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raw = b""
    if b64u(raw) != text:
        raise Refused("api.base64", pointer)
    return raw
