"""The agency's wheel stands alone, beside folders of the agency's own that are called like our packages."""

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from connectors.mapping import packaged
from schemas.catalogue import builtin
from schemas.described import describe, find
from tests.agency.conftest import ROOT, Environment, Served, plain

BROKERS = (
    "alembic",
    "fastapi",
    "sqlalchemy",
    "uvicorn",
    "typer",
    "structlog",
    "aiosqlite",
    "prometheus_client",
    "avro",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An agency's own project, with packages that are called like ours."""
    for name in ("schemas", "connectors", "broker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"WHOSE = 'the agency: {name}'\n")
    return tmp_path


def test_the_fifteen_lines_receive_beside_the_agencys_own_packages(
    environment: Environment, served: Served, folder: Path
) -> None:
    for name in ("town.key", "api.token"):
        shutil.copy(served.town / name, folder / name)
    script = (ROOT / "examples/python/receive.py").read_text("utf-8")
    (folder / "receive.py").write_text("import schemas, connectors\nprint(schemas.WHOSE)\n" + script)
    served.declare("Kermarrec")

    served.arrived()

    printed = environment.run(environment.python, "receive.py", served.address, "--once", cwd=folder)

    assert "the agency: schemas" in printed
    assert "Kermarrec moves to Rennes from WITHHELD" in printed
    again = environment.run(environment.python, "receive.py", served.address, "--once", cwd=folder)
    assert "moves" not in again


def test_nothing_of_the_broker_is_needed(environment: Environment, tmp_path: Path) -> None:
    code = (
        "import importlib, pkgutil, sys, unefois_agency.connectors as c, unefois_agency.schemas as s\n"
        "for package in (c, s):\n"
        "    for each in pkgutil.iter_modules(package.__path__):\n"
        "        name = f'{package.__name__}.{each.name}'\n"
        "        try:\n"
        "            importlib.import_module(name)\n"
        "        except ModuleNotFoundError as missing:\n"
        "            print(name, missing.name)\n"
        "print(sorted(set(sys.argv[1:]) & set(sys.modules)))\n"
    )

    printed = environment.run(environment.python, "-c", code, *BROKERS, cwd=tmp_path)

    assert [
        "unefois_agency.connectors.kafka aiokafka",
        "unefois_agency.connectors.table sqlalchemy",
        "unefois_agency.connectors.table_shape sqlalchemy",
        "unefois_agency.schemas.evolution avro",
        "[]",
    ] == printed.splitlines()


def test_its_own_connectors_are_found_and_the_brokers_are_not(environment: Environment, tmp_path: Path) -> None:
    code = "from unefois_agency.connectors import registry; print(registry.GROUP, list(registry.kinds()))"

    printed = environment.run(environment.python, "-c", code, cwd=tmp_path)

    assert "unefois_agency.connectors ['file', 'publik', 'rest', 'sftp', 'table', 'webhook']\n" == printed


def test_the_pages_that_it_carries_are_there(environment: Environment, tmp_path: Path) -> None:
    code = (
        "from unefois_agency.connectors.mapping import packaged\n"
        "from unefois_agency.schemas import catalogue, messages, places, samples\n"
        "print(len(catalogue.builtin().schemas), len(messages.table()) > 100, len(packaged()))\n"
        "print(samples.sample(catalogue.builtin().schemas[0].event_type)['new_commune'])\n"
    )

    expected = f"{len(builtin().schemas)} True {len(packaged())}\n35238\n"
    assert expected == environment.run(environment.python, "-c", code, cwd=tmp_path)


def test_the_program_says_what_is_wrong(environment: Environment, tmp_path: Path) -> None:
    printed = environment.run(environment.program, "source", "serve", "nothing.yaml", cwd=tmp_path, code=1)

    assert printed.startswith("source.no-file  nothing.yaml\n")


def test_the_program_shows_what_can_be_declared(environment: Environment, tmp_path: Path) -> None:
    printed = environment.run(environment.program, "type", "show", "address.changed", "--json", cwd=tmp_path)
    catalogue = builtin()

    assert describe(catalogue, find(catalogue, "address.changed")) == json.loads(printed)


def test_no_import_of_it_leads_to_a_package_of_the_agencys(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        modules = {name: opened.read(name).decode() for name in opened.namelist() if name.endswith(".py")}
    roots = {
        (node.module or "").split(".")[0]
        for text in modules.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
    }

    assert "unefois_agency" in roots
    assert set() == roots & {"schemas", "connectors", "broker", "consent"}


def test_a_wheel_from_a_source_distribution_is_the_same(wheel: Path, tmp_path: Path) -> None:
    code = "import hatchling.build as build; print(build.build_sdist('.'))"
    shutil.copytree(ROOT / "agency", tmp_path / "tree/agency")
    for name in ("schemas", "connectors"):
        (tmp_path / "tree" / name).symlink_to(ROOT / name)
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "tree/agency", check=True, env=plain(), capture_output=True
    )
    (sdist,) = (tmp_path / "tree/agency").glob("*.tar.gz")
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(sdist)], check=True, env=plain())
    (made,) = tmp_path.glob("*.whl")

    assert _names(wheel) == _names(made)


def _names(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as opened:
        return {each.filename: each.CRC for each in opened.infolist() if "dist-info" not in each.filename}
