"""Wire: what a process asks the one that holds the keys of consents, and what it is answered.

    question   {"v": 1, "act": 16 bytes, "operation": a name, "within_ms": a number, "asked": the operation's fields}
    answer     {"v": 1, "told": the operation's answer}  or
               {"v": 1, "fault": "refused" | "unavailable" | "corrupt", "code", "pointer", "details", "also"}

Refuses: a message that is too long (`consents.too-large`), of another version (`consents.version`), of an unknown
operation (`consents.operation`), or not exactly of the operation's types (`typed-json.malformed`).
Keeps: a fault comes through as it was raised: code, pointer, details, and the others with it.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.access.typed_json import Json, of_json, parsed, to_json, written
from broker.consents.consents import GrantRequest, Recorded
from broker.consents.objections import Objected
from broker.consents.repairing import Begun
from broker.directory.kin import Link
from broker.flow.retracted import Retraction
from broker.people.pivot import PivotIdentity
from consent.grant import Grant, Voice
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.names import DeclarationId, GrantId, LeafHash, LinkId, PartyId, RuleId, SubjectRef

VERSION: Final = 1
QUESTION_BYTES: Final = 65_536
ANSWER_BYTES: Final = 4 * 1_048_576
"""Of a person with very many consents, all of which end at once."""


# ── the operations ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Give:
    """`ConsentChanges.give`."""

    wish: GrantRequest


@dataclass(frozen=True, slots=True)
class Found:
    """What `ConsentChanges.give_unless` answers. `entry`: None where the grant was there."""

    grant: Grant
    entry: LeafHash | None


@dataclass(frozen=True, slots=True)
class Change:
    """`ConsentChanges.revoke`, `pause`, `resume`; `version`: of the last two, what the citizen has read."""

    grant: GrantId
    voice: Voice
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Narrow:
    """`ConsentChanges.narrow`."""

    grant: GrantId
    fields: frozenset[str]
    voice: Voice
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RevokeAll:
    """`ConsentChanges.revoke_all`."""

    subject: SubjectRef
    voice: Voice


@dataclass(frozen=True, slots=True)
class Object:
    """`ObjectionChanges.object`."""

    subject: SubjectRef
    rule: RuleId
    reason: str
    given_by: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """`ObjectionChanges.withdraw`."""

    subject: SubjectRef
    rule: RuleId
    given_by: str


@dataclass(frozen=True, slots=True)
class Stop:
    """`HoldChanges.stop`."""

    subject: SubjectRef
    declaration: DeclarationId
    given_by: str


@dataclass(frozen=True, slots=True)
class RefuseLink:
    """`LinkChanges.refuse`."""

    link: LinkId
    whose: SubjectRef


@dataclass(frozen=True, slots=True)
class AskLink:
    """`LinkChanges.ask`; never for an entitled source, whose word would join two people by itself."""

    kept: SubjectRef
    alias: SubjectRef
    evidence: str
    asked_by: str


@dataclass(frozen=True, slots=True)
class BeginRepair:
    """`RepairBegins.begin`."""

    wish: GrantRequest
    declaration: DeclarationId
    to: PartyId
    reference: DeclarationId


@dataclass(frozen=True, slots=True)
class Receipt:
    """`ReceiptSigner.of`."""

    recorded: Recorded


@dataclass(frozen=True, slots=True)
class Reference:
    """`Contact.reference`, where an older spelling of a person is to be written down."""

    person: PivotIdentity


@dataclass(frozen=True, slots=True)
class Operation:
    """What may be asked: its fields and the type of its answer. `kept`: it changes something, and its answer is kept
    with that; `several`: in several transactions, whose answers are told together, in a list.
    """

    name: str
    asks: type[Any]
    tells: Any
    kept: bool = True
    several: bool = False


OPERATIONS: Final[Mapping[str, Operation]] = {
    one.name: one
    for one in (
        Operation("give", Give, Recorded),
        Operation("give-unless", Give, Found),
        Operation("revoke", Change, Recorded),
        Operation("pause", Change, Recorded),
        Operation("resume", Change, Recorded),
        Operation("narrow", Narrow, Recorded),
        Operation("revoke-all", RevokeAll, Recorded, several=True),
        Operation("object", Object, Objected),
        Operation("withdraw-objection", Withdraw, Objected),
        Operation("stop", Stop, Retraction),
        Operation("refuse-link", RefuseLink, Link),
        Operation("ask-link", AskLink, Link, kept=False),
        Operation("begin-repair", BeginRepair, Begun),
        Operation("receipt", Receipt, bytes, kept=False),
        Operation("reference", Reference, SubjectRef, kept=False),
    )
}


# ── questions and answers ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, under which act, and how long the asker waits."""

    operation: Operation
    act: bytes
    within_ms: int
    asked: Any

    def encode(self) -> bytes:
        """As it goes over the wire. Raises Refused `consents.too-large`."""
        body = {
            "v": VERSION,
            "act": self.act.hex(),
            "operation": self.operation.name,
            "within_ms": self.within_ms,
            "asked": to_json(self.asked),
        }
        raw = written(body)
        if len(raw) > QUESTION_BYTES:
            raise Refused("consents.too-large", limit=QUESTION_BYTES)
        return raw


@dataclass(frozen=True, slots=True)
class _Envelope:
    v: int
    act: bytes
    operation: str
    within_ms: int


def question(raw: bytes) -> Question:
    """Raises Refused: `consents.version`, `consents.operation`, `typed-json.malformed`, and what the types refuse."""
    found = parsed(raw)
    if not isinstance(found, dict) or "asked" not in found:
        raise Refused("typed-json.malformed")
    if found.get("v") != VERSION:
        raise Refused("consents.version", "/v", known=VERSION)
    asked = found.pop("asked")
    head: _Envelope = of_json(_Envelope, found)
    operation = OPERATIONS.get(head.operation)
    if operation is None:
        raise Refused("consents.operation", "/operation")
    if len(head.act) != 16 or head.within_ms < 1:
        raise Refused("typed-json.malformed", "/act")
    return Question(operation, head.act, head.within_ms, of_json(operation.asks, asked, "/asked"))


def told(value: object) -> bytes:
    """An answer."""
    return written({"v": VERSION, "told": to_json(value)})


_KINDS: Final[Mapping[str, type[Fault]]] = {"refused": Refused, "unavailable": Unavailable, "corrupt": Corrupt}


@dataclass(frozen=True, slots=True)
class _Fault:
    fault: str
    code: str
    pointer: str


def refusal(fault: Fault) -> bytes:
    """A fault, as an answer."""
    return written({"v": VERSION, **_fault_json(fault)})


def answer(operation: Operation, raw: bytes) -> Any:
    """What was told. Raises the fault that was told instead; Unavailable `consents.garbled` for what is no answer."""
    try:
        found = parsed(raw)
        if not isinstance(found, dict) or found.pop("v", None) != VERSION:
            raise Refused("typed-json.malformed")
        if found.keys() == {"told"}:
            kind = types.GenericAlias(list, (operation.tells,)) if operation.several else operation.tells
            return of_json(kind, found["told"], "/told")
        fault = _fault_of(found)
    except Fault:
        raise Unavailable("consents.garbled") from None
    raise fault


def _fault_json(fault: Fault) -> Json:
    kind = next(name for name, one in _KINDS.items() if isinstance(fault, one))
    return {
        "fault": kind,
        "code": fault.code,
        "pointer": fault.pointer,
        "details": dict(fault.details),
        "also": [_fault_json(one) for one in fault.also],
    }


def _fault_of(found: Json) -> Fault:
    if not isinstance(found, dict) or not isinstance(found.get("also"), list):
        raise Refused("typed-json.malformed")
    details, also = found.pop("details", None), found.pop("also")
    head: _Fault = of_json(_Fault, found)
    if head.fault not in _KINDS or not isinstance(details, dict):
        raise Refused("typed-json.malformed")
    if not all(type(one) in (str, int) for one in details.values()):
        raise Refused("typed-json.malformed")
    made = _KINDS[head.fault](head.code, head.pointer, **details)
    made.also = tuple(_fault_of(one) for one in also)
    return made
