"""The API of a w.c.s., called as one access: what an answer, or none, says about what was done.

    2xx, a JSON object or list, `err` 0 or absent     done
    400, 413, 415, 422 to an act                      not done, and never will be as it stands: Reject
    any other 4xx, nobody there                       not done; somebody has to mend it, or it passes: Retry
    anything else                                     a question has no answer (Retry); of an act nobody knows (Unknown)

Refuses: a redirect (a signature is for one address), an answer over 8 MiB, one that is no JSON.
Keeps: each try is signed anew. Neither the key nor what Publik says in words stands in an error: words may hold values,
and are in the site's language; the HTTP status and `err_code` count.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import httpx2

from connectors.contract import Ground, Reject, Retry, Unknown
from connectors.peers import BROKEN, NOT_SENT, bounded, distrusted, json_of
from connectors.publik.signing import signed
from connectors.retry import retry_after_ms

ANSWER_BYTES: Final = 8 * 1024 * 1024
SKEW_MS: Final = 25_000
"""From here on the clocks are what is wrong when a signature is refused; w.c.s. takes 30 seconds."""
_SLUG: Final = re.compile(r"[a-z0-9-]{1,64}")
_NEVER: Final = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Access:
    """An "API access" of Publik: its identifier and key, and whether it signs or shows them (`basic`)."""

    identifier: str
    key: str = field(repr=False)
    way: Literal["signature", "basic"] = "signature"


class Api:
    """One site as one access sees it. `http` has the site's address as its base."""

    def __init__(self, http: httpx2.AsyncClient, access: Access, ground: Ground) -> None:
        self._http = http
        self._access = access
        self._ground = ground

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON of a GET. Raises Retry `publik.*`."""
        return await self._ask("GET", path, query or {}, None)

    async def act(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of a POST. Raises as `read`; Reject `publik.refused`; Unknown where it may have been done."""
        return await self._ask("POST", path, {}, json.dumps(body).encode())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> Any:
        url, headers = self._addressed(path, query), {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        basic = self._access.way == "basic"
        auth = httpx2.BasicAuth(self._access.identifier, self._access.key) if basic else None
        try:
            async with self._http.stream(method, url, content=body, headers=headers, auth=auth) as answer:
                content = await bounded(answer, ANSWER_BYTES)
        except NOT_SENT as error:
            if distrusted(error) is not None:
                raise Retry("publik.certificate") from None
            raise Retry("publik.away", kind=type(error).__name__) from None
        except BROKEN as error:
            kind = type(error).__name__
            raise Retry("publik.away", kind=kind) if method == "GET" else Unknown("publik.unanswered") from None
        return self._told(method, answer, content)

    def _addressed(self, path: str, query: Mapping[str, str]) -> httpx2.URL:
        """The address, its query as it was signed: encoded once, by us."""
        url = self._http.base_url.join(path)
        if self._access.way == "basic":
            return url.copy_merge_params(dict(query)) if query else url
        told = signed(query, self._access.identifier, self._access.key, self._ground.clock(), self._ground.entropy)
        return url.copy_with(query=told.encode())

    def _told(self, method: str, answer: httpx2.Response, content: bytes | None) -> Any:
        status, told = answer.status_code, json_of(content)
        code = told.get("err_code") if isinstance(told, dict) else None
        slug = code if isinstance(code, str) and _SLUG.fullmatch(code) else "-"
        if status in {401, 403}:
            skew = self._skew_ms(answer)
            if self._access.way == "signature" and abs(skew) > SKEW_MS:
                raise Retry("publik.clock", seconds=skew // 1000)
            raise Retry("publik.not-let-in", status=status, told=slug)
        if status == 429:
            wait = retry_after_ms(answer.headers.get("retry-after"), self._ground.clock())
            raise Retry("publik.away", kind="429", after_ms=wait or 0)
        if 400 <= status < 500:
            refused = Reject if method == "POST" and status in _NEVER else Retry
            raise refused("publik.refused", status=status, told=slug)
        fine = isinstance(told, list) or (isinstance(told, dict) and told.get("err", 0) in (0, "0"))
        if not 200 <= status < 300 or not fine:
            raise (Retry if method == "GET" else Unknown)("publik.answer", status=status)
        return told

    def _skew_ms(self, answer: httpx2.Response) -> int:
        """How far our clock is ahead of Publik's, in milliseconds, as its Date header tells; 0 where it tells none."""
        try:
            theirs = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError):
            return 0
        return self._ground.clock() - int(theirs.timestamp() * 1000)
