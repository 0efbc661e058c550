"""simulate: a country of a few people, told as text, as JSON and as a picture."""

import json
from pathlib import Path

import pytest

from broker.lab.simulation import judging
from broker.lab.simulation.promises import Broken
from tests.program import Program

FEW = ("simulate", "--seed", "3", "--people", "25", "--days", "4", "--pace", "60")


def test_its_last_line_is_one_sentence_and_its_picture_a_drawing(bare: Program, tmp_path: Path) -> None:
    file = tmp_path / "country.svg"

    done = bare.run(*FEW, "--picture", str(file), "--lang", "fr")

    assert 0 == done.exit_code
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("25 personnes, 4 jours, graine 3 : ")
    assert last.endswith("toutes les promesses sont tenues.")
    assert file.read_text("utf-8").startswith("<svg ")
    again = bare.run(*FEW, "--picture", str(file))
    assert (3, True) == (again.exit_code, "simulation.file" in again.stderr)


def test_a_promise_that_breaks_is_told_and_is_the_exit_code(bare: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "files", lambda *_: [Broken("kept, and never opened", "urn:unefois:tax")])

    done = bare.run(*FEW, "--json")

    told = json.loads(done.stdout)
    assert (1, 1) == (done.exit_code, told["broken_count"])
    assert [{"promise": "kept, and never opened", "where": "urn:unefois:tax"}] == told["broken"]
    assert told["declared"] == sum(month["declared"] for month in told["monthly"].values()) > 0


def test_a_country_without_people_is_refused(bare: Program) -> None:
    done = bare.run("simulate", "--people", "0")

    assert (3, True) == (done.exit_code, "simulation.size" in done.stderr)
