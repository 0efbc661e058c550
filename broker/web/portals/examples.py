"""Examples: for each operation of the portals' API what is sent and what comes back, as the OpenAPI document shows.

Refuses: nothing.
Keeps: the file is written from a run of the whole story (`python -m tests.unit.broker.web.portals.story`), and the
tests run that story again: the same operations, members and types. Long texts are cut.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

_LOADED: Final[Mapping[str, Mapping[str, Any]]] = json.loads(
    files("broker.web.portals").joinpath("examples.json").read_text("utf-8")
)
EXAMPLES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    (name.partition(" ")[0], name.partition(" ")[2]): told for name, told in _LOADED.items()
}
