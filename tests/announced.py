"""Our connectors as the installed package announces them, for tests that run from a checkout that is not installed."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from connectors import registry

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def _announced() -> dict[str, str]:
    project = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]
    return dict(project["entry-points"][registry.GROUP])


def announce(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: what is found under the entry point is what pyproject.toml says."""
    entries = [EntryPoint(name, told, registry.GROUP) for name, told in _announced().items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)


def site(folder: Path) -> Path:
    """For another process: a folder for PYTHONPATH that announces the same."""
    info = folder / "unefois-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unefois\nVersion: 0\n")
    lines = "".join(f"{name} = {told}\n" for name, told in _announced().items())
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{lines}")
    return folder
