"""What is declared: values that cannot be, at a hosted source, in its dry run, and in a file on the command line.

Every row is one thing wrong with the citizen's move or bank account; code and place are the same at every door.
"""

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from schemas.names import EventType
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.telling import CITIZEN, HOME, IBAN
from tests.world import BANK, MOVED, PORTAL, world

TEN_MEGABYTES = 10_000_000
DECOMPOSED = unicodedata.normalize("NFD", "Zéphyrienne")


def nested(depth: int) -> Any:
    """A list in a list in a list; a value of the citizen at the bottom."""
    value: Any = "Quenouillard"
    for _ in range(depth):
        value = [value]
    return value


@dataclass(frozen=True)
class Wrong:
    """One change of what is declared, and what must be said of it."""

    code: str
    pointer: str
    changes: dict[str, Any] = field(repr=False)
    event_type: EventType = MOVED


WRONG = {
    "a long text": Wrong("values.too-long", "/new_address/city", {"new_address": HOME | {"city": "Zibeline" * 40}}),
    "nested in a text": Wrong("avro.wrong-type", "/new_address/city", {"new_address": HOME | {"city": nested(900)}}),
    "nested in a list": Wrong("avro.wrong-type", "/household/0", {"household": nested(900)}),
    "too many items": Wrong(
        "values.too-many", "/new_address/lines", {"new_address": HOME | {"lines": ["Zibeline"] * 99}}
    ),
    "not NFC, a name": Wrong(
        "values.not-nfc", "/subject/given_names/0", {"subject": CITIZEN | {"given_names": [DECOMPOSED]}}
    ),
    "not NFC, a street": Wrong(
        "values.not-nfc", "/new_address/street", {"new_address": HOME | {"street": f"impasse {DECOMPOSED}"}}
    ),
    "a control character": Wrong(
        "values.control-character", "/subject/family_name", {"subject": CITIZEN | {"family_name": "Quenouil\x07lard"}}
    ),
    "a line break": Wrong(
        "values.control-character", "/new_address/street", {"new_address": HOME | {"street": "impasse\nZibeline"}}
    ),
    "a direction mark": Wrong(
        "values.control-character", "/subject/family_name", {"subject": CITIZEN | {"family_name": "Quenouil\u202elard"}}
    ),
    "a lone surrogate": Wrong(
        "avro.not-unicode", "/subject/family_name", {"subject": CITIZEN | {"family_name": "Quenouil\ud800lard"}}
    ),
    "an IBAN with a wrong check": Wrong("values.iban", "/iban", {"iban": IBAN[:-1] + "7"}, BANK),
    "an IBAN cut": Wrong("values.iban", "/iban", {"iban": IBAN[:-2]}, BANK),
    "an unknown commune": Wrong(
        "values.commune", "/new_address/commune", {"new_address": HOME | {"commune": "Z!bel"}, "new_commune": "Z!bel"}
    ),
    "an unknown birthplace": Wrong(
        "values.commune", "/subject/birthplace", {"subject": CITIZEN | {"birthplace": "Z!bel"}}
    ),
    "an impossible day": Wrong("values.date", "/effective_date", {"effective_date": "2027-02-30"}),
    "an impossible birthdate": Wrong(
        "values.partial-date", "/subject/birthdate", {"subject": CITIZEN | {"birthdate": "1971-02-30"}}
    ),
    "a date in words": Wrong("values.date", "/effective_date", {"effective_date": "demain"}),
}


def record(door: Door, wrong: Wrong) -> dict[str, Any]:
    """What is declared, with the one thing wrong."""
    if wrong.event_type == MOVED:
        return door.move(**wrong.changes)
    return door.here.bank(**{"subject": CITIZEN, "iban": IBAN, "holder": "Zéphyrienne Quenouillard"} | wrong.changes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """One broker for every wrong value: each leaves it as it was, and at the end what is sound arrives."""
    async with world(tmp_path_factory.mktemp("counter")) as made:
        opened = Door(made)
        await opened.allow()
        await made.step()
        yield opened
        await opened.arrives()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_wrong_value_is_refused_at_its_place_before_anything_is_written(counter: Door, wrong: Wrong) -> None:
    desk = counter.here.home.desk
    for call in (desk.explain, desk.declare):
        await counter.fails(call(PORTAL, wrong.event_type, record(counter, wrong)), wrong.code, wrong.pointer)


@pytest.mark.parametrize(
    "wrong", [pytest.param(wrong, id=name) for name, wrong in WRONG.items() if name != "nested in a list"]
)
def test_a_person_reads_what_is_wrong_with_a_value_where_and_what_to_do(person: Person, wrong: Wrong) -> None:
    bank = {"subject": CITIZEN, "capacity": "self", "effective_date": "2026-12-01", "iban": IBAN}
    bank |= {"holder": "Zéphyrienne Quenouillard", "joint": False, "uses": ["payments"]}
    told = {MOVED: person.record(), BANK: bank}[wrong.event_type] | wrong.changes
    file = person.write({"event_type": wrong.event_type, "record": told})

    person.is_told(("declare", file), wrong.code, wrong.pointer, exit_code=3)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("pointer", "changes"),
    [
        ("/subject/family_name", {"subject": CITIZEN | {"family_name": "Q" * TEN_MEGABYTES}}),
        ("/new_address/lines/1", {"new_address": HOME | {"lines": ["Zibeline", "é" * TEN_MEGABYTES]}}),
        ("/email", {"email": "q" * TEN_MEGABYTES}),
    ],
    ids=["a-name", "a-line", "an-address"],
)
async def test_ten_megabytes_in_one_field_are_refused_at_that_field(
    counter: Door, pointer: str, changes: dict[str, Any]
) -> None:
    desk = counter.here.home.desk
    for call in (desk.explain, desk.declare):
        fault = await counter.fails(call(PORTAL, MOVED, counter.move(**changes)), "avro.too-large", pointer)
        assert TEN_MEGABYTES <= int(fault.details["size"])


@pytest.mark.asyncio
async def test_ten_megabytes_at_the_intake_are_refused_before_they_are_read(door: Door) -> None:
    envelope = await door.envelope()

    fault = await door.refuses(envelope + bytes(TEN_MEGABYTES), "intake.too-large", "")

    assert len(envelope) + TEN_MEGABYTES == fault.details["size"]
    await door.arrives(lambda: door.here.home.intake.accept(envelope))


def test_a_person_who_gives_a_file_of_ten_megabytes_is_told_before_it_is_read(person: Person) -> None:
    told = person.record() | {"email": "q" * TEN_MEGABYTES}

    words = ("declare", person.write(told), "--type", "address.changed")
    assert 4 * 2**20 == person.is_told(words, "cli.file-too-large", exit_code=3).details["limit"]
    fault = person.is_told(
        ("declare", person.write(told | {"email": "q" * 300_000}), "--type", "address.changed"),
        "yaml.too-large",
        exit_code=3,
    )

    assert 2**18 == fault.details["limit"]
    person.declares()


@pytest.mark.parametrize(("shape", "depth"), [("json", 100_000), ("yaml", 2_000)])
def test_a_person_who_gives_a_file_that_is_nested_without_end_is_told_so(
    person: Person, shape: str, depth: int
) -> None:
    content = b'{\n "subject":' if shape == "json" else b"---\nsubject: "
    file = person.write(
        content + b"[" * depth + b'"Quenouillard"' + b"]" * depth + (b"}" if shape == "json" else b"\n")
    )

    fault = person.is_told(("declare", file, "--type", "address.changed"), "yaml.too-deep", exit_code=3)

    assert (2, 40) == (fault.details["line"], fault.details["limit"])
    person.declares()
