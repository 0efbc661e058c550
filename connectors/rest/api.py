"""The API of an agency's system, called: one request, and the answer that came or did not.

Refuses: a redirect, a proxy of the environment, an answer over 1 MiB.
Keeps: a call that was surely not sent is Retry; one of which nobody knows is Unknown, or Late after its time. A token
that is not taken any more is renewed once.
"""

from collections.abc import Mapping

import httpx2

from connectors.contract import Late, Retry, Unknown
from connectors.peers import BROKEN, NOT_SENT, bounded, distrusted, turned_away
from connectors.rest.access import Access
from connectors.rest.answers import LONGEST, Answer

_SLOW = (httpx2.ReadTimeout, httpx2.WriteTimeout)


class Api:
    """One API as one access sees it."""

    def __init__(self, http: httpx2.AsyncClient, base: str, access: Access, headers: Mapping[str, str]) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._access = access
        self._headers = {"accept": "application/json", **headers}

    async def read(self, path: str) -> Answer:
        """The answer to a GET. Raises Retry `rest.*`."""
        try:
            return await self._ask("GET", path, None, {})
        except Unknown as fault:
            raise Retry("rest.away", kind=str(fault.details.get("kind", "timeout"))) from None

    async def act(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer to a call that does something. Raises Retry `rest.*`; Unknown `rest.unanswered`, Late."""
        return await self._ask(method, path, body, {"content-type": "application/json", **headers})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        shown = await self._access.shown()
        answer = await self._once(method, path, body, headers, shown)
        if answer.status == 401 and self._access.renew(shown):
            answer = await self._once(method, path, body, headers, await self._access.shown())
        return answer

    async def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], shown: str | None
    ) -> Answer:
        told = {**self._headers, **headers, **({} if shown is None else {"authorization": shown})}
        try:
            async with self._http.stream(method, self._base + path, content=body, headers=told) as answer:
                wait = answer.headers.get("retry-after")
                return Answer(answer.status_code, wait, await bounded(answer, LONGEST))
        except NOT_SENT as error:
            why = distrusted(error)
            if why is not None:
                raise Retry("rest.certificate", why=why) from None
            if turned_away(error):
                raise Retry("rest.client-certificate") from None
            raise Retry("rest.away", kind=type(error).__name__) from None
        except _SLOW:
            raise Late("rest.late") from None
        except BROKEN as error:
            if turned_away(error):  # TLS 1.3 tells it only when the answer is read
                raise Retry("rest.client-certificate") from None
            raise Unknown("rest.unanswered", kind=type(error).__name__) from None
