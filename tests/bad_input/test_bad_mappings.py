"""A mapping that fails: on the way in, on the way out, in its file; nothing is lost, and a mended one delivers."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from connectors.mapping import Mapping
from schemas.names import Reason
from tests.bad_input.agency import Fund
from tests.bad_input.door import Door
from tests.bad_input.person import Person
from tests.bad_input.telling import LANGUAGES, leaks
from tests.world import MOVED, RENNES

FIELDS = "nom: record.subject.family_name, ville: "
DAY = 86_400_000
CONTACT = "fr.unefois.contact.changed.v1"
RIGHT, WRONG = "record.new_address.city", "date_from(record.new_address.city, 'ddmmyyyy')"
"""The name of a town is no date."""
GIVEN = ("--set", "effective-date=2026-12-01", "--set", "new-commune=35238")
TENANTS = """
name: tenants
version: 1
event_type: fr.unefois.address.changed.v1
direction: in
parameters: {effective-date: {doc: Day.}, new-commune: {doc: Its code.}, birthplace: {doc: Its code., default: null}}
codes: {sexe: {F: female, M: male}}
fields:
  subject:
    family_name: upper(given.locataires[0].nom)
    given_names: words(given.locataires[0].prenoms) || `[]`
    birthdate: date_from(given.locataires[0].naissance, 'ddmmyyyy')
    gender: code('sexe', given.locataires[0].sexe)
    birthplace: parameters.birthplace
    birthcountry: "'99100'"
  capacity: "'self'"
  effective_date: parameters."effective-date"
  new_address:
    housenumber: number_of(given.adresse.rue)
    street: street_of(given.adresse.rue)
    postcode: postcode_of(given.adresse.ville)
    city: city_of(given.adresse.ville)
    commune: parameters."new-commune"
    country: "'99100'"
    lines: "`[]`"
  new_commune: parameters."new-commune"
  new_country: "'99100'"
  household: "`[]`"
  occupants: length(given.locataires)
  vehicles: "`[]`"
"""
HOUSEHOLD: dict[str, Any] = {
    "locataires": [{"nom": "Quenouillard", "prenoms": "Zéphyrienne", "naissance": "17031971", "sexe": "F"}],
    "adresse": {"rue": "7 IMPASSE ZIBELINE", "ville": "35000 RENNES"},
}


def mapping(ville: str) -> str:
    """A town's mapping file."""
    return f"{{name: small, version: 1, event_type: {MOVED}, direction: out, fields: {{{FIELDS}{json.dumps(ville)}}}}}"


def settings(person: Person) -> tuple[object, ...]:
    """The words for a landlord's own mapping, whose file this writes."""
    (path := person.file.with_name("tenants.in.yaml")).write_text(TENANTS)
    return ("--mapping", path, *GIVEN)


def with_first(**changes: Any) -> dict[str, Any]:
    """The household's file, its first person changed."""
    return HOUSEHOLD | {"locataires": [HOUSEHOLD["locataires"][0] | changes]}


@pytest.mark.parametrize(
    ("document", "code", "pointer"),
    [
        (with_first(naissance="30021971"), "mapping.date", "/subject/birthdate"),
        (with_first(sexe="Quenouil"), "mapping.no-code", "/subject/gender"),
        (with_first(nom=["QUENOUILLARD"]), "mapping.argument", "/subject/family_name"),
        (HOUSEHOLD | {"adresse": {"rue": "1 RUE A", "ville": "ZIBELINE"}}, "mapping.place", "/new_address/postcode"),
        ({"locataires": []}, "avro.wrong-type", "/subject/family_name"),
    ],
    ids=["impossible-date", "unknown-code", "another-kind", "no-place", "nothing-there"],
)
def test_a_person_whose_file_does_not_fit_the_mapping_is_told_at_which_field(
    person: Person, document: dict[str, Any], code: str, pointer: str
) -> None:
    words = settings(person)
    person.is_told(("declare", person.write(document), *words), code, pointer, exit_code=3)

    sound = (*words, "--set", "birthplace=44109")
    assert person.program.told("declare", person.write(HOUSEHOLD), *sound)["declaration"]


def test_a_person_who_forgets_a_parameter_of_the_mapping_is_told_which(person: Person) -> None:
    words = ("declare", person.write(HOUSEHOLD), *settings(person)[:4])

    person.is_told(words, "mapping.parameter-missing", "/parameters/new-commune", exit_code=3)


@pytest.mark.parametrize(
    ("file", "code", "pointer"),
    [
        (mapping("uper(record.new_address.city)"), "mapping.unknown-function", "/fields/ville"),
        (mapping("record.new_address.city ||"), "mapping.expression", "/fields/ville"),
        (mapping("record"), "mapping.whole-record", "/fields/ville"),
        ("{name: small, version: one}", "mapping.malformed", "/version"),
        ("{name: small", "yaml.malformed", ""),
    ],
    ids=["unknown-function", "no-expression", "whole-record", "malformed", "cut"],
)
def test_a_mapping_file_with_a_mistake_is_told_by_its_place(person: Person, file: str, code: str, pointer: str) -> None:
    (path := person.file.with_name("small.yaml")).write_text(file)

    fault = person.is_told(("declare", person.write(HOUSEHOLD), "--mapping", path), code, pointer, exit_code=3)

    assert str(path) == fault.details["file"]


def test_a_mapping_that_is_not_there_is_told_with_the_nearest_one(person: Person) -> None:
    fault = person.is_told(
        ("declare", person.write(HOUSEHOLD), "--mapping", "publik-adress"), "mapping.no-such-file", exit_code=3
    )

    assert str(fault.details["near"]).startswith("publik-address-changed")


@pytest.mark.asyncio
async def test_a_delivery_that_an_agencys_mapping_cannot_take_waits_among_the_dead_and_arrives_after(
    door: Door,
) -> None:
    here, fund = door.here, Fund(door.here)
    sound = fund.mapping
    await here.declare(MOVED, door.move())
    await here.declare(MOVED, door.move(effective_date="2027-01-01"))

    fund.mapping = mapping(WRONG).encode()
    report = await fund.run()
    fund.mapping = sound
    await fund.takes()  # the citizen's next one did not wait

    ((_, rejected),) = report.rejected
    (letter,) = await here.home.dead_letters.list()
    assert ("mapping.date", Reason.MAPPING) == (rejected.code, rejected.reason) == (letter.code, letter.reason)
    assert await here.home.dead_letters.replay(letter.id) is None
    await fund.takes()
    assert 2 == len(fund.shelf.rows)


@pytest.mark.asyncio
@pytest.mark.parametrize("raises", [False, True], ids=["no-mapping", "a-mapping-that-breaks"])
async def test_a_delivery_that_no_mapping_fits_is_parked_with_its_reason_and_arrives_after(
    door: Door, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    here, fund = door.here, Fund(door.here)
    sound = fund.mapping
    await here.declare(MOVED, door.move())
    if raises:
        monkeypatch.setattr(Mapping, "rows_of", _broken)
    else:
        fund.mapping = mapping(RIGHT).replace(MOVED, CONTACT).encode()
    code = "runner.connector-failed" if raises else "runner.no-route"

    for _ in range(here.home.settings.delivery_attempts):
        report = await fund.run()
        assert [code] == [each for _, each in report.retried]
        here.clock.pass_(DAY)

    assert 0 == (await fund.run()).pulled
    (letter,) = await here.home.dead_letters.list()
    assert (code, Reason.PARKED) == (letter.code, letter.reason)
    assert [] == leaks(repr(letter))
    monkeypatch.undo()
    fund.mapping = sound
    assert await here.home.dead_letters.replay(letter.id) is None
    await fund.takes()


def _broken(*_: object) -> None:
    raise ZeroDivisionError("Quenouillard")


def test_an_operator_reads_why_a_mapping_failed_mends_it_and_the_delivery_arrives(
    person: Person, tmp_path: Path
) -> None:
    program = person.program
    _host(person, tmp_path, WRONG)
    person.allows()
    person.program.told("declare", person.file, "--type", "address.changed")

    assert 1 == program.told("run", "--once")["rejected"]
    (letter,) = program.told("dead", "list")["dead_letters"]
    assert ("mapping.date", "mapping") == (letter["code"], letter["reason"])
    for language in LANGUAGES:
        shown = program.told("dead", "show", letter["number"], "--lang", language)
        assert shown["message"]
        assert "?" not in shown["message"]
        assert shown["remedy"]
        assert [] == leaks(json.dumps(shown))
    _host(person, tmp_path, RIGHT)
    program.told("dead", "replay", letter["number"])
    assert 1 == program.told("run", "--once")["applied"]

    with closing(sqlite3.connect(tmp_path / "town.db")) as town:
        assert [("Quenouillard", "Rennes")] == town.execute("SELECT nom, ville FROM t").fetchall()
    assert program.told("fsck")["clean"]


def test_an_operator_whose_agencys_mapping_has_a_mistake_is_told_in_which_file(person: Person, tmp_path: Path) -> None:
    _host(person, tmp_path, "uper(record.new_address.city)")
    person.allows()
    declared = person.program.told("declare", person.file, "--type", "address.changed")["declaration"]

    fault = person.is_told(("run", "--once"), "mapping.unknown-function", "/fields/ville", exit_code=3)

    assert "./small.mapping" == fault.details["file"]
    _host(person, tmp_path, RIGHT)
    assert 1 == person.program.told("run", "--once")["applied"]
    steps = person.program.told("track", declared)["steps"]
    assert ["done"] == [step["progress"] for step in steps if step["recipient"] == RENNES]


def _host(person: Person, tmp_path: Path, ville: str) -> None:
    folder = person.home / "agencies"
    folder.mkdir(exist_ok=True)
    (folder / "small.mapping").write_text(mapping(ville))
    settings = {"url": f"sqlite+aiosqlite:///{tmp_path / 'town.db'}", "table": "t", "create": True}
    route = {"mapping": "./small.mapping", "connector": "table", "settings": settings}
    (folder / "town.yaml").write_text(json.dumps({"party": RENNES, "routes": [route]}))
