"""Makes a new event schema whole: `python -m tests.typed.whole FILE`; it prints the schema's SHA-256, its id.

Whoever writes a schema names what the other types share (`"type": "fr.unefois.Identity"`) and does not copy it. But a
registered schema has to stand alone: the first mention of each shared record or enumeration becomes its definition, as
the catalogue has it.
"""

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from schemas import catalogue


def whole(text: str) -> str:
    """The schema with every shared type that it names and does not define, in the layout of the folder."""
    told = json.loads(text)
    shared = {name: each for event in catalogue.builtin() for name, each in _defined(json.loads(event.schema.raw))}
    defined = {name for name, _ in _defined(told)}
    return json.dumps(_filled(told, shared, defined), indent=2, ensure_ascii=False) + "\n"


def _defined(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node.get("type") in ("record", "enum"):
        yield node["name"], node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _defined(each)


def _filled(node: Any, shared: dict[str, Any], defined: set[str]) -> Any:
    """Where a type may stand: `type`, `items`, and a member of a union."""
    if isinstance(node, str) and node in shared and node not in defined:
        return _filled(shared[node], shared, defined)
    if isinstance(node, list):
        return [_filled(each, shared, defined) for each in node]
    if isinstance(node, dict):
        defined.update(name for name, _ in _defined(node))
        types = ("type", "items", "fields")
        return {name: _filled(each, shared, defined) if name in types else each for name, each in node.items()}
    return node


if __name__ == "__main__":
    for name in sys.argv[1:]:
        made = whole(Path(name).read_text("utf-8"))
        Path(name).write_text(made, "utf-8")
        print(sha256(made.encode()).hexdigest())
