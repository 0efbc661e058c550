"""Our connectors as the installed package announces them, for tests that run from a checkout that is not installed."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from connectors import registry

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def _announced() -> list[EntryPoint]:
    groups = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["entry-points"]
    return [EntryPoint(name, told, group) for group, each in groups.items() for name, told in each.items()]


def announce(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: what is found under an entry point is what pyproject.toml says."""
    monkeypatch.setattr(registry, "entry_points", lambda group: [one for one in _announced() if one.group == group])


def site(folder: Path) -> Path:
    """For another process: a folder for PYTHONPATH that announces the same."""
    info = folder / "unefois-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unefois\nVersion: 0\n")
    lines = "".join(f"[{one.group}]\n{one.name} = {one.value}\n" for one in _announced() if one.group != "pytest11")
    (info / "entry_points.txt").write_text(lines)
    return folder
