"""What the agency's wheel says that it needs is what its modules import; and what is rewritten in them."""

import ast
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AGENCY: dict[str, Any] = tomllib.loads((ROOT / "agency" / "pyproject.toml").read_text("utf-8"))["project"]
OURS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CALLED = {"python-stdnum": "stdnum", "pyyaml": "yaml"}
"""Distributions whose package has another name."""
EXTRAS = {
    "kafka": {"kafka"},
    "kit": {"collected", "plugin"},
    "mariadb": set(),  # named by a URL, imported by SQLAlchemy
    "sftp": {"session", "server", "sftp_served"},
    "source": {"source_serve"},
    "table": {"table", "table_shape", "rigs"},
    "evolution": {"evolution"},
    "xml": {"template", "xsd"},
}
"""Which modules need an extra."""


def hook() -> ModuleType:
    """`agency/hatch_build.py`."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "agency" / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def modules() -> Iterator[Path]:
    for package in ("schemas", "connectors"):
        yield from sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The packages of others that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
    return found - sys.stdlib_module_names - {"schemas", "connectors"}


def bare(path: Path) -> list[str]:
    """`import schemas`, which the hook cannot rewrite."""
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if line.strip().startswith(("import schemas", "import connectors"))]


def packages(requirements: list[str]) -> set[str]:
    names = [one.split(">=")[0].split("[")[0] for one in requirements]
    return {CALLED.get(name, name.replace("-", "_")) for name in names}


def test_what_is_imported_is_what_is_declared() -> None:
    always, used = packages(AGENCY["dependencies"]) | {"pydantic_core"}, set()  # pydantic's other half
    extras = AGENCY["optional-dependencies"]
    beyond = {}
    for path in modules():
        mine = [packages(extras[extra]) for extra, names in EXTRAS.items() if path.stem in names]
        used |= imported(path)
        beyond[path.name] = imported(path) - always - set().union(*mine)

    assert {} == {name: more for name, more in beyond.items() if more}
    assert always <= used
    assert {} == {path.name: bare(path) for path in modules() if bare(path)}
    assert set(EXTRAS) == set(extras)


def test_its_version_and_needs_are_those_of_the_whole() -> None:
    servers = [one for extra in ("server", "kit", "mariadb") for one in OURS["optional-dependencies"][extra]]
    theirs = [*AGENCY["dependencies"], *(one for extra in AGENCY["optional-dependencies"].values() for one in extra)]

    assert OURS["version"] == AGENCY["version"]
    assert [] == [one for one in theirs if one not in (*OURS["dependencies"], *servers)]
    assert set(OURS["entry-points"]["unefois.connectors"]) == set(AGENCY["entry-points"]["unefois_agency.connectors"])
    assert [f"unefois-agency[source,table]=={OURS['version']}"] == OURS["optional-dependencies"]["agency"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from schemas.names import Kid\n", "from unefois_agency.schemas.names import Kid\n"),
        ("from connectors import calls\n", "from unefois_agency.connectors import calls\n"),
        (
            "def a():\n    from schemas import avro  # é\n",
            "def a():\n    from unefois_agency.schemas import avro  # é\n",
        ),
        ('x = "é", files("schemas")\n', 'x = "é", files("unefois_agency.schemas")\n'),
        ('GROUP = "unefois.connectors"\n', 'GROUP = "unefois_agency.connectors"\n'),
        ('x = "schemas"; y = "from schemas import"\n', 'x = "schemas"; y = "from schemas import"\n'),
        ("from schemas_of_ours import x\n", "from schemas_of_ours import x\n"),
        (
            "from schemas.a import b; from connectors.c import d\n",
            "from unefois_agency.schemas.a import b; from unefois_agency.connectors.c import d\n",
        ),
    ],
)
def test_names_of_packages_change_and_nothing_else(source: str, expected: str) -> None:
    assert expected == hook().rewritten(source, "x.py")


@pytest.mark.parametrize(
    "source", ["import schemas\n", "import connectors.client as c\n", "import_module('schemas')\n"]
)
def test_what_cannot_be_rewritten_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"x\.py:1"):
        hook().rewritten(source, "x.py")
