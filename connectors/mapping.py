"""Mappings: declarative files that turn a verified delivery into an agency's row, or an agency's file into a record.

A file (YAML) names itself, its event type and direction, one expression for each target, its code tables, the
parameters that a person must add (inbound only), and its own tests:

    name: commune-table
    version: 1
    event_type: fr.unefois.address.changed.v1
    direction: out                       # out: record -> row; in: given -> record
    fields: {POSTAL: record.new_address.postcode}
    tests: [...]

Refuses: what the file's own checks refuse (`mapping.*`, with a pointer into the file), and a result over its limits.
Keeps: a withheld field is never null. Reading one is Reject("mapping.withheld"), unless the file says what to do.
"""

from collections import abc
from dataclasses import dataclass, field
from enum import Enum
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from connectors import code_tables, strict_yaml
from connectors.code_tables import CodeTable, Read, Tables
from connectors.contract import first_wrong, reference_token
from connectors.expression import Expression, Root, World, evaluate, nearest, parse
from connectors.functions import Absent
from connectors.plain import FACTS, facts_of, measure, plain
from schemas.delivery import VerifiedDelivery
from schemas.errors import Refused
from schemas.names import EventType

MAX_TARGETS = 200
"""Most targets of one file, nested ones counted."""

Scalar = str | int | float | bool | None
Structure = Expression | abc.Mapping[str, "Structure"]


class Direction(Enum):
    """Which way a mapping goes."""

    OUT = "out"
    IN = "in"


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
_Target = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,63}$")]


_Beside = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.csv$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Parameter(_Model):
    """What a person adds because the agency's data lack it. Without a default it must be given."""

    doc: str
    default: Scalar = None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return "default" not in self.model_fields_set


class Example(_Model):
    """One of a file's tests: what is given, and the row, record or error code expected. Invented people only."""

    name: str
    given: dict[str, Any]
    withheld: list[str] = Field(default_factory=list)
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    expect: dict[str, Any] | None = None
    error: str | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "Example":
        if (self.expect is None) is (self.error is None):
            raise ValueError("one of expect and error")
        return self


class _File(_Model):
    name: _Name
    version: Annotated[int, Field(ge=1)]
    event_type: str
    direction: Literal["out", "in"]
    doc: str = ""
    fields: Annotated[dict[_Target, Any], Field(min_length=1)]
    codes: dict[_Name, dict[str, Scalar]] = Field(default_factory=dict)
    tables: dict[_Name, _Beside] = Field(default_factory=dict)
    parameters: dict[_Name, Parameter] = Field(default_factory=dict)
    tests: list[Example] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A file that passed its checks. Made by `load` only."""

    name: str
    version: int
    event_type: EventType
    direction: Direction
    doc: str
    fields: abc.Mapping[str, Structure] = field(repr=False)
    tables: Tables = field(repr=False)
    parameters: abc.Mapping[str, Parameter] = field(repr=False)
    tests: tuple[Example, ...] = field(repr=False)

    @property
    def targets(self) -> tuple[str, ...]:
        """Column or field names in the file's order."""
        return tuple(self.fields)

    def row_of(self, delivery: VerifiedDelivery) -> dict[str, object]:
        """The agency's row for a verified delivery; a target left out stays as it is in the agency's system.

        Raises Reject("mapping.withheld") where a withheld field is read, Refused("mapping.*") for anything else.
        """
        if delivery.event_type != self.event_type:
            raise Refused("mapping.other-event-type", mapping=self.name, event_type=delivery.event_type)
        return self.apply({"record": plain(delivery.record), "delivery": facts_of(delivery)})

    def apply(self, given: object, parameters: abc.Mapping[str, Scalar] | None = None) -> dict[str, object]:
        """Outbound: the row of `{"record": ..., "delivery": ...}`. Inbound: the record of an agency's parsed file.

        Raises Refused("mapping.*") with the target as pointer. The result holds plain data only.
        """
        if self.direction is Direction.OUT:
            if not isinstance(given, abc.Mapping):
                raise Refused("mapping.given")
            world: abc.Mapping[str, object] = given
        else:
            world = {"given": plain(given), "parameters": self._filled(parameters or {})}
        result = {name: self._made(part, world, f"/{reference_token(name)}") for name, part in self.fields.items()}
        made = {name: value for name, value in result.items() if value is not Absent.LEFT_OUT}
        measure(made)
        return made

    def _made(self, part: Structure, world: abc.Mapping[str, object], pointer: str) -> object:
        if not isinstance(part, Expression):
            return {
                name: self._made(inner, world, f"{pointer}/{reference_token(name)}") for name, inner in part.items()
            }
        try:
            return evaluate(part, world, self.tables)
        except Refused as fault:
            raise fault.under(pointer) from None

    def _filled(self, given: abc.Mapping[str, Scalar]) -> dict[str, Scalar]:
        for name in given:
            if name not in self.parameters:
                raise Refused("mapping.unknown-parameter", near=nearest(name, self.parameters))
        for name, parameter in self.parameters.items():
            if parameter.required and given.get(name) is None:
                raise Refused("mapping.parameter-missing", f"/parameters/{name}", parameter=name)
        return {name: given.get(name, parameter.default) for name, parameter in self.parameters.items()}


def fields_read(mapping: Mapping) -> frozenset[str]:
    """Every top-level field of the record that the mapping can ever read."""
    return frozenset().union(*(part.reads for _, part in expressions(mapping)))


def expressions(mapping: Mapping) -> tuple[tuple[str, Expression], ...]:
    """Every expression with its JSON pointer into the file."""
    return tuple(_leaves(mapping.fields, "/fields"))


def _leaves(part: abc.Mapping[str, Structure], pointer: str) -> abc.Iterator[tuple[str, Expression]]:
    for name, inner in part.items():
        place = f"{pointer}/{reference_token(name)}"
        if isinstance(inner, Expression):
            yield place, inner
        else:
            yield from _leaves(inner, place)


def load(document: bytes, beside: Read | None = None) -> Mapping:
    """A mapping file, read and checked; `beside` reads its tables, which are CSV files in the same folder.

    Raises Refused("yaml.*") with a line, or ("mapping.*") with a pointer.
    """
    raw = strict_yaml.read(document)
    if not isinstance(raw, dict):
        raise Refused("mapping.not-a-mapping")
    file = _validated(raw)
    direction = Direction(file.direction)
    if direction is Direction.OUT and file.parameters:
        raise Refused("mapping.parameters-out", "/parameters")
    tables = _tables(file, beside)
    parsed = _Parsed(_world(direction, file, tables))
    fields = parsed.structure(file.fields, "/fields", nested=direction is Direction.IN)
    return Mapping(
        name=file.name,
        version=file.version,
        event_type=EventType(file.event_type),
        direction=direction,
        doc=file.doc,
        fields=fields,
        tables=MappingProxyType(tables),
        parameters=MappingProxyType(file.parameters),
        tests=tuple(file.tests),
    )


def packaged() -> dict[str, bytes]:
    """The mapping files that come with this package, by file name: examples to copy, and what the demo runs."""
    folder = files("connectors").joinpath("mappings")
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.name.endswith(".yaml")}


def _validated(raw: dict[str, Any]) -> _File:
    try:
        return _File.model_validate(raw)
    except ValidationError as error:
        wrong, pointer = first_wrong(error, raw)
    raise Refused("mapping.malformed", pointer, wrong=wrong)


def _tables(file: _File, beside: Read | None) -> dict[str, CodeTable]:
    tables = {name: CodeTable(name, codes) for name, codes in file.codes.items()}
    for name, place in file.tables.items():
        pointer = f"/tables/{name}"
        if name in tables:
            raise Refused("mapping.table-name", pointer, table=name)
        document = None if beside is None else beside(place)
        if document is None:
            raise Refused("mapping.table-missing", pointer, table=name)
        try:
            tables[name] = code_tables.read(name, document)
        except Refused as fault:
            raise fault.under(pointer) from None
    return tables


def _world(direction: Direction, file: _File, tables: Tables) -> World:
    if direction is Direction.OUT:
        return World({"record": Root.RECORD, "delivery": Root.NAMED}, {"delivery": FACTS}, tables)
    names = {"parameters": frozenset(file.parameters)}
    return World({"given": Root.ANYTHING, "parameters": Root.NAMED}, names, tables)


class _Parsed:
    """Parses the expressions of one file and counts them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0

    def structure(self, raw: dict[str, Any], pointer: str, *, nested: bool) -> abc.Mapping[str, Structure]:
        return MappingProxyType({name: self._part(name, part, pointer, nested) for name, part in raw.items()})

    def _part(self, name: str, part: object, pointer: str, nested: bool) -> Structure:
        place = f"{pointer}/{reference_token(name)}"
        self._count += 1
        if self._count > MAX_TARGETS:
            raise Refused("mapping.too-many-targets", place, limit=MAX_TARGETS)
        if isinstance(part, dict) and part and nested:
            return self.structure(part, place, nested=True)
        if not isinstance(part, str):
            raise Refused("mapping.not-an-expression", place)
        try:
            return parse(part, self._world)
        except Refused as fault:
            raise fault.under(place) from None
