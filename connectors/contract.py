"""The contract between an agency's side and its own system: what a connector promises, and what it may answer.

Refuses: nothing itself; `checked` refuses a wrong configuration with a pointer to the setting.
Keeps: a write has these ends and no more. It returns (written), or it raises

    Retry     not written; the same call may succeed later        -> the delivery comes back after a while
    Reject    not written, and never will be as it stands          -> acknowledged as rejected, with its code
    Otherwise not written, or not all of it, and not refused       -> acknowledged as what it says
    Unknown   nobody can say whether it was written                -> looked for, and asked again: writing is idempotent
    Late      the same, after the deadline                         -> not asked again at once; it comes back

so that "it failed" is never mistaken for "it was not done".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.delivery import VerifiedDelivery
from schemas.directory import Directory
from schemas.errors import Refused, Unavailable
from schemas.hpke import SealingKey
from schemas.manifest import Schemas
from schemas.names import DeclarationId, DeliveryId, EventType, Instant, Kid, ManifestDigest, PartyId, Reason
from schemas.release import LockedDelivery


class Retry(Unavailable):
    """Not written; try later. `after_ms`, where the other system named a delay, is the least to wait."""

    @property
    def after_ms(self) -> int | None:
        """Milliseconds that the other system asked for, or None."""
        told = self.details.get("after_ms")
        return told if isinstance(told, int) else None


class Reject(Refused):
    """Not written, and repeating it will not help: the value or the rules of the agency's system stand against it."""


class Otherwise(Refused):
    """Not refused, and not (all) applied: what a `Connector.write` says of it instead."""

    def __init__(self, outcome: "Partly | Answered") -> None:
        super().__init__("connector.answered")
        self.outcome = outcome


class Unknown(Unavailable):
    """The connection died while the other side was deciding. Asking again is safe, because writes are idempotent."""


class Late(Unknown):
    """It took longer than it may. Asking again at once would take as long; it is looked for when it comes again."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The agency's system has it. `reference` is the agency's own number for it; it stays on the agency's side."""

    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The agency's side will not take it: a code of `codes.toml` for the operator, a reason for ledger and citizen."""

    code: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Partly:
    """The agency's system has these fields of it, by their names, and not the others."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """Not applied, and not refused. Nothing of why is told but this:

    UNKNOWN_PERSON nobody is known there by these data; SEVERAL_PERSONS several are; DOCUMENT_NEEDED something is to be
    handed in: the person repairs it, and it comes again. AWAITING_HUMAN somebody decides, by the day `until`
    (`2026-12-31`); then it is answered once more.
    """

    reason: Reason
    until: str | None = None


Outcome = Applied | Rejected | Partly | Answered


@dataclass(frozen=True, slots=True)
class WithheldDelivery:
    """A delivery that was planned but may not be opened any more."""

    delivery_id: DeliveryId
    reason: Reason | str
    """A text where a newer broker gives a reason that this program does not know yet."""

    @property
    def word(self) -> str:
        """The reason as the broker writes it."""
        return self.reason.value if isinstance(self.reason, Reason) else self.reason


@dataclass(frozen=True, slots=True)
class Ready:
    """A delivery waits to be fetched. Carries no value and no citizen."""

    delivery_id: DeliveryId
    event_type: EventType


def _nothing() -> Mapping[DeliveryId, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one pull hands out: locked deliveries, one key release for all of them, and what was withheld."""

    locked: tuple[LockedDelivery, ...]
    key_release: bytes
    withheld: tuple[WithheldDelivery, ...] = ()
    attempts: Mapping[DeliveryId, int] = field(default_factory=_nothing)
    """How often each delivery was handed out before; absent counts as 0. Only back-off reads it."""


class Inbox(Protocol):
    """The agency's mailbox at the broker. Every method may raise Unavailable; nothing is lost by that."""

    async def pull(self, limit: int) -> Pulled:
        """Lease and release at most `limit` deliveries, in order for each citizen.

        What is not acknowledged before the lease ends comes again.
        """
        ...

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """The keys of these deliveries alone, under one key release. May be asked again while the consent stands."""
        ...

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """Record the ends of deliveries, durable once it returns; the same end again changes nothing.

        Those that the mailbox does not take come back, each with its reason; they do not hinder the others.
        """
        ...

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """Give the lease back; hand out again after `after_ms` milliseconds, or when the mailbox thinks fit."""
        ...

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """At most `limit` deliveries that wait, without leasing them."""
        ...


@dataclass(frozen=True, slots=True)
class Agency:
    """Who receives, with what it opens, and what it trusts: its private keys, pinned directory and catalogue."""

    party: PartyId
    sealing_keys: Mapping[Kid, SealingKey] = field(repr=False)
    directory: Directory = field(repr=False)
    catalogue: Schemas = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a connector stands on. It reads no clock and draws no randomness of its own."""

    clock: Callable[[], Instant]
    entropy: Callable[[int], bytes]


Row = Mapping[str, object]
"""Column or field names of the agency's system to text, integers, decimals, booleans or None."""


class Writer(Protocol):
    """An open connector: what a runner needs of it. Called by one runner at a time; `Route.at_once` says how often."""

    async def find(self, delivery_id: DeliveryId) -> Applied | Partly | None:
        """How this delivery was written, if it is durably written; asked before anything else is done with it.

        So a delivery that comes again is acknowledged as what happened, even if the mapping has changed since.
        """
        ...

    async def write(self, delivery: VerifiedDelivery, row: Row) -> str | None:
        """Write one row, once for ever by `delivery.delivery_id`; the second call returns what the first did.

        Returns the agency's reference. It need not be durable before `flush` returns.
        Raises Retry, Reject, Otherwise or Unknown; after Reject the system holds nothing of it, nor after Otherwise but
        `Partly`, of which it holds the fields that it names, and AWAITING_HUMAN, of which it holds what is decided on.
        """
        ...

    async def flush(self) -> None:
        """All rows written since the last flush are durable and visible to the agency once it returns.

        Nothing is acknowledged before. Raises Retry or Unknown, and then every one of them comes again.
        """
        ...

    async def seen(self, source: PartyId, declaration_id: DeclarationId) -> ManifestDigest | None:
        """The manifest under which this declaration was written before, by any delivery; protocol 7, step 10."""
        ...

    async def close(self) -> None:
        """Let go of files and connections. Safe to call twice; unflushed rows are dropped, and come again."""
        ...


@runtime_checkable
class RowsWriter(Protocol):
    """A writer that can write several rows for one delivery: all of them or none."""

    async def write_rows(self, delivery: VerifiedDelivery, rows: Sequence[Row]) -> str | None:
        """As `Writer.write`, once for ever by `delivery.delivery_id`, for all rows at once; at least one."""
        ...


def rows_writer(writer: object) -> RowsWriter:
    """The writer, if it can write several rows. Raises Reject("connector.one-row")."""
    if isinstance(writer, RowsWriter):
        return writer
    raise Reject("connector.one-row")


@runtime_checkable
class Connector(Writer, Protocol):
    """Writes verified deliveries into an agency's own system. `connectors.description`: what more it may say."""

    @classmethod
    async def open(cls, settings: Mapping[str, Any], targets: Sequence[str], ground: Ground) -> Self:
        """Check the settings against the system itself, and be ready to write rows with these targets.

        Raises Refused (a setting is wrong, with its pointer) or Unavailable (the system is away).
        """
        ...


@runtime_checkable
class Answering(Protocol):
    """A writer whose system answers later: what it answered AWAITING_HUMAN is answered once more, by itself."""

    async def answers(self) -> Mapping[DeliveryId, Outcome]:
        """Some of the ends that came and that the mailbox may not have heard, oldest first; each on the disk already.

        Asked between two pulls. Raises Unavailable.
        """
        ...

    async def heard(self, ids: Sequence[DeliveryId]) -> None:
        """The mailbox has heard them. Crash before: they are told again, which changes nothing there."""
        ...


@runtime_checkable
class Expecting(Protocol):
    """A connector whose open ones may be `Answering`, as its settings say."""

    @classmethod
    def expects(cls, settings: Mapping[str, Any]) -> bool:
        """Whether somebody has to look from time to time for answers, though nothing is to be written."""
        ...


@runtime_checkable
class Notifier(Protocol):
    """Tells an agency that a delivery waits. It never carries a value."""

    @classmethod
    async def open(cls, settings: Mapping[str, Any], ground: Ground) -> Self:
        """Check the settings. Raises Refused with a pointer."""
        ...

    async def tell(self, ready: Ready) -> None:
        """Returns when the agency has heard. Raises Retry (not heard) or Reject (it wants to hear no more)."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Settings(BaseModel):
    """Base of every connector's settings: unknown names are refused, and nothing changes afterwards.

    The text below a setting is its description in the JSON Schema that a form is made from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


AnySettings = TypeVar("AnySettings", bound=Settings)


def checked(model: type[AnySettings], settings: Mapping[str, Any]) -> AnySettings:
    """The settings as their model, or Refused("connector.settings") at the first wrong one; values are not repeated."""
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        wrong, pointer = first_wrong(error, settings)
        count = error.error_count()
    raise Refused("connector.settings", pointer, wrong=wrong, count=count)


def first_wrong(error: ValidationError, given: object) -> tuple[str, str]:
    """What is wrong first (pydantic's word for it), and the JSON pointer to it in what was given."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    pointer, here = "", given
    for number, part in enumerate(first["loc"], 1):
        exists, there = _inside(here, part)
        if exists or (first["type"] == "missing" and number == len(first["loc"])):
            pointer += f"/{reference_token(str(part))}"
        if exists:  # else it names a branch of pydantic's own
            here = there
    return first["type"], pointer


def _inside(here: object, part: str | int) -> tuple[bool, object]:
    if isinstance(here, Mapping) and part in here:
        return True, here[part]
    if isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
        return True, here[part]
    return False, None


def reference_token(name: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
