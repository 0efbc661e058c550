"""Evolution: may this schema follow that one under the same event type? Every reason with its place, not a yes or no.

Refuses: nothing but bytes that are no schema. What may not follow is returned as breaks; the remedy is always the
    same, a new event type: `v2`.
Keeps: any two schemas of one type read each other's records (full transitive compatibility); a citizen's old grant
    never comes to cover more: no field weighs less, no field that was granted gains content, no type starts to name
    territories in clear.
Source: docs/protocol.md, section 2. The base rules are Avro's own, judged by `avro.compatibility` in both directions.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType, SchemaIncompatibilityType

from schemas.avro import Schema, parse
from schemas.avro_types import Kind, Type
from schemas.catalogue import event_schema
from schemas.errors import Detail, Refused
from schemas.names import Sensitivity


@dataclass(frozen=True, slots=True)
class Break:
    """One reason why a schema may not follow another: a code listed in `codes.toml`, told like a fault.

    `place` is a path of field names (`/new_address/postcode`); for what the new schema lacks by itself (codes
    `catalogue.*`) it points into its JSON.
    """

    code: str
    place: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict, hash=False)


def check(old: bytes | Schema, new: bytes | Schema) -> tuple[Break, ...]:
    """Why `new` may not follow `old`; empty if it may. Raises Refused (`avro.schema-*`) for what is no schema."""
    before, after = _parsed(old), _parsed(new)
    if before.id == after.id:
        return tuple(_own(after))
    return tuple(dict.fromkeys([*_own(after), *_promises(before, after), *_Pair(before, after).breaks()]))


def check_all(history: Iterable[bytes | Schema], new: bytes | Schema) -> tuple[Break, ...]:
    """Why `new` may not join the schemas of its type, each compared, not only the last; a break is told once."""
    after = _parsed(new)
    found = [each for old in history for each in check(old, after)]
    return tuple(dict.fromkeys([*_own(after), *found]))


def _parsed(schema: bytes | Schema) -> Schema:
    return schema if isinstance(schema, Schema) else parse(schema)


def _own(new: Schema) -> Iterator[Break]:
    """What any event schema has to say: docs, labels, sensitivities."""
    try:
        event_schema(new)
    except Refused as fault:
        yield Break(fault.code, fault.pointer, fault.details)


def _promises(old: Schema, new: Schema) -> Iterator[Break]:
    """What was promised to citizens, beyond what Avro knows."""
    if _event_type(old) != _event_type(new):
        yield Break("evolution.event-type")
    if old.properties.get("usesTerritories", False) != new.properties.get("usesTerritories", False):
        yield Break("evolution.territories")
    weights = [each.value for each in Sensitivity]
    heavy = {each.name: each.properties.get("sensitivity") for each in old.fields}
    for each in new.fields:
        was, now = heavy.get(each.name), each.properties.get("sensitivity")
        if was in weights and now in weights and weights.index(now) < weights.index(was):
            yield Break("evolution.weaker-sensitivity", f"/{each.name}")


def _event_type(schema: Schema) -> Any:
    return schema.properties.get("eventType", schema.name)


class _Pair:
    """Two schemas walked in step, each beside its twin in the `avro` package, which is the judge of the base rules."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old.type, new.type
        self.old_twin, self.new_twin = avro.schema.parse(old.raw.decode()), avro.schema.parse(new.raw.decode())

    def breaks(self) -> list[Break]:
        found = list(_compare(self.old, self.new, self.old_twin, self.new_twin, ""))
        if not found:  # the whole once more, for what a walk by fields could have missed
            found = list(_judged(self.old_twin, self.new_twin, ""))
        return found


def _compare(old: Type, new: Type, old_twin: Any, new_twin: Any, place: str) -> Iterator[Break]:
    if old.kind is not new.kind:
        yield Break("evolution.type-changed", place)
        return
    if old.logical is not new.logical:
        yield Break("evolution.logical-type", place)
    if (old.precision, old.scale) != (new.precision, new.scale):
        yield Break("evolution.decimal", place)
    if old.properties.get("format") != new.properties.get("format"):
        yield Break("evolution.format", place)
    if old.kind is Kind.RECORD:
        yield from _compare_records(old, new, old_twin, new_twin, place)
    elif old.parts:
        yield from _compare_parts(old, new, old_twin, new_twin, place)
    else:
        yield from _judged(old_twin, new_twin, place)


def _compare_records(old: Type, new: Type, old_twin: Any, new_twin: Any, place: str) -> Iterator[Break]:
    if _short(old.name) != _short(new.name):
        yield Break("evolution.type-renamed", place)
    before, after = {each.name: each for each in old.fields}, {each.name: each for each in new.fields}
    for name, each in before.items():
        here = f"{place}/{name}"
        if name in after:
            twins = old_twin.fields_dict[name].type, new_twin.fields_dict[name].type
            yield from _compare(each.type, after[name].type, *twins, here)
        elif not each.has_default:
            yield Break("evolution.field-removed", here)
    for name, each in after.items():
        if name in before:
            continue
        if not each.has_default:
            yield Break("evolution.field-without-default", f"{place}/{name}")
        if place:
            yield Break("evolution.granted-field-widened", f"{place}/{name}")


def _compare_parts(old: Type, new: Type, old_twin: Any, new_twin: Any, place: str) -> Iterator[Break]:
    """Items of arrays, values of maps, branches of unions: in the same order, or it is another type."""
    for inner in zip(old.parts, new.parts, _twins(old_twin), _twins(new_twin), strict=False):
        yield from _compare(*inner, place)
    if len(old.parts) != len(new.parts):
        yield Break("evolution.type-changed", place)


def _twins(twin: Any) -> list[Any]:
    if hasattr(twin, "schemas"):
        return list(twin.schemas)
    return [twin.items if hasattr(twin, "items") else twin.values]


def _short(name: str) -> str:
    return name.rpartition(".")[2]


_CHECKER: Any = ReaderWriterCompatibilityChecker  # its constructor has no annotations


def _judged(old_twin: Any, new_twin: Any, place: str) -> Iterator[Break]:
    """What Avro says: can the new read the old, can the old read the new?"""
    for reader, writer, codes in ((new_twin, old_twin, _NEW_READS_OLD), (old_twin, new_twin, _OLD_READS_NEW)):
        result = _CHECKER().get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            for each in dict.fromkeys(result.incompatibilities):
                yield Break(codes.get(each, "evolution.type-changed"), place)


_NEW_READS_OLD: Mapping[SchemaIncompatibilityType, str] = {
    SchemaIncompatibilityType.name_mismatch: "evolution.type-renamed",
    SchemaIncompatibilityType.fixed_size_mismatch: "evolution.fixed-size",
    SchemaIncompatibilityType.missing_enum_symbols: "evolution.symbol-removed",
    SchemaIncompatibilityType.reader_field_missing_default_value: "evolution.field-without-default",
}
_OLD_READS_NEW: Mapping[SchemaIncompatibilityType, str] = {
    SchemaIncompatibilityType.name_mismatch: "evolution.type-renamed",
    SchemaIncompatibilityType.fixed_size_mismatch: "evolution.fixed-size",
    SchemaIncompatibilityType.missing_enum_symbols: "evolution.symbol-added",
    SchemaIncompatibilityType.reader_field_missing_default_value: "evolution.field-removed",
}
