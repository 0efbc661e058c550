"""A new connector: what is written works as it stands, and is found nowhere else."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from connectors import scaffold
from connectors.description import Case
from connectors.kit import cases
from schemas.errors import Refused
from tests.announced import announce


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The rig of a new connector."""
    scaffold.write("town_crm", tmp_path / "new")
    for name in ("town_crm_connector", "town_crm_connector.connector", "town_crm_connector.rig"):
        path = tmp_path / "new" / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", list(Case))
def test_it_passes_the_kit_as_it_stands_or_says_why_not(case: Case, made: ModuleType, tmp_path: Path) -> None:
    assert () == cases.undeclared(made.TownCrmRig)
    if case not in cases.spared(made.TownCrmRig):
        (tmp_path / "place").mkdir()
        cases.play(case, made.TownCrmRig, tmp_path / "place")


def test_nothing_of_the_template_is_left(tmp_path: Path) -> None:
    written = scaffold.write("town_crm", tmp_path / "new")
    assert [
        "pyproject.toml",
        "town_crm_connector/__init__.py",
        "town_crm_connector/connector.py",
        "town_crm_connector/rig.py",
        "tests/test_connector.py",
    ] == [path.relative_to(tmp_path / "new").as_posix() for path in written]
    text = "".join(path.read_text("utf-8") for path in written)
    assert [] == re.findall("@[A-Z]+@", text)
    assert 'name = "town-crm-connector"' in text


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Town", "connector.new-name"),
        ("town-crm", "connector.new-name"),
        ("../town", "connector.new-name"),
        ("a" * 41, "connector.new-name"),
        ("table", "connector.new-kind"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_and_nothing_is_written(name: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=code):
        scaffold.write(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"connector.new-folder"):
        scaffold.write("town_crm", tmp_path)
    assert [] == list(tmp_path.iterdir())
