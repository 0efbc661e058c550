"""Typed JSON: values of our own types, written as JSON and read back as the very same values.

    bytes          hexadecimal          a set        sorted, in a list         an enumeration    its value
    a dataclass    an object with each of its fields, and no other

Refuses: whatever is not exactly of the type that is asked for, with a pointer: `typed-json.malformed`; a field that is
missing, or one too many. It guesses no type and converts nothing.
Keeps: a value is checked by its own type where it is made, as anywhere: what those refuse is refused here too.
"""

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, NoReturn

from schemas.errors import Refused

Json = Any
_PLAIN: Final = (str, int, bool)


def written(value: object) -> bytes:
    """A value as canonical JSON, UTF-8: the same value has the same bytes."""
    return json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def to_json(value: object) -> Json:
    """A value as JSON's own types. Raises TypeError for a type that has no form here."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
    for kinds, make in _FORMS:
        if isinstance(value, kinds):
            return make(value)
    raise TypeError(type(value).__name__)


_FORMS: Final[tuple[tuple[Any, Callable[[Any], Json]], ...]] = (
    (Enum, lambda one: to_json(one.value)),
    (bytes, bytes.hex),
    (str, str),
    (frozenset | set, lambda some: sorted(map(to_json, some), key=str)),
    (tuple | list, lambda some: [*map(to_json, some)]),
    (Mapping, lambda some: {name: to_json(one) for name, one in some.items()}),
    ((int, type(None)), lambda one: one),
)


def parsed(raw: bytes) -> Json:
    """JSON in which no name stands twice, without NaN. Raises Refused `typed-json.malformed`."""
    try:
        return json.loads(raw, object_pairs_hook=_once, parse_constant=_no)
    except (ValueError, RecursionError):
        raise Refused("typed-json.malformed") from None


def of_json(kind: Any, found: Json, pointer: str = "") -> Any:
    """The value of a type, from JSON's own types.

    Raises Refused `typed-json.malformed` with a pointer, and what the type itself refuses.
    """
    kind = getattr(kind, "__supertype__", kind)  # a NewType
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _of_union(typing.get_args(kind), found, pointer)
    if origin is typing.Literal:
        return found if found in typing.get_args(kind) and isinstance(found, str) else _no(pointer)
    if origin in (list, tuple, frozenset):
        return _of_list(origin, typing.get_args(kind), found, pointer)
    if kind is type(None):
        return None if found is None else _no(pointer)
    if isinstance(kind, type):
        return _of_class(kind, found, pointer)
    raise TypeError(str(kind))


def _of_union(kinds: tuple[Any, ...], found: Json, pointer: str) -> Any:
    if found is None and type(None) in kinds:
        return None
    others = [one for one in kinds if one is not type(None)]
    if len(others) != 1:
        raise TypeError(str(kinds))  # which of them it was cannot be told
    return of_json(others[0], found, pointer)


def _of_list(origin: Any, inner: tuple[Any, ...], found: Json, pointer: str) -> Any:
    if not isinstance(found, list):
        _no(pointer)
    if origin is tuple and inner[-1] is not Ellipsis:
        if len(found) != len(inner):
            _no(pointer)
        return tuple(
            of_json(one, each, f"{pointer}/{n}") for n, (one, each) in enumerate(zip(inner, found, strict=True))
        )
    made = [of_json(inner[0], each, f"{pointer}/{number}") for number, each in enumerate(found)]
    if origin is frozenset and len(set(made)) != len(made):
        _no(pointer)
    return origin(made)


def _of_class(kind: type[Any], found: Json, pointer: str) -> Any:
    try:
        if is_dataclass(kind):
            return _of_dataclass(kind, found, pointer)
        if issubclass(kind, Enum):
            return kind(found)
        if issubclass(kind, bytes):
            raw = bytes.fromhex(found)
            return kind(raw) if raw.hex() == found else _no(pointer)
    except (ValueError, TypeError):
        _no(pointer)
    if kind in _PLAIN:
        return found if type(found) is kind else _no(pointer)
    if issubclass(kind, str):
        return kind(found) if isinstance(found, str) else _no(pointer)
    raise TypeError(kind.__name__)


def _of_dataclass(kind: type[Any], found: Json, pointer: str) -> Any:
    made: Any = kind
    hints = _hints(made)
    if not isinstance(found, dict) or found.keys() != hints.keys():
        _no(pointer)
    return made(**{name: of_json(hint, found[name], f"{pointer}/{name}") for name, hint in hints.items()})


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    told = typing.get_type_hints(kind)
    return {one.name: told[one.name] for one in fields(kind)}


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no(pointer: str) -> NoReturn:
    raise Refused("typed-json.malformed", pointer)
