"""Pages: a list that may be long, in parts; where the next part begins is in the header `Link`.

Refuses: nothing.
Keeps: a cursor is the last one's own mark, so what comes or goes between two pages moves nothing else.
Source: RFC 8288 (`Link`, relation `next`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Protocol, TypeVar

from fastapi import Query, Request, Response
from pydantic import BeforeValidator

from broker.shapes import uuid_of

MOST: Final = 200

T = TypeVar("T")


class Identified(Protocol):
    """What has an id of 16 bytes."""

    @property
    def id(self) -> bytes: ...


Named = TypeVar("Named", bound=Identified)


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


def page_by_id(
    request: Request, response: Response, known: Iterable[Named], limit: int, cursor: str | None
) -> Sequence[Named]:
    """As `page`, in the order of the ids; `cursor` is the last id of the page before."""
    found = sorted((one for one in known if uuid_of(one.id) > (cursor or "")), key=lambda one: uuid_of(one.id))
    return page(request, response, found, limit, lambda one: uuid_of(one.id))
