"""Bodies: what a portal sends for a citizen, as JSON with keys that stay.

Refuses: a member that is not asked for, a type that is not the one asked for, more than fits.
Keeps: a field of a citizen is in no repr.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field

from broker.people.pivot import PivotIdentity
from broker.services.citizens.forms import Form
from broker.services.citizens.households import Person as Other
from broker.web.common.bodies import BATCH, FIELD, Body, Person, Uuid, named
from schemas.errors import Refused
from schemas.names import Capacity, EventType, Instant, from_rfc3339

T = TypeVar("T")

TOKEN_LENGTH: Final = 16_384
Names = Annotated[list[Annotated[str, Field(max_length=64, pattern=FIELD)]], Field(min_length=1, max_length=200)]
Type = Annotated[str, Field(max_length=200, description="As `GET /types` lists it.")]
Digest = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the text that you have shown, in UTF-8, hexadecimal.")
]
At = Annotated[str, Field(max_length=40, description="An instant, RFC 3339.")]
Record = Annotated[
    dict[str, Any],
    Field(
        max_length=200,
        repr=False,
        description="The fields of the type, without `subject`, `declarant` and `capacity`, which the session fills in."
        " What may be null, and lists that are empty, can be left out.",
    ),
]
Code = Annotated[str, Field(min_length=1, max_length=64, repr=False)]


class SignIn(Body):
    """What FranceConnect has signed for you, within its 60 seconds, exactly as it came."""

    id_token: str = Field(min_length=1, max_length=TOKEN_LENGTH, repr=False)
    userinfo: str = Field(min_length=1, max_length=TOKEN_LENGTH, repr=False, description="The signed JWT.")
    nonce: str = Field(min_length=1, max_length=128, repr=False, description="The one that `POST /nonces` gave.")
    language: Literal["fr", "en"] = "fr"


class Filled(Body):
    """A form: the type, its fields, and whom it is about where that is somebody whom the citizen represents."""

    event_type: Type
    record: Record
    person: Person | None = Field(None, repr=False, description="Left out: the citizen.")
    capacity: Literal["parent", "guardian"] | None = Field(None, description="With `person` alone.")

    def form(self) -> Form:
        """As the services take it. Raises Refused `name.event-type`, `citizens.capacity`."""
        event_type = named(EventType, self.event_type, "/event_type")
        if (self.person is None) != (self.capacity is None):
            raise Refused("citizens.capacity", "/capacity")
        if self.person is None or self.capacity is None:
            return Form(event_type, self.record)
        return Form(event_type, self.record, pivot(self.person), Capacity(self.capacity))


class Declare(Filled):
    """A form that is handed in, under the id that it carries from the start."""

    form_id: Uuid


class Member(Body):
    """Another person of a household. Without `capacity` an adult, who gets a code and confirms by themselves."""

    person: Person = Field(repr=False)
    capacity: Literal["parent", "guardian"] | None = None
    record: Record = Field({}, repr=False, description="What is different for them.")

    def other(self) -> Other:
        """As the services take it."""
        return Other(pivot(self.person), None if self.capacity is None else Capacity(self.capacity), self.record)


class Household(Body):
    """One form about the citizen and others."""

    form_id: Uuid
    event_type: Type
    record: Record
    others: list[Member] = Field(max_length=BATCH, repr=False)


class Confirm(Body):
    """An adult confirms, with what they declare themselves."""

    form_id: Uuid
    code: Code
    event_type: Type
    record: Record


class Decline(Body):
    """An adult refuses."""

    code: Code


class Cancel(Body):
    """Why it is taken back."""

    reason: Literal["changed-mind", "mistake", "not-mine", "other"]


class Acknowledge(Body):
    """What was declared, from the citizen's own browser: its values are on the paper, and kept nowhere."""

    record: dict[str, Any] | None = Field(None, max_length=200, repr=False)


class Number(Body):
    """The citizen's number at an administration that has not found them."""

    recipient: str = Field(max_length=100)
    number_kind: str = Field(min_length=1, max_length=100)
    number: str = Field(min_length=1, max_length=100, repr=False)


class Repair(Number):
    """The same, agreed to: `until` and `text_sha256` as the explanation told them."""

    until: At
    text_sha256: Digest


class Wish(Body):
    """What the citizen means to allow."""

    recipient: str = Field(max_length=100)
    event_type: Type
    purpose: str = Field(max_length=64)
    fields: Names
    until: At | None = Field(None, description="Left out: the longest.")
    once: bool = Field(False, description="For one declaration only: the next one.")
    by_choice: bool = Field(False, description="Where a text of law lets citizens choose who hears.")
    include_latest: bool = Field(False, description="The latest declaration of this type, made before, goes too.")


class Agree(Wish):
    """The same, agreed to: `until` and `text_sha256` as the preview told them."""

    until: At
    text_sha256: Digest


class Version(Body):
    """The version of the grant that you have shown."""

    version: int = Field(ge=1, le=2**31 - 1)


class Narrow(Version):
    """The fields that stay."""

    fields: Names


class Objection(Body):
    """Why the citizen objects: one word, in lower case."""

    reason: str = Field("personal-situation", max_length=64, pattern=r"^[a-z][a-z0-9-]*$")


def pivot(one: Person) -> PivotIdentity:
    """The six facts of a person."""
    return PivotIdentity(
        family_name=one.family_name,
        given_names=tuple(one.given_names),
        birthdate=one.birthdate,
        gender=one.gender,
        birthplace=one.birthplace or "",
        birthcountry=one.birthcountry,
    )


def instant(text: str, pointer: str) -> Instant:
    """Raises Refused `api.instant`."""
    at = from_rfc3339(text)
    if at is None:
        raise Refused("api.instant", pointer)
    return at


def known(kind: Callable[[str], T], text: str, unknown: Refused) -> T:
    """An id of a path; what is no id is as unknown as one that never was."""
    try:
        return kind(text)
    except Refused:
        raise unknown from None
