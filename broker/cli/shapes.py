"""Shapes: what the machine answers, as JSON with keys that stay.

Refuses: to show a value of a citizen; nothing here has one.
Keeps: identifiers of 16 bytes are written as UUIDs, key ids and digests in hexadecimal, instants in RFC 3339; what does
not apply is null, not absent.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from broker.shapes import Json, time_of, uuid_of
from consent.grant import Grant
from schemas.directory import Directory
from schemas.errors import Detail, Fault
from schemas.messages import Coded, Language, Message, explain, table

if TYPE_CHECKING:
    from broker.consents.consents import Recorded
    from broker.directory.reading import Party
    from broker.flow.deadletters import DeadLetter
    from broker.flow.holds import Held
    from broker.flow.objected import Objecting
    from broker.flow.retracted import Retraction
    from broker.flow.tracking import Track
    from broker.runtime.turns import Turn

T = TypeVar("T")


def coded(told: Coded, pointer: str, language: Language) -> Json:
    """A fault, a warning, a break or a trouble, with its sentences."""
    message = explain(told, language) if told.code in table() else Message("", "")  # a foreign connector's own code
    return {"code": told.code, "pointer": pointer, "message": message.wrong, "remedy": message.remedy}


@dataclass(frozen=True, slots=True)
class _Alone:
    """A code whose details nobody kept."""

    code: str
    details: Mapping[str, Detail] = field(default_factory=dict)


def code(told: str, language: Language) -> Json:
    """A code alone, with its sentences."""
    return coded(_Alone(told), "", language)


def faults(found: Iterable[Fault], language: Language) -> list[Json]:
    """Findings that are faults."""
    return [coded(fault, fault.pointer, language) for fault in found]


def party(one: "Party", directory: Directory, held: frozenset[str]) -> Json:
    """An administration with its keys, rights and signature policies. `held`: ids of the keys that are kept here."""

    def key(entry: Any, kind: Enum, use: str) -> Json:
        return {
            "kid": entry.kid.hex(),
            "use": use,
            "kind": kind.name.lower(),
            "valid_from": time_of(entry.valid_from),
            "valid_to": time_of(entry.valid_to),
            "revoked_at": time_of(entry.revoked_at),
            "held": entry.kid.hex() in held,
        }

    signing = [key(entry, entry.algorithm, "signing") for entry in directory.signing if entry.party == one.id]
    sealing = [key(entry, entry.suite, "sealing") for entry in directory.sealing if entry.party == one.id]
    rights = [right for right in directory.rights if right.party == one.id]
    policies = [entry for entry in directory.policies if entry.party == one.id]
    return {
        "id": one.id,
        "name": one.name,
        "sector": one.sector,
        "kind": one.kind.value,
        "address": one.address,
        "contact": one.contact,
        "retention": one.retention,
        "created_at": time_of(one.created_at),
        "keys": [*signing, *sealing],
        "publishes": [
            {"event_type": right.event_type, "from": time_of(right.valid_from), "to": time_of(right.valid_to)}
            for right in rights
        ],
        "policies": [{"policy": entry.policy, "from": time_of(entry.valid_from)} for entry in policies],
    }


def grant(one: Grant) -> Json:
    """One version of a grant; the citizen is not in it."""
    return {
        "id": uuid_of(one.id),
        "version": one.version,
        "status": one.status.value,
        "recipient": one.recipient,
        "event_type": one.event_type,
        "schema": one.schema.hex(),
        "purpose": one.purpose,
        "fields": sorted(one.fields),
        "basis": one.basis.text,
        "rule": uuid_of(one.rule),
        "scope": one.scope.value,
        "once_for": uuid_of(one.once_for),
        "granted_at": time_of(one.granted_at),
        "starts_at": time_of(one.starts_at),
        "expires_at": time_of(one.until),
        "changed_at": time_of(one.changed_at),
        "given_by": one.given_by,
        "capacity": one.capacity.value,
        "channel": one.channel.value,
        "language": one.language,
        "text_sha256": one.text_hash.hex(),
    }


def objection(one: "Objecting") -> Json:
    """An objection to a rule by law; the citizen is not in it."""
    return {
        "rule": uuid_of(one.rule),
        "objected_at": time_of(one.objected_at),
        "reason": one.reason,
        "given_by": one.given_by,
        "withdrawn_at": time_of(one.withdrawn_at),
    }


def retraction(one: "Retraction") -> Json:
    """What was taken back, or stopped; the citizen is not in it."""
    return {
        "declaration": uuid_of(one.declaration),
        "kind": one.kind.value,
        "given_by": one.given_by,
        "retracted_at": time_of(one.retracted_at),
        "notice": uuid_of(one.notice),
        "lifted_at": time_of(one.lifted_at),
    }


def held(one: "Held") -> Json:
    """A declaration that waits before anybody gets it; `recalls`: what it takes back."""
    return {
        "declaration": uuid_of(one.declaration),
        "source": one.source,
        "event_type": one.event_type,
        "received_at": time_of(one.received_at),
        "until": time_of(one.until),
        "recalls": uuid_of(one.recalls),
        "stopped": one.stopped,
    }


def recorded(one: "Recorded", receipt: bytes, text: str | None = None) -> Json:
    """A change of a grant, its ledger entry, the signed receipt (JSON text), and the text that was shown."""
    return {
        "grant": grant(one.grant),
        "entry": one.entry.hex(),
        "text": text,
        "receipt": receipt.decode(),
    }


def track(one: "Track") -> Json:
    """How far a declaration got with everybody."""
    return {
        "declaration": uuid_of(one.declaration_id),
        "source": one.source,
        "event_type": one.event_type,
        "manifest": _told(one.digest, bytes.hex),
        "corrects": uuid_of(one.corrects),
        "acted_for": None
        if one.acted_for is None
        else {
            "capacity": one.acted_for.capacity.value,
            "known": one.acted_for.known.value,
            "representation": uuid_of(one.acted_for.representation),
        },
        "received_at": time_of(one.received_at),
        "routed_at": time_of(one.routed_at),
        "parked": None
        if one.parked is None
        else {"letter": one.parked.letter, "code": one.parked.code, "at": time_of(one.parked.at)},
        "steps": [
            {
                "recipient": step.recipient,
                "purpose": step.purpose,
                "progress": step.progress.value,
                "fields": list(step.fields),
                "since": time_of(step.since),
                "reason": _told(step.reason, _value),
                "code": step.code,
                "delivery": uuid_of(step.delivery),
                "grant": uuid_of(step.grant),
                "attempts": step.attempts,
                "letter": step.letter,
                "until": step.until,
                "late": step.late,
                "taken": None if step.taken is None else list(step.taken),
                "held_until": time_of(step.held_until),
            }
            for step in one.steps
        ],
    }


def dead(one: "DeadLetter") -> Json:
    """What could not be routed or delivered."""
    return {
        "number": one.id,
        "stage": one.stage.value,
        "reason": one.reason.value,
        "code": one.code,
        "attempts": one.attempts,
        "at": time_of(one.at),
        "replayed_at": time_of(one.replayed_at),
        "delivery": uuid_of(one.delivery),
        "recipient": one.recipient,
        "event_type": one.event_type,
        "place": one.place,
        "size": one.size,
    }


def turn(one: "Turn", language: Language) -> Json:
    """What one turn of the machine moved."""
    ours = ("expired", "epochs", "taken", "routed", "relayed", "told", "mailed", "messages")
    numbers = (*ours, "applied", "rejected", "answered", "retried", "withheld", "sequenced", "pruned")
    troubles = [{"party": each.party, **coded(each, each.pointer, language)} for each in one.troubles]
    return {**{name: getattr(one, name) for name in numbers}, "troubles": troubles}


def _told(value: T | None, form: Callable[[T], Any]) -> Any:
    return None if value is None else form(value)


def _value(member: Enum) -> Any:
    return member.value
