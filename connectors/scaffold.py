"""A new connector: a package of one's own with a class that works, a rig, and tests that pass. Then it is filled in.

Refuses: a name that is no name of a Python package, a kind that there is already, a folder that is there.
Keeps: what is written passes the kit as it stands, on SQLite.
"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

from connectors import registry
from schemas.errors import Refused

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ROOT: Final = __name__.removesuffix("connectors.scaffold")
"""Before our packages' names: nothing in the broker's installation, `unefois_agency.` in the agency's."""
_PLACES: Final = {
    "pyproject.toml": "pyproject.toml",
    "init.py": "@NAME@_connector/__init__.py",
    "connector.py": "@NAME@_connector/connector.py",
    "rig.py": "@NAME@_connector/rig.py",
    "test_connector.py": "tests/test_connector.py",
}


def write(name: str, folder: Path | None = None) -> tuple[Path, ...]:
    """The files of a package for the kind `name`, in a folder that is made: by default `NAME-connector`, here.

    Raises Refused `connector.new-*`.
    """
    if _NAME.fullmatch(name) is None or len(name) > 40:
        raise Refused("connector.new-name", "/name")
    if name in registry.kinds():
        raise Refused("connector.new-kind", "/name", kind=name)
    folder = folder or Path(f"{name.replace('_', '-')}-connector")
    try:
        folder.mkdir(parents=True)
    except OSError:
        raise Refused("connector.new-folder", "/folder") from None
    words = {
        "@NAME@": name,
        "@DASHED@": name.replace("_", "-"),
        "@CLASS@": "".join(part.title() for part in name.split("_")),
        "@ROOT@": _ROOT,
        "@GROUP@": registry.GROUP,
        "@DISTRIBUTION@": "unefois-agency" if _ROOT else "unefois",
    }
    written = []
    for template, place in _PLACES.items():
        path = folder / _filled(place, words)
        path.parent.mkdir(exist_ok=True)
        text = files(registry.__package__ or "").joinpath("scaffolding", f"{template}.txt").read_text("utf-8")
        path.write_text(_filled(text, words), "utf-8")
        written.append(path)
    return tuple(written)


def _filled(text: str, words: dict[str, str]) -> str:
    for word, told in words.items():
        text = text.replace(word, told)
    return text
