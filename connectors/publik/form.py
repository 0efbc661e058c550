"""A form of Publik by its schema: which targets it has, what its fields take, what it kept of what was sent.

w.c.s. drops unknown keys and turns bad values into nothing, with a good answer. So everything is looked at here before
it is sent, and what was stored is looked at afterwards.

Refuses: a target that is no field, a field of a type that cannot be filled from outside, a value that its field would
not keep as it is, a character that w.c.s. breaks on (NUL, a lone surrogate).
Keeps: nothing is cut, and no value is in an error.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from connectors.contract import Reject, Row, reference_token
from connectors.expression import nearest
from connectors.text import encodable
from schemas.errors import Refused

MOST_BYTES: Final = 20 * 1024 * 1024
"""Longest submission, files included, in bytes."""
FILLED: Final = frozenset(
    {"string", "text", "email", "date", "item", "bool", "numeric", "items", "file", "block", "map"}
)
"""Types of fields that can be filled."""
REFERENCE: Final = frozenset({"string", "text"})


@dataclass(frozen=True, slots=True)
class Form:
    """`fields`: as the schema has them, by varname; a field without one is invisible to everybody outside."""

    fields: Mapping[str, Mapping[str, Any]]
    disabled: bool

    @classmethod
    def of(cls, schema: object) -> "Form":
        """Read a schema, leniently. Raises Refused("publik.answer")."""
        told = schema.get("fields") if isinstance(schema, Mapping) else None
        if not isinstance(schema, Mapping) or not isinstance(told, list):
            raise Refused("publik.answer", status=200)
        return cls(_named(told), schema.get("disabled") is True)

    def problems(self, targets: Sequence[str]) -> list[Refused]:
        """What is wrong with these targets, each by its place in the mapping."""
        found = []
        for target in targets:
            pointer, name = f"/fields/{reference_token(target)}", self._field(target)
            if name is None:
                found.append(Refused("publik.unknown-field", pointer, near=nearest(target, self.fields)))
            elif self.kind(name) not in FILLED:
                found.append(Refused("publik.field-type", pointer, kind=self.kind(name)))
        return found

    def kind(self, name: str) -> str:
        """The type of a field, `-` where there is none of this name, or no such type."""
        return _type(self.fields.get(name, {}))

    def data(self, row: Row) -> dict[str, Any]:
        """What to send for a row; a null is not sent. Raises Reject("publik.value", "publik.too-large")."""
        made = {}
        for target, value in row.items():
            name, pointer = self._field(target), f"/{reference_token(target)}"
            if name is None:
                raise Reject("publik.unknown-field", pointer, near=nearest(target, self.fields))
            if value is not None:
                kind = self.fields[name]
                made[target] = _text(value, pointer) if target != name else _sent(kind, value, pointer)
        if len(json.dumps(made)) > MOST_BYTES:
            raise Reject("publik.too-large", limit=MOST_BYTES)
        return made

    def _field(self, target: str) -> str | None:
        """The field of a target: `commune`, or of a list `commune_raw`, its id."""
        if target in self.fields:
            return target
        name = target.removesuffix("_raw")
        return name if self.kind(name) == "item" else None


def dropped(row: Row, kept: Mapping[str, Any]) -> list[str]:
    """The targets of which the form shows nothing although something was sent. What an agent mended there counts."""
    names = [name for name, value in row.items() if not _empty(value)]
    return [name for name in names if _empty(kept.get(name)) and _empty(kept.get(f"{name}_raw"))]


def _named(fields: object) -> dict[str, Mapping[str, Any]]:
    named: dict[str, Mapping[str, Any]] = {}
    for one in fields if isinstance(fields, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("varname"), str) and one["varname"]:
            named.setdefault(one["varname"], one)  # where two share a name, w.c.s. shows the first
    return named


def _type(field: Mapping[str, Any]) -> str:
    kind = field.get("type")
    return kind if isinstance(kind, str) and kind.isascii() and kind.isalnum() and len(kind) <= 20 else "-"


def _empty(value: object) -> bool:
    return value is None or value in ("", [], {})


def _wrong(pointer: str, kind: str) -> Reject:
    return Reject("publik.value", pointer, kind=kind)


def _sent(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    """A value as its field takes it. Raises Reject("publik.value") with the type of the field."""
    kind = _type(field)
    fits = _FITS.get(kind, _text_field)
    made = fits(field, value, pointer)
    if made is None:
        raise _wrong(pointer, kind)
    return made


def plain(value: object, pointer: str) -> Any:
    """A value for the workflow, as JSON has it: decimals as text. Raises Reject("publik.value")."""
    if isinstance(value, Mapping):
        return {_text(name, pointer): plain(one, f"{pointer}/{reference_token(name)}") for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one, f"{pointer}/{number}") for number, one in enumerate(value)]
    return value if value is None or isinstance(value, bool | int) else _text(value, pointer)


def _text_field(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    return _text(value, pointer)


def _bool(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    return value if isinstance(value, bool) else None  # the text "false" would be stored as true


def _date(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    try:
        return value if isinstance(value, str) and date.fromisoformat(value).isoformat() == value else None
    except ValueError:
        return None


def _numeric(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    return _number(value, pointer)


def _item(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    text, fixed = _text(value, pointer), field.get("items")
    return text if not isinstance(fixed, list) or text in fixed else None


def _items(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    if not isinstance(value, list):
        return None
    texts, fixed = [_text(one, pointer) for one in value], field.get("items")
    return texts if not isinstance(fixed, list) or all(one in fixed for one in texts) else None


def _map(field: Mapping[str, Any], value: object, pointer: str) -> Any:
    if not isinstance(value, Mapping) or value.keys() != {"lat", "lon"}:
        return None
    return {name: _number(value[name], f"{pointer}/{name}") for name in ("lat", "lon")}


def _text(value: object, pointer: str) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else value
    if isinstance(text, int) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str) or "\0" in text or not encodable(text, "utf-8"):
        raise _wrong(pointer, "text")
    return text


def _number(value: object, pointer: str) -> str:
    """A number as text, in which nothing is rounded."""
    try:
        exact = None if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        exact = None
    if exact is None or not exact.is_finite():
        raise _wrong(pointer, "numeric")
    return f"{exact:f}"


def _file(field: Mapping[str, Any], value: object, pointer: str) -> dict[str, str]:
    """{filename, content (base64), content_type}; bad base64 would be stored as an empty file."""
    if not isinstance(value, Mapping) or not {"filename", "content"} <= value.keys() <= _FILE:
        raise _wrong(pointer, "file")
    told = {name: _text(each, f"{pointer}/{name}") for name, each in value.items()}
    try:
        content = base64.b64decode(told["content"], validate=True)
    except (ValueError, binascii.Error):
        content = b""
    if not content or not told["filename"]:
        raise _wrong(f"{pointer}/content", "file")
    return told


_FILE: Final = frozenset({"filename", "content", "content_type"})


def _block(field: Mapping[str, Any], value: object, pointer: str) -> list[dict[str, Any]]:
    schema = field.get("schema")
    below = _named(schema.get("fields")) if isinstance(schema, Mapping) else {}
    rows = [value] if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise _wrong(pointer, "block")
    made = []
    for number, row in enumerate(rows):
        place = f"{pointer}/{number}"
        for name in row:
            if name not in below:
                near = nearest(str(name), below)
                raise Reject("publik.unknown-field", f"{place}/{reference_token(str(name))}", near=near)
        made.append(
            {
                name: _sent(below[name], each, f"{place}/{reference_token(name)}")
                for name, each in row.items()
                if each is not None
            }
        )
    return made


_FITS: Final[Mapping[str, Callable[[Mapping[str, Any], object, str], Any]]] = {
    "bool": _bool,
    "date": _date,
    "numeric": _numeric,
    "item": _item,
    "items": _items,
    "file": _file,
    "block": _block,
    "map": _map,
}
