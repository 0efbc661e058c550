"""Samples: one whole record for each event type, of people who do not exist, for pages, examples and tests.

Refuses: a type that has none.
Keeps: each would be accepted as a declaration without a warning; a decimal stays exact. The file is `samples.json`.
"""

import json
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from schemas.errors import Refused
from schemas.names import EventType


def sample(event_type: EventType) -> dict[str, Any]:
    """A record of the type, every field in it; the caller's own. Raises Refused("samples.none")."""
    known: dict[str, dict[str, Any]] = json.loads(_text(), parse_float=Decimal)
    if event_type not in known:
        raise Refused("samples.none", type=event_type)
    return known[event_type]


def as_json(told: Any, *, nulls: bool = False) -> Any:
    """A value as JSON can hold it: decimals as numbers; what is null left out, unless `nulls`."""
    if isinstance(told, dict):
        return {name: as_json(each, nulls=nulls) for name, each in told.items() if nulls or each is not None}
    if isinstance(told, list):
        return [as_json(each, nulls=nulls) for each in told]
    return float(told) if isinstance(told, Decimal) else told


@cache
def _text() -> str:
    return files("schemas").joinpath("samples.json").read_text("utf-8")
