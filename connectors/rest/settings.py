"""Settings of the `rest` connector, and what of them makes a delivery be done once.

Refuses: settings that contradict one another; headers that this program writes itself.
Keeps: every secret may stand in a file of its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from connectors.contract import Settings
from connectors.peers import endpoint
from connectors.rest.template import DELIVERY, named, path_template
from connectors.secret_files import Secret

_OURS: Final = frozenset(
    {
        *("host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "authorization"),
        *("te", "trailer", "upgrade", "expect", "accept-encoding", "user-agent"),
    }
)
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
_Pointer = Annotated[str, StringConstraints(pattern=r"^(/([^~]|~[01])*)?$", max_length=200)]
_Path = Annotated[str, AfterValidator(path_template), Field(max_length=1_000)]
_Url = Annotated[str, AfterValidator(endpoint)]
_Scalar = str | int | bool | None


class Basic(Settings):
    """A name and a password with each call."""

    kind: Literal["basic"]
    user: Annotated[str, StringConstraints(pattern=r"^[^:\x00-\x1f\x7f]{1,200}$")]
    password: Secret


class Bearer(Settings):
    """A token that somebody gave out once."""

    kind: Literal["bearer"]
    token: Secret


class OAuth2(Settings):
    """OAuth 2.0 client credentials (RFC 6749, 4.4): a token is fetched, and used until it ends."""

    kind: Literal["oauth2"]
    token_url: _Url
    client_id: Annotated[str, Field(min_length=1, max_length=200)]
    client_secret: Secret
    scope: str | None = None
    shown_in: Literal["header", "body"] = "header"
    """Where the secret is shown: in the header (Basic, as the standard wants), or in the form."""


class Find(Settings):
    """How a delivery is looked for in the system. 404: it is not there."""

    path: _Path
    """A path with `{delivery_id}` in it: `/moves?ref={delivery_id}`. A GET, with nothing of the row."""
    entries: _Pointer | None = None
    """Where the answer is a list, the pointer to it; an empty one: it is not there."""

    @model_validator(mode="after")
    def _by_id(self) -> Self:
        if set(named(self.path)) != {DELIVERY}:
            raise ValueError("{delivery_id} and no column")
        return self


class Ok(Settings):
    """What an answer says when it really is one."""

    at: _Pointer
    equals: _Scalar


class Rule(Settings):
    """What an answer with this status, or this code, means."""

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    code: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")] | None = None
    """Compared with what stands at `code` in the answer."""
    means: Literal[
        "applied",
        "already-there",
        "unknown-person",
        "several-persons",
        "document-needed",
        "awaiting-human",
        "rejected",
        "retry",
    ]
    days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    """Of `awaiting-human`: within how many days somebody decides."""

    @model_validator(mode="after")
    def _said(self) -> Self:
        if self.status is None and self.code is None:
            raise ValueError("a status, a code, or both")
        if (self.days is None) is (self.means == "awaiting-human"):
            raise ValueError("days belong to awaiting-human, and it needs them")
        return self


class RestSettings(Settings):
    """Settings of a `rest` connector."""

    url: _Url
    """The address that all paths stand below: https://api.ville.example/v2"""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    path: _Path
    """A template: `/persons/{number}/moves`. `{delivery_id}` is the delivery's own id."""
    body: Mapping[str, Any] | None = None
    """A template: nested JSON, in which a text `{column}` becomes the column's value. Without: the row, flat."""
    nested: tuple[str, ...] = ()
    """Columns that may hold a list or an object; any other holds one value."""
    headers: Annotated[Mapping[_Name, Secret], Field(max_length=32)] = Field(default_factory=dict)
    """Fixed headers of each call, such as a key that an API gateway asks for."""
    auth: Annotated[Basic | Bearer | OAuth2, Field(discriminator="kind")] | None = None
    """How the program shows who it is: `basic`, `bearer` or `oauth2`; nothing: not at all, or by its certificate."""
    certificate_file: Path | None = None
    """The program's own certificate (PEM), where the server asks for one (mTLS)."""
    key_file: Path | None = None
    """Its key (PEM), without a password."""
    ca_file: str | None = None
    """Certificates of the agency's own authority (PEM), where the system's store lacks it."""
    key_header: _Name = "Idempotency-Key"
    """The header with the delivery's id, the same at each attempt."""
    remembers_key: bool = False
    """The system does a second call under the same key not again, but answers as the first time. Ask its maker."""
    find: Find | None = None
    """How a delivery is found there, when an answer was lost."""
    settles_s: Annotated[int, Field(ge=0, le=3_600)] = 120
    """For so many seconds after a lost call, what is not found may still appear."""
    at_least_once: bool = False
    """The system offers nothing of all this, and you accept that what is asked again may be done twice."""
    json_answer: bool = True
    """A body in an answer is JSON; anything else is a sign-in page or a proxy's. `false`: the status alone counts."""
    ok: Ok | None = None
    """Where the system answers 200 with an error inside: what stands there when all is well."""
    code: _Pointer | None = None
    """The pointer to the code of an error in the answer: `/error/code`"""
    answers: Annotated[tuple[Rule, ...], Field(max_length=64)] = ()
    """What certain answers mean; the first rule that fits counts. `409` means nothing that is not said here."""
    reference: _Pointer | None = None
    """The pointer to the system's own number in the answer: `/id`. Never one that identifies a person."""
    journal: Path
    """A file of this connector's; one process has it at a time."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 20
    """How long an answer is waited for, in seconds; a shorter `deadline_s` of the route (30) ends the wait."""

    @property
    def once(self) -> bool:
        """Whether what is asked again is not done twice."""
        return (
            self.remembers_key
            or self.find is not None
            or (self.method == "PUT" and DELIVERY in named(self.path))
            or any(rule.means == "already-there" for rule in self.answers)
        )

    @property
    def by_looking_alone(self) -> bool:
        """Whether a call that may still be at work has to be waited for, since a second one would be done, too."""
        return self.find is not None and not self.model_copy(update={"find": None}).once

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.certificate_file is None) is not (self.key_file is None):
            raise ValueError("a certificate and its key, or neither")
        names = [name.lower() for name in (*self.headers, self.key_header)]
        if len(set(names)) < len(names) or not _OURS.isdisjoint(names):
            raise ValueError("a header twice, or one that the program writes itself")
        if self.code is None and any(rule.code is not None for rule in self.answers):
            raise ValueError("a rule by code needs the pointer `code`")
        list(named(self.body))  # too deep, where it is
        return self
