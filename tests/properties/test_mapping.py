"""Whatever a mapping is given, it makes a row or says with a code at which target it cannot; twice the same; and never
more than it may cost.
"""

import copy
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.code_tables import CodeTable
from connectors.expression import MAX_STEPS, MAX_WORK
from connectors.functions import COSTS, LIBRARY, MAX_ITEMS, MAX_TEXT, FieldWithheld, Kind, call
from connectors.mapping import Direction, Mapping, load, packaged
from connectors.mapping_check import invented
from connectors.plain import MAX_CHARACTERS, MAX_NODES, MAX_ROWS
from schemas.avro_types import Kind as Avro
from schemas.avro_types import Type
from schemas.catalogue import EventSchema, builtin
from schemas.delivery import WITHHELD
from schemas.errors import Refused
from tests.examples import examples

WORDS = [
    *(
        "",
        " ",
        "0",
        "-1",
        "1962-08-24",
        "1962-08",
        "1962",
        "2026-02-30",
        "24081962",
        "99100",
        "35238",
        "2A004",
        "75116",
    ),
    *("35000", "12/14", "rue de l'Échange", "x" * 39, "Œuvrard", "Иван", "\ud800", "a;b", "Saint-Denis", "yyyymmdd"),
]
TEXTS = st.sampled_from(WORDS) | st.text(max_size=12)
NUMBERS = (
    st.integers(0, 12)
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.decimals()
    | st.sampled_from([Decimal("1E+400"), 10**400])
)
PARTS = ["country", "lines", "city", "postcode", "street", "dwelling", "housenumber", "locality", "name", "care_of"]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=4),
    max_leaves=8,
)
TABLE = CodeTable("t", {"99100": "x", "a": 1, "b": 1})


def later(value: object) -> Any:
    def asked() -> object:
        if value == "":
            raise FieldWithheld("mapping.withheld", field="phone")
        return value

    return asked


ARGUMENTS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: st.none() | TEXTS,
    Kind.NUMBER: st.none() | NUMBERS,
    Kind.LIST: st.none() | st.lists(VALUES, max_size=4),
    Kind.RECORD: st.none() | st.dictionaries(st.sampled_from(PARTS), VALUES, max_size=6),
    Kind.ANY: VALUES,
    Kind.TABLE: st.just(TABLE),
    Kind.LATER: VALUES.map(later),
    Kind.EACH: st.just(lambda item: item),
}


@pytest.mark.parametrize("name", sorted(LIBRARY))
@examples(15)
@given(data=st.data())
def test_every_function_gives_a_value_or_a_code_and_the_same_twice(name: str, data: st.DataObject) -> None:
    arguments = [data.draw(ARGUMENTS[kind]) for kind in LIBRARY[name].takes]
    before = copy.deepcopy([one for one in arguments if not callable(one)])
    ended = []
    for _ in range(2):
        try:
            ended.append(repr(call(name, arguments)))
        except Refused as fault:
            ended.append(fault.code)
    assert 1 == len(set(ended))
    assert repr(before) == repr([one for one in arguments if not callable(one)])


def values_of(kind: Type) -> st.SearchStrategy[Any]:
    """Values that the schema allows by their kind, and their texts by nothing."""
    if kind.kind is Avro.UNION:
        return st.one_of([values_of(part) for part in kind.parts])
    if kind.kind is Avro.RECORD:
        return st.fixed_dictionaries({each.name: values_of(each.type) for each in kind.fields})
    if kind.kind is Avro.ARRAY:
        return st.lists(values_of(kind.parts[0]), max_size=3)
    if kind.kind is Avro.ENUM:
        return st.sampled_from([*kind.symbols, "a symbol of tomorrow"])
    return PLAIN.get(kind.kind, NUMBERS)


PLAIN: dict[Avro, st.SearchStrategy[Any]] = {
    Avro.NULL: st.none(),
    Avro.BOOLEAN: st.booleans(),
    Avro.STRING: TEXTS,
    Avro.INT: st.integers(-(2**31), 2**31 - 1),
}


def whole(event: EventSchema) -> Mapping:
    """A mapping that reads all that there is."""
    fields = "".join(f"  {name}: withheld_or(record.{name}, 'none')\n" for name in event.names)
    head = f"name: whole\nversion: 1\nevent_type: {event.event_type}\ndirection: out\nfields:\n"
    return load((head + fields).encode())


def of_type(event: EventSchema) -> list[Mapping]:
    made = [load(raw) for raw in packaged().values()]
    ours = [one for one in made if one.event_type == event.event_type and one.direction is Direction.OUT]
    return [*ours, whole(event)]


@pytest.mark.parametrize("event", builtin().newest, ids=lambda event: event.event_type)
@examples(3)
@given(data=st.data())
def test_every_mapping_of_every_type_makes_a_row_or_names_the_target_that_it_cannot(
    event: EventSchema, data: st.DataObject
) -> None:
    record = data.draw(values_of(event.schema.type))
    record |= dict.fromkeys(data.draw(st.lists(st.sampled_from(event.names), max_size=2)), WITHHELD)
    before = copy.deepcopy(record)
    for mapping in of_type(event):
        ended: list[object] = []
        for _ in range(2):
            try:
                ended.append(repr(mapping.apply_all(invented(mapping, record))))
            except Refused as fault:
                ended.append((fault.code.partition(".")[0], fault.pointer[:1]))
        assert 1 == len(set(ended))
        assert isinstance(ended[0], str) or ("mapping", "/") == ended[0]
    assert repr(before) == repr(record)


@examples(15)
@given(VALUES)
def test_whatever_comes_in_makes_a_record_or_is_refused(given_: object) -> None:
    for name, raw in packaged().items():
        if name.endswith(".in.yaml"):
            with suppress(Refused):  # with a code; whatever else it raises is a failure
                load(raw).apply(given_)


def test_a_mapping_may_cost_so_much_and_no_more() -> None:
    """The list of docs/connect.md."""
    assert (20_000, 100_000, 100, 4_096, 1_000, 2_000, 65_536) == (
        *(MAX_STEPS, MAX_WORK, MAX_ROWS, MAX_TEXT, MAX_ITEMS, MAX_NODES, MAX_CHARACTERS),
    )
    assert set() == set(COSTS) - set(LIBRARY)
