"""Wire: how the protocol's own records are written down as Avro, and read back into names of their own type.

Refuses: nothing of its own; strict Avro and the names do, and `member` adds the place.
Keeps: the records of protocol 4 to 6 are the same strict Avro as the events, and their parts are defined once.
Source: docs/protocol.md 4 to 6.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from schemas import avro
from schemas.errors import Refused
from schemas.names import Kid

_Made = TypeVar("_Made")

FIXED16: Final = {"type": "fixed", "name": "Fixed16", "size": 16}
FIXED32: Final = {"type": "fixed", "name": "Fixed32", "size": 32}


def record(name: str, *members: tuple[str, object]) -> dict[str, object]:
    """The Avro type of a record, from (name, type) in order."""
    return {"type": "record", "name": name, "fields": [{"name": each, "type": kind} for each, kind in members]}


def array(items: object) -> dict[str, object]:
    """The Avro type of an array."""
    return {"type": "array", "items": items}


SIGNATURES: Final = array(record("Signature", ("kid", FIXED32), ("signature", "bytes")))
"""Avro type of the signatures, which envelope and locked delivery share."""


def schema(name: str, *members: tuple[str, object]) -> avro.Schema:
    """The parsed schema of a record of the protocol, from (name, type) in order."""
    return avro.parse(json.dumps(_defined_once(record(name, *members), set())).encode())


def _defined_once(kind: Any, known: set[str]) -> Any:
    """Avro wants a named type's definition where it first stands, and its name alone after that."""
    if isinstance(kind, list):
        return [_defined_once(each, known) for each in kind]
    if not isinstance(kind, dict):
        return kind
    if "size" in kind or "fields" in kind:
        if kind["name"] in known:
            return kind["name"]
        known.add(kind["name"])
    return {key: _defined_once(each, known) for key, each in kind.items()}


def member(raw: Mapping[str, Any], name: str, make: Callable[[Any], _Made]) -> _Made:
    """One decoded member as a name of its own type; a Refused points to it."""
    try:
        return make(raw[name])
    except Refused as fault:
        raise fault.under(f"/{name}") from None


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature and the id of the key that made it. Says nothing of the algorithm: the directory does."""

    kid: Kid
    signature: bytes = field(repr=False)


def read_signatures(raw: Iterable[Mapping[str, Any]]) -> tuple[Signature, ...]:
    """Signatures from their decoded form."""
    return tuple(Signature(Kid(each["kid"]), each["signature"]) for each in raw)


def written_signatures(signatures: Iterable[Signature]) -> list[dict[str, bytes]]:
    """Signatures in the form that Avro encodes."""
    return [{"kid": each.kid, "signature": each.signature} for each in signatures]
