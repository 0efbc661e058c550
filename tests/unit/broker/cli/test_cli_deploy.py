"""deploy: what is written is what the tests try, and nothing is written over unasked."""

from pathlib import Path

import pytest
import yaml

from broker.cli import deploy
from broker.setup import rights
from tests.program import Program

ROOT = Path(__file__).parents[4]


def test_every_file_is_that_of_the_checkout_but_for_where_the_image_comes_from(bare: Program, tmp_path: Path) -> None:
    told = bare.told("deploy", "write", tmp_path / "deploy")

    written = {
        path.relative_to(tmp_path / "deploy").as_posix() for path in (tmp_path / "deploy").rglob("*") if path.is_file()
    }
    assert set(told["files"]) == written
    for name in written - {"Dockerfile", "compose.yaml", "requirements/server.txt"}:
        assert (ROOT / "deploy" / name).read_bytes() == (tmp_path / "deploy" / name).read_bytes(), name
    assert (tmp_path / "deploy/bin/unefois").stat().st_mode & 0o111
    services = yaml.safe_load((tmp_path / "deploy/compose.yaml").read_text())["services"]
    assert {"."} == {told["build"]["context"] for told in services.values() if "build" in told}
    assert "COPY unefois-*.whl" in (tmp_path / "deploy/Dockerfile").read_text()


def test_the_two_images_differ_in_where_the_program_comes_from_alone() -> None:
    ours, wheels = ((ROOT / "deploy" / name).read_text() for name in ("Dockerfile", "wheel.Dockerfile"))
    last = "\nFROM python:3.13-slim\n"

    assert ours.partition(last)[2] == wheels.partition(last)[2] != ""


def test_no_secret_that_lies_there_is_written(bare: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("deploy/compose.yaml", "deploy/wheel.Dockerfile", "deploy/secrets/database-url"):
        (tmp_path / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / name).write_text("x")
    monkeypatch.setattr(deploy, "CHECKOUT", tmp_path / "checkout")

    assert ["Dockerfile", "compose.yaml"] == sorted(bare.told("deploy", "write", tmp_path / "out")["files"])


def test_what_is_there_stays_unless_it_is_to_be_replaced(bare: Program, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("mine")

    assert "deploy.exists" == bare.error("deploy", "write", tmp_path, code=3)["code"]
    assert ["compose.yaml"] == [path.name for path in tmp_path.iterdir() if path.name != "home"]
    assert "unefois@.service" in bare.run("deploy", "write", tmp_path, "--replace").stdout
    assert "mine" != (tmp_path / "compose.yaml").read_text()


def test_where_nothing_was_packed_or_nothing_can_be_written_it_says_so(
    bare: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert "cli.cannot-write" == bare.error("deploy", "write", tmp_path / "file", code=3)["code"]
    monkeypatch.setattr(deploy, "CHECKOUT", tmp_path)
    assert "deploy.not-packed" == bare.error("deploy", "write", tmp_path / "out", code=3)["code"]


def test_logins_are_printed_as_sql_and_what_is_no_name_is_refused(bare: Program) -> None:
    told = bare.told("deploy", "logins", "--prefix", "town_")

    assert rights.sql("town_") == told["sql"]
    assert {name: f"town_{name}" for name in (*(role.value for role in rights.ROLES), "reader")} == told["logins"]
    assert rights.sql("unefois_").rstrip() == bare.run("deploy", "logins").stdout.rstrip()
    for wrong in ("", "Town_", "a b", "a'", 'a"', "1a", "a" * 41):
        assert "deploy.prefix" == bare.error("deploy", "logins", "--prefix", wrong, code=3)["code"], wrong
