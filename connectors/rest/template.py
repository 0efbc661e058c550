"""Templates: where a row's columns stand in an address and in a JSON body. They hold no code.

    /persons/{number}/moves?ref={delivery_id}       a column, percent-encoded
    {"person": {"name": "{name}"}, "kind": "move"}  a text that is `{column}` becomes the column's value, with its kind

Refuses: a column that the mapping does not fill, a value that would lead out of its part of an address.
Keeps: total and bounded: each template ends, whatever the row holds. What the mapping left out is left out of the body.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, Final
from urllib.parse import quote

from connectors.contract import Reject, Row, reference_token
from connectors.expression import nearest
from schemas.errors import Refused

DELIVERY: Final = "delivery_id"
"""Names the delivery's own id wherever a column may stand; no column has this name."""
DEEPEST: Final = 12
_NAMED: Final = re.compile(r"\{([^{}]+)\}")
_FIXED: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_ABOVE: Final = frozenset({".", ".."})


def path_template(text: str) -> str:
    """A path, with a query or without, as a template. Raises ValueError."""
    path, _, query = text.partition("?")
    fixed = _NAMED.sub("", text)
    if not text.startswith("/") or "//" in path or not _FIXED.fullmatch(fixed) or "?" in query:
        raise ValueError("a path such as /persons/{number}, without host or fragment")
    if any(part in _ABOVE for part in path.split("/")):
        raise ValueError("no . or .. in a path")
    return text


def named(template: Any, depth: int = 0) -> Iterator[str]:
    """The columns that a path or body names."""
    if isinstance(template, str):
        yield from _NAMED.findall(template)
    for one in _inside(template):
        if depth >= DEEPEST:
            raise ValueError("too deep")
        yield from named(one, depth + 1)


def problems(template: Any, targets: Sequence[str], pointer: str) -> Iterator[Refused]:
    """The columns that a template names and the mapping does not fill."""
    for name in dict.fromkeys(named(template)):
        if name not in targets and name != DELIVERY:
            yield Refused("rest.unknown-column", pointer, column=name, near=nearest(name, targets))


def path_of(template: str, cells: Row) -> str:
    """The path with its columns in it. Raises Reject `rest.path-value`."""
    path, mark, query = template.partition("?")
    segments = (_segment(part, cells) for part in path.split("/"))
    return "/".join(segments) + mark + _NAMED.sub(lambda found: quote(_text(found[1], cells), safe=""), query)


def _segment(template: str, cells: Row) -> str:
    """One segment. A server in front of the API may decode `%2F` and walk up: so `..` is refused behind one, too."""
    if not _NAMED.search(template):
        return template
    told = _NAMED.sub(lambda found: _text(found[1], cells), template)
    if any(part in _ABOVE for part in re.split(r"[/\\]", told)):
        raise Reject("rest.path-value", f"/{reference_token(_NAMED.findall(template)[0])}")
    return _NAMED.sub(lambda found: quote(_text(found[1], cells), safe=""), template)


def _text(name: str, cells: Row) -> str:
    """A column as a part of an address: there, not empty, of printable characters."""
    value = cells.get(name)
    if isinstance(value, int | Decimal | str) and not isinstance(value, bool):
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
        if text and text.isprintable():
            return text
    raise Reject("rest.path-value", f"/{reference_token(name)}")


def cells_of(row: Row, nested: Sequence[str]) -> dict[str, Any]:
    """The row as JSON has it: an exact number stays one. Raises Reject `connector.cell`, `rest.number`."""
    return {name: _cell(value, f"/{reference_token(name)}", name in nested) for name, value in row.items()}


def _cell(value: object, pointer: str, nested: bool) -> Any:
    if nested and isinstance(value, Mapping):
        return {str(name): _cell(one, pointer, nested) for name, one in value.items()}
    if nested and isinstance(value, list):
        return [_cell(one, pointer, nested) for one in value]
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Decimal | float):
        near = float(value)
        if isfinite(near) and Decimal(repr(near)) == Decimal(str(value)):
            return near
        raise Reject("rest.number", pointer)
    raise Reject("connector.cell", pointer, kind=type(value).__name__)


def body_of(template: Any, cells: Mapping[str, Any], delivery: str) -> bytes:
    """The bytes of the body, in ASCII: the template with its columns in it; without one, the row as a flat object."""
    told = cells if template is None else _filled(template, {**cells, DELIVERY: delivery})
    return json.dumps(told, separators=(",", ":")).encode()


class _Absent:
    """Stands for what the mapping left out."""


def _filled(template: Any, cells: Mapping[str, Any]) -> Any:
    if isinstance(template, Mapping):
        told = ((name, _filled(one, cells)) for name, one in template.items())
        return {name: one for name, one in told if one is not _Absent}
    if isinstance(template, list | tuple):
        return [one for one in (_filled(one, cells) for one in template) if one is not _Absent]
    found = _NAMED.fullmatch(template) if isinstance(template, str) else None
    return template if found is None else cells.get(found[1], _Absent)


def _inside(template: Any) -> Sequence[Any]:
    if isinstance(template, Mapping):
        return tuple(template.values())
    return template if isinstance(template, list | tuple) else ()
