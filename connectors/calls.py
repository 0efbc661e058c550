"""Calls: what a client asks of a broker's API, each with what its answer means. No network, no clock.

Refuses: an answer that is not what the API promises.
Keeps: one description for every client, waiting or not; whether a call may be made twice is a fact about the call.
Source: docs/agency/sdk.md; the broker's OpenAPI document at `/v1/openapi.json`.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

from connectors import problems
from connectors.contract import Answered, Applied, Inbox, Outcome, Partly, Pulled, Rejected, WithheldDelivery
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.intake_receipt import IntakeReceipt, verify
from schemas.locked import LockedDelivery
from schemas.names import DeclarationId, DeliveryId, Reason, SchemaId, uuid_text
from schemas.note import VerifierKey
from schemas.retry import LONGEST_MS

T = TypeVar("T")
Json = dict[str, Any]
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a broker answers to a declaration. `signed`: a DSSE envelope by the broker's own key, to keep."""

    declaration_id: DeclarationId
    repeated: bool
    signed: Mapping[str, Any]

    def verify(self, directory: Directory) -> IntakeReceipt:
        """What the broker signed. Raises Refused `intake-receipt.*`, `directory.*`, and `.other` for another's."""
        receipt = verify(self.signed, directory)
        if receipt.declaration_id != self.declaration_id:
            raise Refused("intake-receipt.other", "/payload/declaration")
        return receipt


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. `read`: the body of a good answer to what it says. `again`: done twice it is as done once.

    `inbox`: the same, asked of a mailbox that is not behind HTTP; None where such a one has no answer.
    """

    method: str
    path: str
    read: Callable[[bytes], T] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    media: str = JSON
    again: bool = True
    inbox: Callable[[Inbox], Awaitable[T]] | None = field(default=None, repr=False)


def directory() -> Call[Directory]:
    """Who holds which key and may publish what, as the broker says, unsigned: to look at, not to verify with."""
    return Call("GET", "/v1/directory", _directory)


def signed_directory() -> Call[tuple[str, str]]:
    """The directory's exact JSON and its signed note, for `connectors.pinning`."""
    return Call("GET", "/v1/directory:signed", lambda content: _texts(_object(content), "directory", "note"))


def signed_law() -> Call[tuple[str, str]]:
    """The rules by law and the purposes, exact JSON, and their signed note, for `connectors.pinning`."""
    return Call("GET", "/v1/law:signed", lambda content: _texts(_object(content), "law", "note"))


def directory_notes(since: int) -> Call[tuple[str, ...]]:
    """The notes after a version, the oldest first; none when that is the newest."""

    def read(content: bytes) -> tuple[str, ...]:
        told = _object(content).get("notes")
        if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
            raise Refused("client.answer", "/notes")
        return tuple(_texts(one, "note")[0] for one in told)

    return Call("GET", f"/v1/directory/notes?since={since}", read)


def ledger_key() -> Call[str]:
    """The verifier key of the broker's ledger, as it says itself: for a first use, when nobody has given it."""

    def read(content: bytes) -> str:
        try:
            return VerifierKey.parse(content.decode().strip()).text
        except (UnicodeDecodeError, Refused):
            raise Refused("client.answer", "/vkey") from None

    return Call("GET", "/log/vkey", read)


def schema(schema_id: SchemaId) -> Call[bytes]:
    """The exact bytes of a schema. What is not its SHA-256 is refused: `client.answer`."""

    def read(content: bytes) -> bytes:
        if sha256(content).digest() != schema_id:
            raise Refused("client.answer", "/schema")
        return content

    return Call("GET", f"/v1/schemas/{schema_id.hex()}", read)


def resolve(
    person: Mapping[str, Any], declarant: Mapping[str, Any] | None = None, capacity: str | None = None
) -> Call[bytes]:
    """A token for the person that a declaration will be about, good for this source and for an hour or so; `declarant`
    and `capacity`: who declares for them, where somebody else does.
    """
    asked: dict[str, Any] = {"subject": dict(person)}
    if declarant is not None:
        asked |= {"declarant": dict(declarant), "capacity": capacity}
    return posted("/v1/subjects:resolve", asked, lambda told: raw(told, "subject_token"))


def declare(envelope: bytes) -> Call[Receipt]:
    """Hand in a signed envelope. Durable once it is answered; the same bytes again give the same receipt."""
    return Call("POST", "/v1/declarations", _receipt, envelope, "application/avro")


def follow(declaration_id: DeclarationId) -> Call[Json]:
    """How far an own declaration got: how many administrations have it in which state."""
    return Call("GET", f"/v1/declarations/{uuid_text(declaration_id)}", _object)


def status() -> Call[Json]:
    """How much waits, and since when."""
    return Call("GET", "/v1/status", _object)


def pull(limit: int, wait: int = 0) -> Call[Pulled]:
    """Lease and release at most `limit` deliveries. Made again after a lost answer, it gives others first."""
    body = {"max": limit, "wait": wait}
    return posted("/v1/deliveries:pull", body, _pulled, inbox=lambda mailbox: mailbox.pull(limit))


def release(ids: Sequence[DeliveryId]) -> Call[Pulled]:
    """The keys of these deliveries alone, which were handed out before."""
    body = {"deliveries": [uuid_text(one) for one in ids]}
    return posted("/v1/deliveries:release", body, _pulled, inbox=lambda mailbox: mailbox.release(ids))


def acknowledge(ended: Mapping[DeliveryId, Outcome]) -> Call[Mapping[DeliveryId, Refused]]:
    """Record the ends of deliveries; those that are not taken come back. `Applied.reference` stays here."""
    ends = [_end(delivery, outcome) for delivery, outcome in ended.items()]
    body = {"acknowledgements": ends}
    return posted("/v1/deliveries:ack", body, _failed, inbox=lambda mailbox: mailbox.acknowledge_all(ended))


def later(delivery: DeliveryId, code: str, after_ms: int | None) -> Call[Mapping[DeliveryId, Refused]]:
    """Give a delivery back, to come again after `after_ms` milliseconds at least, a day at most, or when the broker
    thinks fit.
    """
    end: Json = {"delivery": uuid_text(delivery), "outcome": "later", "code": code}
    if after_ms is not None:
        end["after"] = min(-(-after_ms // 1000), LONGEST_MS // 1000)

    async def asked(mailbox: Inbox) -> Mapping[DeliveryId, Refused]:
        try:
            await mailbox.retry_later(delivery, code, after_ms)
        except Refused as fault:
            return {delivery: fault}
        return {}

    return posted("/v1/deliveries:ack", {"acknowledgements": [end]}, _failed, inbox=asked)


def replay(deliveries: Sequence[DeliveryId]) -> Call[Mapping[DeliveryId, Refused]]:
    """Try own dead letters again; those that cannot be come back. Done twice, the second says that it was done."""
    body = json.dumps({"deliveries": [uuid_text(one) for one in deliveries]}).encode()
    return Call("POST", "/v1/deliveries:replay", lambda content: _failed(_object(content)), body, again=False)


def posted(
    path: str,
    body: Json,
    read: Callable[[Json], T],
    *,
    again: bool = True,
    inbox: Callable[[Inbox], Awaitable[T]] | None = None,
) -> Call[T]:
    """A JSON object that is sent, and one that comes back."""
    sent = json.dumps(body).encode()
    return Call("POST", path, lambda content: read(_object(content)), sent, again=again, inbox=inbox)


def _directory(content: bytes) -> Directory:
    try:
        return Directory.from_json(content.decode())
    except UnicodeDecodeError:
        raise Refused("client.answer", "/directory") from None


def _end(delivery: DeliveryId, outcome: Outcome) -> Json:
    return {"delivery": uuid_text(delivery), **_said(outcome)}


def _said(outcome: Outcome) -> Json:
    match outcome:
        case Applied():
            return {"outcome": "applied"}
        case Partly():
            return {"outcome": "partly", "fields": list(outcome.fields)}
        case Answered():
            return {"outcome": outcome.reason.value} | ({} if outcome.until is None else {"until": outcome.until})
        case Rejected():
            if outcome.reason is Reason.TECHNICAL:
                return {"outcome": "technical", "code": outcome.code}
            return {"outcome": "rejected", "code": outcome.code, "reason": outcome.reason.value}


def _object(content: bytes) -> Json:
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Refused("client.answer")
    return told


def _texts(told: Json, *names: str) -> Any:
    found = tuple(told.get(name) for name in names)
    if not all(isinstance(one, str) for one in found):
        raise Refused("client.answer", f"/{names[0]}")
    return found


def _receipt(content: bytes) -> Receipt:
    told = _object(content)
    try:
        return Receipt(DeclarationId.parse(told["declaration"]), bool(told["repeated"]), dict(told["receipt"]))
    except (KeyError, TypeError, ValueError, AttributeError, Refused):
        raise Refused("client.answer", "/receipt") from None


def raw(told: Json, name: str) -> bytes:
    """A member in base64url. Raises Refused `client.answer`."""
    text = told.get(name)
    try:
        found = urlsafe_b64decode(f"{text}{'=' * (-len(text) % 4)}") if isinstance(text, str) else b""
    except ValueError:
        found = b""
    if not found or urlsafe_b64encode(found).decode().rstrip("=") != text:
        raise Refused("client.answer", f"/{name}")
    return found


def _pulled(told: Json) -> Pulled:
    try:
        taken, withheld = told["deliveries"], told["withheld"]
        locked = tuple(LockedDelivery.decode(raw(one, "locked")) for one in taken)
        attempts = {DeliveryId.parse(one["id"]): int(one["attempts"]) for one in taken}
        held = tuple(WithheldDelivery(DeliveryId.parse(one["id"]), _reason(one["reason"])) for one in withheld)
    except (KeyError, TypeError, ValueError):
        raise Refused("client.answer", "/deliveries") from None
    return Pulled(locked, raw(told, "key_release") if locked else b"", held, attempts)


def _reason(told: Any) -> Reason | str:
    """A reason that came after this program must not keep its whole mailbox from it."""
    if not isinstance(told, str):
        raise TypeError(type(told).__name__)
    try:
        return Reason(told)
    except ValueError:
        return told[:64]


def _failed(told: Json) -> Mapping[DeliveryId, Refused]:
    try:
        bad = [(DeliveryId.parse(one["delivery"]), one["problem"]) for one in told["results"] if not one["ok"]]
        return {delivery: _refused(problem) for delivery, problem in bad}
    except (KeyError, TypeError, ValueError):
        raise Refused("client.answer", "/results") from None


def _refused(problem: Json) -> Refused:
    status = int(problem["status"])
    fault = Refused("client.refused", status=status, told=str(problem["code"])[:64])
    fault.problem = problems.members(problem, status)
    return fault
