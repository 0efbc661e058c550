"""Forms: what the addresses that ask for no token answer, for their description: registry, health, log.

Refuses: nothing.
Keeps: the registry's forms are Confluent's; whoever reads them may find nothing else.
Source: Confluent Schema Registry API, v1.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from broker.web.common.answered import NOT_CHANGED, Code

Responses = dict[int | str, dict[str, Any]]


class PublicRule(TypedDict):
    """One article under which an administration hears of everybody."""

    id: str
    recipient: str
    recipient_name: str
    event_type: str
    purpose: str
    fields: list[str]
    article: str
    objection: Annotated[bool, Field(description="Whether a citizen may object to it.")]
    status: Literal["approved", "ended"]
    approved_at: str
    acts_from: str
    ends_at: str | None
    territories: Annotated[list[str] | None, Field(description="null: those of its subscription.")]
    least_assurance: Annotated[str, Field(description="none, low, counter, substantial or high.")]
    least_quality: Annotated[str, Field(description="declared, certified or authentic.")]
    narrowed_at: Annotated[str | None, Field(description="When it was made to allow less, last; null: never.")]
    ended_at: str | None
    approved: Annotated[
        str,
        Field(
            description="The text whose SHA-256 the ledger's open entry `rule_approved` has as its `detail`; "
            "once it was narrowed, the last `rule_narrowed`."
        ),
    ]
    ended: Annotated[str | None, Field(description="The same of `rule_ended`; null while it has not ended.")]


class PublicRules(TypedDict):
    """Every rule that was ever approved, the oldest first."""

    rules: list[PublicRule]


class RegistryError(TypedDict):
    """Why it was refused, in Confluent's form; `message` begins with a code of ours."""

    error_code: int
    message: str


class RegisteredSchema(TypedDict):
    """One version of a subject."""

    subject: str
    version: int
    id: int
    schema: Annotated[str, Field(description="The exact bytes, as a text.")]


class SchemaText(TypedDict):
    """A schema by its id."""

    schema: str


class SubjectVersion(TypedDict):
    """Where an id is registered."""

    subject: str
    version: int


class SchemaId(TypedDict):
    """Of a schema that is there already."""

    id: int


class Level(TypedDict):
    """What a new version may change."""

    compatibilityLevel: str


class Mode(TypedDict):
    """Whether schemas may be registered: never."""

    mode: str


class Compatibility(TypedDict):
    """Whether a schema may follow; `messages` where `verbose` asks for them."""

    is_compatible: bool
    messages: NotRequired[list[str]]


Avro = Annotated[dict[str, Any], Field(description="The schema itself, as JSON.")]

REGISTRY: Final[Mapping[str, Any]] = {
    "/subjects": list[str],
    "/subjects/{subject}": RegisteredSchema,
    "/subjects/{subject}/versions/{version}": RegisteredSchema,
    "/subjects/{subject}/versions/{version}/schema": Avro,
    "/subjects/{subject}/versions/{version}/referencedby": list[int],
    "/contexts": list[str],
    "/schemas": list[RegisteredSchema],
    "/schemas/types": list[str],
    "/schemas/ids/{id}": SchemaText,
    "/schemas/ids/{id}/schema": Avro,
    "/schemas/ids/{id}/subjects": list[str],
    "/schemas/ids/{id}/versions": list[SubjectVersion],
    "/config": Level,
    "/config/{subject}": Level,
    "/mode": Mode,
    "/mode/{subject}": Mode,
    "/compatibility/subjects/{subject}/versions": Compatibility,
    "/compatibility/subjects/{subject}/versions/{version}": Compatibility,
}
"""By address; `/subjects/{subject}/versions` lists (GET) or registers (POST)."""
VERSIONS: Final[Mapping[str, Any]] = {"GET": list[int], "POST": SchemaId}


def registered(method: str, path: str) -> Any:
    """The form of what the registry answers at one of its addresses."""
    return VERSIONS[method] if path == "/subjects/{subject}/versions" else REGISTRY[path]


class Live(TypedDict):
    """This process answers: of which version it is, and of which commit, or "unknown"."""

    live: bool
    version: str
    commit: str


class Check(TypedDict):
    """How one thing is; the rest is there where `ok` is false."""

    ok: bool
    code: NotRequired[Code]
    message: NotRequired[str]
    remedy: NotRequired[str]


class Ready(TypedDict):
    """Whether work can be done here; each check by its name."""

    ready: bool
    checks: dict[str, Check]


READY: Final[Responses] = {200: {"model": Ready}, 503: {"model": Ready, "description": "Not now."}}


def bytes_of(media: str, *, tagged: bool = True) -> Responses:
    """The argument `responses` of a route that answers bytes of a media type; `tagged`: with an ETag."""
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    told: Responses = {200: {"content": {media: {"schema": schema}}}}
    return told | {304: {"description": NOT_CHANGED}} if tagged else told
