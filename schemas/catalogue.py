"""The catalogue: the event types that exist, each with what a person may ask of a field: its meaning, name and weight.

Refuses: an event schema whose fields lack a doc, a label in French and English, or a sensitivity; an unknown format; a
    type or schema that nobody registered.
Keeps: a schema is known by the SHA-256 of its registered bytes; several schemas may share one type (additive evolution,
    `evolution`), and the newest is the last one given.
Source: docs/protocol.md, section 2.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, Self

from schemas import avro
from schemas.assurance import Assurance, Least, Quality
from schemas.avro_types import Kind, Type
from schemas.errors import Refused
from schemas.formats import FORMATS
from schemas.names import EventType, Instant, SchemaId, Sensitivity

Label = Mapping[Literal["fr", "en"], str]

_ORDER = (
    "address.changed",
    "contact.changed",
    "name.changed",
    "person.born",
    "person.died",
    "union.registered",
    "union.dissolved",
    "bank-account.changed",
    "person.reference",
    "declaration.cancelled",
    "declaration.recalled",
    "couple.formed",
    "couple.separated",
    "child-residence.changed",
    "representation.started",
    "representation.ended",
    "identity.corrected",
    "address.renamed",
    "person.born.v2",
    "person.died.v2",
    "address.changed.v1.2",
)


@dataclass(frozen=True, slots=True)
class FieldType:
    """One top-level field of an event type: the unit that a citizen grants and a source discloses."""

    index: int
    name: str
    doc: str
    label: Label = field(hash=False)
    sensitivity: Sensitivity
    iri: str | None
    """The property of the EU Core Vocabularies that means the same, where there is one."""
    nullable: bool


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One registered schema of an event type. Made by `event_schema`."""

    event_type: EventType
    schema: avro.Schema
    fields: tuple[FieldType, ...]
    uses_territories: bool
    """Whether its declarations name communes or countries in clear, for recipients that are found by place."""
    label: Label = field(hash=False)
    doc: str

    def field(self, name: str) -> FieldType:
        """The field of this name. Raises Refused(`catalogue.unknown-field`)."""
        for each in self.fields:
            if each.name == name:
                return each
        raise Refused("catalogue.unknown-field", type=self.event_type)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names, in the order of the schema."""
        return tuple(each.name for each in self.fields)


@dataclass(frozen=True, slots=True)
class Retirement:
    """An event type on its way out: since when nobody should begin with it, when it may be gone, what follows it."""

    deprecated_at: Instant
    sunset_at: Instant | None = None
    successor: EventType | None = None


BANK_ACCOUNT: Final = EventType("fr.unefois.bank-account.changed.v1")
"""Where somebody is paid: known for surer than others, held, and told at once."""
LEAST: Final[Mapping[EventType, Least]] = {BANK_ACCOUNT: Least(Assurance.SUBSTANTIAL, Quality.DECLARED)}
"""How sure a declaration of a type has to be for whoever subscribes to it from now on: who changes where somebody is
paid is known for certain."""

_WITH_PLACES: Final = Instant(1_796_083_200_000)
"""1 December 2026, 00:00 UTC: births and deaths have a type that names their communes."""
RETIREMENTS: Final[Mapping[EventType, Retirement]] = {
    EventType(f"fr.unefois.{name}.v1"): Retirement(_WITH_PLACES, None, EventType(f"fr.unefois.{name}.v2"))
    for name in ("person.born", "person.died")
}
"""Not in the schemas: their bytes never change. Sources and recipients are told over HTTP, each time."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every registered schema, oldest first."""

    schemas: tuple[EventSchema, ...]
    retirements: Mapping[EventType, Retirement] = field(default_factory=dict, hash=False)
    _by_id: Mapping[SchemaId, EventSchema] = field(init=False, repr=False, compare=False)
    _by_type: Mapping[EventType, EventSchema] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {each.schema.id: each for each in self.schemas})
        object.__setattr__(self, "_by_type", {each.event_type: each for each in self.schemas})

    @classmethod
    def of(cls, raws: Iterable[bytes]) -> Self:
        """The catalogue of these registered schema bytes; the same bytes twice count once. Raises Refused."""
        return cls(tuple(event_schema(avro.parse(raw)) for raw in dict.fromkeys(raws)))

    def by_type(self, event_type: EventType) -> EventSchema:
        """The newest schema of a type. Raises Refused(`catalogue.unknown-type`)."""
        try:
            return self._by_type[event_type]
        except KeyError:
            raise Refused("catalogue.unknown-type", type=event_type) from None

    def versions(self, event_type: EventType) -> tuple[EventSchema, ...]:
        """Every schema of a type, oldest first: the first is version 1, as the registry counts."""
        return tuple(each for each in self.schemas if each.event_type == event_type)

    @property
    def newest(self) -> tuple[EventSchema, ...]:
        """The newest schema of each type, in the order of the types."""
        return tuple({each.event_type: each for each in self.schemas}.values())

    def by_id(self, schema_id: SchemaId) -> EventSchema:
        """The schema with this SHA-256. Raises Refused(`catalogue.unknown-schema`)."""
        try:
            return self._by_id[schema_id]
        except KeyError:
            raise Refused("catalogue.unknown-schema", schema=schema_id.hex()) from None

    def __iter__(self) -> Iterator[EventSchema]:
        return iter(self.schemas)


@cache
def builtin() -> Catalogue:
    """The event types that come with the package."""
    folder = files("schemas").joinpath("events")
    made = Catalogue.of(folder.joinpath(f"{_file(name)}.avsc").read_bytes() for name in _ORDER)
    return replace(made, retirements=RETIREMENTS)


def _file(name: str) -> str:
    """`address.changed` is in `address.changed.v1`; its second schema, `address.changed.v1.2`, says so itself."""
    return name if ".v" in name else f"{name}.v1"


def event_schema(schema: avro.Schema) -> EventSchema:
    """An event schema, checked: everything that a person has to be told is there. Raises Refused (`catalogue.*`)."""
    event_type = _event_type(schema)
    if not schema.type.doc.strip():
        raise Refused("catalogue.no-doc")
    uses = schema.properties.get("usesTerritories", False)
    if not isinstance(uses, bool):
        raise Refused("catalogue.property", "/usesTerritories")
    fields = tuple(_field_type(each) for each in schema.fields)
    _check_format(schema.type, "")
    for each in schema.fields:
        _check_inner(each.type, f"/fields/{each.index}/type")
        for name in ("equals", "counts", "differs", "sectorOf"):
            _check_reference(each, name, schema.type)
        for name in ("onlyWith", "streetlessWith"):
            _check_condition(each, name, schema.type)
    label = _label(schema.properties, "")
    return EventSchema(event_type, schema, fields, uses, label, schema.type.doc)


def _event_type(schema: avro.Schema) -> EventType:
    """The property `eventType`, else the record's full name; they are the same but for dashes, which Avro forbids."""
    told = schema.properties.get("eventType", schema.name)
    if not isinstance(told, str) or told.replace("-", "_") != schema.name:
        raise Refused("catalogue.event-type", "/eventType")
    return EventType(told)


def _field_type(each: avro.FieldSchema) -> FieldType:
    place = f"/fields/{each.index}"
    try:
        sensitivity = Sensitivity(each.properties.get("sensitivity"))
    except ValueError:
        raise Refused("catalogue.no-sensitivity", place) from None
    iri = each.properties.get("iri")
    if not (iri is None or isinstance(iri, str)):
        raise Refused("catalogue.property", f"{place}/iri")
    doc, label = _doc(each.properties, place), _label(each.properties, place)
    return FieldType(each.index, each.name, doc, label, sensitivity, iri, each.nullable)


def _doc(properties: Mapping[str, Any], place: str) -> str:
    doc = properties.get("doc")
    if not isinstance(doc, str) or not doc.strip():
        raise Refused("catalogue.no-doc", place)
    return doc


def _label(properties: Mapping[str, Any], place: str) -> Label:
    label = properties.get("label")
    if not isinstance(label, dict) or not all(_said(label.get(language)) for language in ("fr", "en")):
        raise Refused("catalogue.no-label", place)
    return {"fr": label["fr"], "en": label["en"]}


def _said(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _check_inner(kind: Type, place: str) -> None:
    """Fields and symbols inside have a doc or a label too; formats and limits are ones that `values` can check."""
    _check_kind(kind, place)
    _check_format(kind, place)
    for name, of in _LIMITS.items():
        if name in kind.properties and (kind.kind is not of or type(kind.properties[name]) is not int):
            raise Refused("catalogue.property", f"{place}/{name}")
    for number, part in enumerate(kind.parts):
        _check_inner(part, f"{place}/{number}" if kind.kind is Kind.UNION else f"{place}/items")
    for number, each in enumerate(kind.fields):
        inner = f"{place}/fields/{number}"
        _doc(each.properties, inner)
        _label(each.properties, inner)
        _check_inner(each.type, f"{inner}/type")


def _check_kind(kind: Type, place: str) -> None:
    if kind.kind is Kind.MAP:
        raise Refused("catalogue.map", place)
    if kind.kind is Kind.UNION and (len(kind.parts) != 2 or not kind.nullable):
        raise Refused("catalogue.union", place)
    if kind.kind is Kind.ENUM:
        labels = kind.properties.get("labels")
        for symbol in kind.symbols:
            _label({"label": labels.get(symbol) if isinstance(labels, dict) else None}, f"{place}/labels/{symbol}")


def _check_format(kind: Type, place: str) -> None:
    if "format" not in kind.properties:
        return
    name = kind.properties["format"]
    names = {each.name for each in kind.fields}
    known = isinstance(name, str) and (
        (kind.kind is Kind.STRING and name in FORMATS)
        or (kind.kind is Kind.RECORD and name in RECORD_FORMATS and names >= RECORD_FORMATS[name])
    )
    if not known:
        raise Refused("catalogue.format", f"{place}/format")


def _check_reference(each: avro.FieldSchema, name: str, top: Type) -> None:
    """`equals`, `counts`, `differs` and `sectorOf` name another place of the record: `/new_address/commune`."""
    told = each.properties.get(name, "")
    kind: Type | None = top
    for step in told.split("/")[1:] if isinstance(told, str) else [""]:
        parts = [*kind.parts, kind] if kind is not None else []
        kind = next((inner.type for part in parts for inner in part.fields if inner.name == step), None)
    if kind is None:
        raise Refused("catalogue.property", f"/fields/{each.index}/{name}")


def _check_condition(each: avro.FieldSchema, name: str, top: Type) -> None:
    """`onlyWith` and `streetlessWith` name symbols of another field, of an enumeration: `/housing=boat,travelling`."""
    if name not in each.properties:
        return
    told = each.properties[name]
    place, _, symbols = told.partition("=") if isinstance(told, str) else ("", "", "")
    other = next((one for one in top.fields if f"/{one.name}" == place), None)
    kinds = [] if other is None else [other.type, *other.type.parts]
    known = {symbol for kind in kinds for symbol in kind.symbols}
    if not known.issuperset(symbols.split(",")):
        raise Refused("catalogue.property", f"/fields/{each.index}/{name}")


_LIMITS = {
    "maxLength": Kind.STRING,
    "maxItems": Kind.ARRAY,
    "minItems": Kind.ARRAY,
    "minimum": Kind.INT,
    "maximum": Kind.INT,
}

RECORD_FORMATS: Mapping[str, frozenset[str]] = {
    "identity": frozenset({"birthplace", "birthcountry"}),
    "address": frozenset({"street", "locality", "po_box", "postcode", "commune", "country", "lines"}),
    "declaration": frozenset({"declarant", "capacity"}),
}
"""Formats of whole records whose fields have to agree (`values`), with the fields that each needs."""


def with_defaults(event: EventSchema, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record with the default of each field that a later schema of the type added and that it does not tell: who
    wrote a program against the schema before goes on as it was.
    """
    added = {
        each.name: each.properties["default"]
        for each in event.schema.type.fields
        if each.has_default and each.name not in record
    }
    return {**record, **added} if added else record


def territories_of(event: EventSchema, record: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of a record's territory fields (COG communes), sorted, each once; none where the type uses none.

    Nothing is told in clear but what the type marks with `"territory": true`; docs/protocol.md, section 4.
    """
    if not event.uses_territories:
        return ()
    marked = [each.name for each in event.schema.fields if each.properties.get("territory") is True]
    return tuple(sorted({record[name] for name in marked if isinstance(record.get(name), str)}))
