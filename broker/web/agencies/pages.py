"""Pages: a list that may be long, in parts; where the next part begins is in the header `Link`.

Refuses: nothing.
Keeps: a cursor is the last one's own mark, so what comes or goes between two pages moves nothing else.
Source: RFC 8288 (`Link`, relation `next`).
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query, Request, Response
from pydantic import BeforeValidator

MOST: Final = 200

T = TypeVar("T")


def _digits(told: Any) -> Any:
    """`+1`, ` 1` and `1.0` are not the number that they look like: a proxy may read another."""
    if isinstance(told, str) and not (told.isascii() and told.isdigit()):
        raise ValueError("digits")
    return told


Limit = Annotated[int, BeforeValidator(_digits), Query(ge=1, le=MOST, description="How many at once.")]


def page(
    request: Request, response: Response, found: Sequence[T], limit: int, cursor: Callable[[T], object]
) -> Sequence[T]:
    """The first `limit` of what was found, which is one more where there is a next page."""
    if len(found) > limit:
        query = f"limit={limit}&cursor={cursor(found[limit - 1])}"
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return found[:limit]
