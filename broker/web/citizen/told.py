"""Told: what services answer, as a template shows it: the visitor's language of a text, an instant as people write it.

Refuses: an id in an address that is none, as what never was.
Keeps: nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Response

from broker.web.citizen.rendering import HEADERS
from broker.web.citizen.visit import Visit
from broker.web.citizen.words import Words
from schemas.errors import Refused
from schemas.names import from_rfc3339

_Id = TypeVar("_Id")


class Told:
    """What a template may ask about a service's answer."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def text(self, both: Mapping[str, str] | None) -> str:
        """A text that is there in both languages, in the visitor's."""
        return "" if both is None else both[self._words.language]

    def moment(self, at: str | None) -> str:
        """An instant (RFC 3339) as people write it; empty for none."""
        found = None if at is None else from_rfc3339(at)
        return "" if found is None else self._words.moment(found)

    def day(self, at: str | None) -> str:
        """The day of an instant in UTC: ends are whole days there. Empty for none."""
        return "" if at is None else self._words.day(at[:10])

    def labels(self, fields: list[dict[str, Any]]) -> str:
        """The names of pieces of information, in one line."""
        return ", ".join(self.text(one["label"]) for one in fields)


def told(visit: Visit) -> dict[str, Any]:
    """For a template: `told`."""
    return {"told": Told(visit.words)}


def id_of(visit: Visit, name: str, parse: Callable[[str], _Id], unknown: Refused) -> _Id:
    """The id in the address. Raises `unknown`, as for what is not there."""
    try:
        return parse(visit.request.path_params[name])
    except Refused:
        raise unknown from None


def download(content: bytes, media: str, name: str) -> Response:
    """A file that the browser keeps under a name of ours."""
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, 200, headers, media)
