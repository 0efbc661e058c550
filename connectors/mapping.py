"""Mappings: declarative files that turn a verified delivery into an agency's row, or an agency's file into a record.

A file (YAML) names itself, its event type and direction, one expression for each target, its code tables, the
parameters that a person must add (inbound only), and its own tests:

    name: commune-table
    version: 1
    event_type: fr.unefois.address.changed.v1
    direction: out                       # out: record -> row; in: given -> record
    fields: {POSTAL: record.new_address.postcode}
    tests: [...]

    rows: record.household               # optional, out: a row for each item, which expressions call `row`
    group_by: [DOSSIER]                  # optional, in: rows with the same cells here are one document, with `rows`
    tables: {civility: civility.csv}     # optional: `connectors.code_tables`

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
from connectors.expression import Expression, Root, Work, World, evaluate, nearest, parse
from connectors.functions import Absent
from connectors.plain import FACTS, MAX_ROWS, facts_of, grouped, measure, plain
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
    given: dict[str, Any] | list[dict[str, Any]]
    withheld: list[str] = Field(default_factory=list)
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    expect: dict[str, Any] | list[dict[str, Any]] | None = None
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
    rows: str | None = None
    group_by: Annotated[list[_Target], Field(max_length=10)] = Field(default_factory=list)
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
    rows: Expression | None = field(repr=False)
    group_by: tuple[str, ...]
    fields: abc.Mapping[str, Structure] = field(repr=False)
    tables: Tables = field(repr=False)
    parameters: abc.Mapping[str, Parameter] = field(repr=False)
    tests: tuple[Example, ...] = field(repr=False)

    @property
    def targets(self) -> tuple[str, ...]:
        """Column or field names in the file's order."""
        return tuple(self.fields)

    def rows_of(self, delivery: VerifiedDelivery) -> tuple[dict[str, object], ...]:
        """The agency's rows for a verified delivery: one, or with `rows` one for each item, and none for none.

        A target left out stays as it is in the agency's system.
        Raises Reject("mapping.withheld") where a withheld field is read, Refused("mapping.*") for anything else.
        """
        if delivery.event_type != self.event_type:
            raise Refused("mapping.other-event-type", mapping=self.name, event_type=delivery.event_type)
        return self.apply_all({"record": plain(delivery.record), "delivery": facts_of(delivery)})

    def row_of(self, delivery: VerifiedDelivery) -> dict[str, object]:
        """The row of a mapping without `rows`. Raises as `rows_of` does."""
        return self.rows_of(delivery)[0]

    def apply(self, given: object, parameters: abc.Mapping[str, Scalar] | None = None) -> dict[str, object]:
        """Outbound: the row of `{"record": ..., "delivery": ...}`. Inbound: the record of an agency's parsed file.

        Raises Refused("mapping.*") with the target as pointer. The result holds plain data only.
        """
        made = self._made_of(self._world(given, parameters), "", Work())
        measure(made)
        return made

    def apply_all(
        self, given: object, parameters: abc.Mapping[str, Scalar] | None = None
    ) -> tuple[dict[str, object], ...]:
        """The same, for each item of `rows` or each group of an agency's rows. Raises as `apply` does, with the number.

        Without `rows` and `group_by` there is one.
        """
        if self.group_by:
            groups = grouped(given, self.group_by)
            return tuple(self._under(number, group, parameters) for number, group in enumerate(groups))
        if self.rows is None:
            return (self.apply(given, parameters),)
        world, work = self._world(given, parameters), Work()
        try:
            items = evaluate(self.rows, world, self.tables, work)
        except Refused as fault:
            raise fault.under("/rows") from None
        if not isinstance(items, list | None):
            raise Refused("mapping.rows", "/rows")
        if len(items or ()) > MAX_ROWS:
            raise Refused("mapping.too-many", "/rows", count=len(items or ()), limit=MAX_ROWS)
        made = tuple(
            self._made_of({**world, "row": item}, f"/{number}", work) for number, item in enumerate(items or ())
        )
        measure({str(number): row for number, row in enumerate(made)})
        return made

    def _under(self, number: int, group: object, parameters: abc.Mapping[str, Scalar] | None) -> dict[str, object]:
        try:
            return self.apply(group, parameters)
        except Refused as fault:
            raise fault.under(f"/{number}") from None

    def _world(self, given: object, parameters: abc.Mapping[str, Scalar] | None) -> abc.Mapping[str, object]:
        if self.direction is Direction.IN:
            return {"given": plain(given), "parameters": self._filled(parameters or {})}
        if not isinstance(given, abc.Mapping):
            raise Refused("mapping.given")
        return given

    def _made_of(self, world: abc.Mapping[str, object], place: str, work: Work) -> dict[str, object]:
        result = {
            name: self._made(part, world, f"{place}/{reference_token(name)}", work)
            for name, part in self.fields.items()
        }
        return {name: value for name, value in result.items() if value is not Absent.LEFT_OUT}

    def _made(self, part: Structure, world: abc.Mapping[str, object], pointer: str, work: Work) -> object:
        if not isinstance(part, Expression):
            return {
                name: self._made(inner, world, f"{pointer}/{reference_token(name)}", work)
                for name, inner in part.items()
            }
        try:
            return evaluate(part, world, self.tables, work)
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
    rows = () if mapping.rows is None else (("/rows", mapping.rows),)
    return (*rows, *_leaves(mapping.fields, "/fields"))


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
    if (file.rows is not None) > (direction is Direction.OUT) or bool(file.group_by) > (direction is Direction.IN):
        raise Refused("mapping.rows-direction", "/rows" if file.rows is not None else "/group_by")
    world = _world(direction, file, tables)
    rows = None if file.rows is None else _parsed(file.rows, world, "/rows")
    if rows is not None:
        world = World({**world.roots, "row": Root.ANYTHING}, world.names, world.tables)
    parsed = _Parsed(world)
    fields = parsed.structure(file.fields, "/fields", nested=direction is Direction.IN)
    return Mapping(
        name=file.name,
        version=file.version,
        event_type=EventType(file.event_type),
        direction=direction,
        doc=file.doc,
        rows=rows,
        group_by=tuple(file.group_by),
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
        return _parsed(part, self._world, place)


def _parsed(text: str, world: World, pointer: str) -> Expression:
    try:
        return parse(text, world)
    except Refused as fault:
        raise fault.under(pointer) from None
