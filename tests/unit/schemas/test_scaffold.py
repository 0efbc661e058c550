"""Scaffold: a new type is whole and valid at once, in every file that it needs, and says what is left to fill in."""

import json
from pathlib import Path

import pytest

from connectors.mapping import load
from connectors.mapping_check import run_tests
from schemas import avro, values
from schemas.catalogue import event_schema
from schemas.errors import Refused
from schemas.names import event_name
from schemas.scaffold import CATALOGUE, FILL, PAGE, PINS, SAMPLES, SDK, TOUCHED, scaffold, unfilled
from tests.docs.change import Copy

ROOT = Path(__file__).parents[3]
LABELS = ("Cession d'un véhicule", "Sale of a vehicle")


def checkout() -> dict[str, str]:
    return {path: (ROOT / path).read_text("utf-8") for path in TOUCHED}


def test_each_file_gets_its_lines_and_nothing_else_changes() -> None:
    before = checkout()

    made = scaffold("vehicle.sold", *LABELS, before)

    assert {"schemas/events/vehicle.sold.v1.avsc", "connectors/mappings/vehicle-sold-table.out.yaml", *TOUCHED} == set(
        made
    )
    for path, line in (
        (CATALOGUE, '    "vehicle.sold",\n)'),
        (PINS, f'    "fr.unefois.vehicle.sold.v1": "{FILL}",\n}}'),
        (PAGE, f"| `vehicle.sold` | {FILL} | {FILL} | {FILL} |\n"),
        (SDK, "    VehicleSold,\n)"),
        (SDK, '    "VehicleSold",\n'),
    ):
        assert 1 == made[path].count(line), path
    for path in TOUCHED:
        kept = made[path].splitlines()
        for line in before[path].splitlines():
            kept.remove(line if line in kept else f"{line},")
        assert all(kept), path
    assert json.loads(before[SAMPLES]) == {
        name: told for name, told in json.loads(made[SAMPLES]).items() if name != "fr.unefois.vehicle.sold.v1"
    }
    assert {
        "schemas/events/vehicle.sold.v1.avsc",
        "connectors/mappings/vehicle-sold-table.out.yaml",
        PINS,
        PAGE,
    } == set(unfilled(made.items()))


@pytest.mark.parametrize("word", ["vehicle.sold", "road-vehicle.sold", "bank-account.changed.v2"])
def test_what_it_writes_is_a_type_that_its_sample_and_its_mapping_fit(word: str) -> None:
    name = event_name(word)
    made = scaffold(word, *LABELS, checkout())

    event = event_schema(avro.parse(made[f"schemas/events/{name.removeprefix('fr.unefois.')}.avsc"].encode()))
    record = json.loads(made[SAMPLES])[name]
    mapping = load(made[f"connectors/mappings/{word.replace('.', '-')}-table.out.yaml"].encode())

    assert (name, LABELS[0], LABELS[1]) == (event.event_type, event.label["fr"], event.label["en"])
    assert () == values.check(event, record)
    assert [True, True] == [outcome.passed for outcome in run_tests(mapping, event)]


@pytest.mark.parametrize(
    ("word", "code"),
    [("address.changed", "scaffold.exists"), ("Vehicle.Sold", "name.event-type"), ("vehicle", "name.event-type")],
)
def test_a_name_that_is_taken_or_none_is_refused(word: str, code: str) -> None:
    with pytest.raises(Refused, match=code.replace(".", r"\.")):
        scaffold(word, *LABELS, checkout())


@pytest.mark.parametrize("path", TOUCHED)
def test_a_folder_that_is_no_checkout_is_refused_with_the_file(path: str) -> None:
    there = checkout()
    for other in ({**there, path: "something else\n"}, {name: text for name, text in there.items() if name != path}):
        with pytest.raises(Refused, match=r"scaffold\.no-checkout") as refused:
            scaffold("vehicle.sold", *LABELS, other)
        assert path == refused.value.details["file"]


@pytest.mark.proof
def test_the_tests_say_what_is_left_and_are_green_when_it_is_done(tmp_path: Path) -> None:
    copy = Copy.into(tmp_path / "copy")
    schema = "schemas/events/vehicle.sold.v1.avsc"
    checks = (
        "python -m pytest tests/unit/schemas/test_types_whole.py tests/unit/schemas/test_catalogue.py"
        " tests/unit/schemas/test_samples.py tests/unit/schemas/test_records.py tests/unit/schemas/test_values.py"
        " tests/unit/connectors/test_connector_contract.py tests/unit/connectors/test_mapping_check.py"
    )

    assert 0 == copy.run('python -m broker type new vehicle.sold --fr "Cession" --en "Sale of a vehicle"').returncode
    assert 0 == copy.run("python -m tests.typed.write").returncode
    left = copy.run(checks)
    assert 1 == left.returncode, left.stdout
    for path in copy.folder.rglob("*"):
        if path.suffix in (".avsc", ".yaml", ".md", ".py", ".json") and "scaffold" not in path.name and path.is_file():
            text = path.read_text("utf-8")
            if FILL in text:
                path.write_text(text.replace(f"| {FILL} |\n", "| consent |\n").replace(FILL, "Said"), "utf-8")
    pin = copy.run(f"python -m tests.typed.whole {schema}").stdout.strip().splitlines()[-1]
    pins = copy.folder / PINS
    pins.write_text(pins.read_text("utf-8").replace('"Said"', f'"{pin}"'), "utf-8")
    assert 0 == copy.run("python -m tests.typed.write").returncode

    done = copy.run(checks)
    assert 0 == done.returncode, done.stdout
