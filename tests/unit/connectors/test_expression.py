"""Expressions: what they read, found without running them; and what keeps them small."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.code_tables import CodeTable
from connectors.expression import Root, Work, World, evaluate, parse
from connectors.functions import FieldWithheld
from schemas.delivery import WITHHELD
from schemas.errors import Refused
from tests.examples import examples

TABLES = {"sexe": CodeTable("sexe", {"F": "female"})}
OUT = World({"record": Root.RECORD, "delivery": Root.NAMED}, {"delivery": frozenset({"id", "basis"})}, TABLES)
IN = World({"given": Root.ANYTHING, "parameters": Root.NAMED}, {"parameters": frozenset({"since"})}, TABLES)
RECORD = {"name": "Lise", "age": 39, "tags": ["b", "a"], "home": {"city": "Rennes", "code": None}, "phone": WITHHELD}
GIVEN = {"record": RECORD, "delivery": {"id": "7", "basis": "consent"}}


def code_of(text: str, world: World = OUT) -> str:
    with pytest.raises(Refused) as caught:
        parse(text, world)
    return caught.value.code


def value_of(text: str) -> object:
    return evaluate(parse(text, OUT), GIVEN, TABLES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("record.name", {"name"}),
        ("record.home.city", {"home"}),
        ("record | name", {"name"}),
        ("record.{a: name, b: home.city}", {"name", "home"}),
        ("record.[name, age]", {"name", "age"}),
        ("record.tags[0]", {"tags"}),
        ("record.tags[*] | [0]", {"tags"}),
        ("record.tags[?@ == 'a'] | length(@)", {"tags"}),
        ("record.home.*", {"home"}),
        ("record.tags[]", {"tags"}),
        ("record.tags[0:2]", {"tags"}),
        ("[record][0].name", None),
        ("@.record.name", {"name"}),
        ("@ | record | @ | name", {"name"}),
        ("upper(record.name)", {"name"}),
        ("map(&upper(@), record.tags)", {"tags"}),
        ("map(&record.name, record.tags)", {"tags"}),
        ("record.name || record.age", {"name", "age"}),
        ("record.age > `3` && !(record.name)", {"age", "name"}),
        ("when(record.name, record.age, record.tags)", {"name", "age", "tags"}),
        ("record.name == record.age", {"name", "age"}),
        ('record."phone"', {"phone"}),
        ("{record: record.age}.record.name", {"age"}),
        ("delivery.id", set()),
        ("'record.name'", set()),
        ("record.home[?record.name]", {"home"}),
    ],
)
def test_what_an_expression_reads_is_known_before_it_runs(text: str, expected: set[str] | None) -> None:
    if expected is None:
        assert "mapping.whole-record" == code_of(text)
    else:
        assert expected == parse(text, OUT).reads


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("withheld_or(record.phone, record.name)", {"name"}),
        ("keep_if_withheld(upper(record.phone))", set()),
        ("join(' ', [null_if_withheld(record.phone), record.name])", {"name"}),
        ("is_withheld(record.phone) && record.phone", {"phone"}),
        ("upper(null_if_withheld(record.phone))", set()),
    ],
)
def test_a_field_under_a_function_for_withheld_values_is_read_and_not_needed(text: str, needs: set[str]) -> None:
    found = parse(text, OUT)
    assert (True, needs) == ("phone" in found.reads, found.needs)


@pytest.mark.parametrize(
    "text",
    [
        "record",
        "@",
        "*",
        "record.*",
        "record[]",
        "record[*].name",
        "[record]",
        "{a: record}",
        "record || record.name",
        "record && record.name",
        "!record",
        "record == `1`",
        "to_text(record)",
        "length(@)",
        "map(&@, @)",
        "when(record, 'a', 'b')",
        "withheld_or(record, 'a')",
        "delivery",
        "delivery | @",
        "record[0]",
        "record[?name]",
        "record[0:1]",
        "[@]",
        "@ | @",
    ],
)
def test_the_whole_record_cannot_be_used(text: str) -> None:
    assert "mapping.whole-record" == code_of(text)


@pytest.mark.parametrize(
    ("code", "text", "world"),
    [
        ("mapping.unknown-root", "recrod.name", OUT),
        ("mapping.unknown-root", "given.name", OUT),
        ("mapping.unknown-root", "record.name && name", OUT),
        ("mapping.unknown-root", "record.name", IN),
        ("mapping.unknown-name", "delivery.idd", OUT),
        ("mapping.unknown-name", "parameters.sinse", IN),
        ("mapping.unknown-function", "uper(record.name)", OUT),
        ("mapping.unknown-function", "sort(record.tags)", OUT),
        ("mapping.unknown-function", "to_string(record.tags)", OUT),
        ("mapping.unknown-table", "code('sex', record.name)", OUT),
        ("mapping.unknown-table", "code(record.name, record.name)", OUT),
        ("mapping.unknown-table", "code(`1`, record.name)", OUT),
        ("mapping.arguments", "upper()", OUT),
        ("mapping.arguments", "upper(record.name, 'a')", OUT),
        ("mapping.arguments", "pad_left(record.name)", OUT),
        ("mapping.argument", "upper(&record.name)", OUT),
        ("mapping.argument", "map(record.name, record.tags)", OUT),
        ("mapping.argument", "[&record.name]", OUT),
        ("mapping.expression", "record.", OUT),
        ("mapping.expression", "", OUT),
        ("mapping.expression", "record.name)", OUT),
        ("mapping.expression", "'open", OUT),
        ("mapping.expression", "(" * 900 + "record.name" + ")" * 900, OUT),
        ("mapping.expression-long", "record.name" + " " * 2_000, OUT),
        ("mapping.expression-deep", "!" * 45 + "record.name", OUT),
        ("mapping.expression-deep", "[" + ",".join(["record.name"] * 150) + "]", OUT),
    ],
)
def test_what_an_expression_may_not_say(code: str, text: str, world: World) -> None:
    assert code == code_of(text, world)


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(Refused) as caught:
        parse("delivery.bassis", OUT)
    assert "basis" == caught.value.details["near"]


def test_an_inbound_expression_may_use_all_that_is_given() -> None:
    found = parse("given.*.city | [0]", IN)
    assert "Rennes" == evaluate(found, {"given": {"a": {"city": "Rennes"}}, "parameters": {}}, TABLES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("upper(record.name)", "LISE"),
        ("record.home.code", None),
        ("record.home.unknown", None),
        ("record.home.code.deeper", None),
        ("join('-', record.tags)", "b-a"),
        ("record.tags[?@ == 'a'] | [0]", "a"),
        ("record.age >= `39`", True),
        ("record.age > record.name", None),
        ("record.name < 'M'", True),
        ("record.age == `39`", True),
        ("record.age != '39'", True),
        ("`true` == `1`", False),
        ("`true` != `1`", True),
        ("`true` == `true`", True),
        ("`true` > `0`", None),
        ("record.{city: home.city, id: name}", {"city": "Rennes", "id": "Lise"}),
        ("delivery.id", "7"),
        ("map(&join('', [@, '!']), record.tags)", ["b!", "a!"]),
        ("code('sexe', 'F')", "female"),
        ("record.tags[-1]", "a"),
        ("withheld_or(record.phone, 'none')", "none"),
        ("withheld_or(upper(record.phone), 'none')", "none"),
        ("is_withheld(record.phone) || record.name", True),
        ("when(is_withheld(record.phone), record.name, record.phone)", "Lise"),
        ("null_if_withheld(record.home.code)", None),
    ],
)
def test_an_expression_gives(text: str, expected: object) -> None:
    assert repr(expected) == repr(value_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "record.phone",
        "record.phone.country",
        "record.phone || record.name",
        "record.[name, phone]",
        "record.{a: phone}",
        "record | phone",
        "default(record.phone, 'none')",
        "record.phone == `null`",
        "!(record.phone)",
        "join(' ', [record.name, record.phone])",
        "record.phone[0]",
        "record.phone[]",
        "withheld_or(record.name, 'a') && record.phone",
    ],
)
def test_a_withheld_field_never_passes_for_null(text: str) -> None:
    with pytest.raises(FieldWithheld) as caught:
        value_of(text)
    assert ("mapping.withheld", "phone") == (caught.value.code, caught.value.details["field"])


def refused_with(text: str) -> str:
    with pytest.raises(Refused) as caught:
        value_of(text)
    return caught.value.code


def test_a_field_that_the_record_lacks_is_no_null() -> None:
    assert "mapping.field-absent" == refused_with("record.email")


def test_lists_and_records_are_not_compared() -> None:
    assert "mapping.comparison" == refused_with("record.tags == record.tags")
    assert "mapping.comparison" == refused_with("record.name == record.home")


def test_an_expression_that_doubles_its_result_again_and_again_ends() -> None:
    assert "mapping.too-many" == refused_with(" | ".join(["record.tags", *["[@, @][]"] * 12]))
    assert "mapping.too-long" == refused_with(" | ".join(["record.name", *["join('', [@, @])"] * 12]))


def test_loops_inside_loops_end() -> None:
    many = " | ".join(["record.tags", *["[@, @][]"] * 8])
    thirty = f"`{list(range(30))}`"
    assert "mapping.too-much-work" == refused_with(f"{many} | map(&map(&upper('a'), {thirty}), @)")


NAMES = st.sampled_from(["name", "home", "tags", "city", "record", "delivery", "id"])
ATOMS = st.sampled_from(["record", "@", "'a'", "`1`", "*", "delivery.id"]) | NAMES
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" | ".join),
        st.tuples(inner, NAMES).map(".".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) || ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
        st.tuples(inner, NAMES).map(lambda pair: f"{pair[0]}.{{x: {pair[1]}, name: @}}"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]})[?{pair[1]}]"),
        st.tuples(inner, inner).map(lambda pair: f"map(&({pair[0]}), to_list({pair[1]}))".replace("to_list", "")),
        inner.map(lambda text: f"({text})[*]"),
        inner.map(lambda text: f"({text})[]"),
        inner.map(lambda text: f"({text})[0]"),
        inner.map(lambda text: f"default({text}, 'x')"),
        inner.map(lambda text: f"withheld_or({text}, 'x')"),
        st.tuples(inner, NAMES).map(lambda pair: f"({pair[0]}).*.{pair[1]}"),
    ),
    max_leaves=6,
)


class Watched(Mapping[str, Any]):
    """A record that remembers what was read of it."""

    def __init__(self, inner: dict[str, object]) -> None:
        self.inner = inner
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> object:
        self.read.add(name)
        return self.inner[name]

    def __iter__(self) -> Iterator[str]:
        self.read |= self.inner.keys()
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)

    def __contains__(self, name: object) -> bool:
        return name in self.inner


@examples(400)
@given(EXPRESSIONS)
def test_nothing_is_ever_read_that_was_not_foretold(text: str) -> None:
    try:
        expression = parse(text, OUT)
    except Refused:
        return
    record = Watched(
        {"name": "Lise", "home": {"city": "Rennes", "record": {"name": "x"}}, "tags": [{"id": 1}], "city": 1}
    )
    with suppress(Refused):
        evaluate(expression, {"record": record, "delivery": {"id": "7"}}, TABLES)
    assert record.read <= expression.reads


def test_what_was_said_of_an_address_is_kept_with_the_address_itself() -> None:
    work, home = Work(), {"city": "Rennes"}
    for _ in range(2):
        evaluate(parse("address_lines(record.home)", OUT), {"record": {"home": home}}, TABLES, work)
    (((kept,), said),) = work.known.values()
    assert kept is home  # as long as it is, nothing else has its id
    assert ["RENNES"] == said
