"""Queries: the parameters by which long lists are asked for.

Refuses: a number that only looks like one; a mark of another form than the list gives.
Keeps: `next` of an answer is the `after` of the page that follows.
"""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator

from broker.web.common.bodies import UUID


def _digits(told: Any) -> Any:
    """`+1`, ` 1` and `1.0` are not the number that they look like: a proxy may read another."""
    if isinstance(told, str) and not (told.isascii() and told.isdigit()):
        raise ValueError("digits")
    return told


Limit = Annotated[int, BeforeValidator(_digits), Query(ge=1, le=50, description="How many at once.")]
UuidAfter = Annotated[str | None, Query(pattern=UUID, description="`next` of the page before.")]
EntryAfter = Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$", description="`next` of the page before.")]
Territory = Annotated[str | None, Query(pattern=r"^[0-9A-Z]{2,9}$", description="The code of a commune (COG).")]
TypeName = Annotated[str, Query(max_length=200, description="An event type.")]
