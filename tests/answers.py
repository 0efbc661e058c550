"""What an API answers with is made ready once in a process, not once for each app that a test builds.

A test builds an app of its own, so FastAPI would have pydantic compile the type of every answer anew: a third of the
time of the API's tests. What is compiled depends on the type alone, and all apps of a process share it here.
"""

import sys
from typing import Any

from sqlalchemy import util

FIELDS: Any = util.LRUCache(5000)


def share() -> None:
    """From now on, in this process, if it has loaded FastAPI."""
    routing = sys.modules.get("fastapi.routing")
    if routing is not None:
        routing.create_model_field = _made  # type: ignore[attr-defined]


def _made(*, name: str, type_: Any, mode: Any) -> Any:
    """As FastAPI asks for an answer's type; for what a request takes it asks elsewhere."""
    from fastapi.utils import create_model_field

    field = FIELDS.get((name, type_, mode))
    if field is None:
        field = FIELDS[name, type_, mode] = create_model_field(name=name, type_=type_, mode=mode)
    return field
