"""Access: what a call shows so that the API lets it in.

    basic, bearer       the same with each call
    oauth2              a token, fetched once and used until it ends; fetched anew where the API does not take it (401)

Refuses: an answer of the token's server that holds no token.
Keeps: of several calls that need a token one fetches it. Neither secret nor token is in an error or a repr.
Source: RFC 6749, 4.4 and 5; RFC 6750.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_plus

import httpx2

from connectors.contract import Retry
from connectors.peers import BROKEN, bounded, distrusted, json_of
from connectors.rest.settings import Basic, Bearer, OAuth2
from schemas.names import Instant
from schemas.retry import retry_after_ms

EARLY_MS: Final = 30_000
"""So long before its end a token is not used any more: a call takes its time, and clocks differ."""
_UNSAID_S: Final = 300
"""How long a token is used whose server does not say how long it is good for."""
_LONGEST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    until: Instant


class Access:
    """The `Authorization` of one API's calls."""

    def __init__(
        self, auth: Basic | Bearer | OAuth2 | None, http: httpx2.AsyncClient, clock: Callable[[], Instant]
    ) -> None:
        self._auth = auth
        self._http = http
        self._clock = clock
        self._token: _Token | None = None
        self._one = asyncio.Lock()

    async def shown(self) -> str | None:
        """The header's value. Raises Retry `rest.token`, `rest.token-refused`, `rest.certificate`."""
        match self._auth:
            case Basic(user=user, password=password):
                return _basic(user, password.get_secret_value())
            case Bearer(token=token):
                return f"Bearer {token.get_secret_value()}"
            case OAuth2() as auth:
                return f"Bearer {await self._fetched(auth)}"
        return None

    def renew(self, refused: str | None) -> bool:
        """After a 401: whether another try with a new token makes sense. What a neighbour has renewed is kept."""
        if not isinstance(self._auth, OAuth2):
            return False
        if self._token is not None and refused == f"Bearer {self._token.text}":
            self._token = None
        return True

    async def _fetched(self, auth: OAuth2) -> str:
        async with self._one:
            if self._token is None or self._token.until <= self._clock():
                self._token = await self._ask(auth)
            return self._token.text

    async def _ask(self, auth: OAuth2) -> _Token:
        secret, form, headers = auth.client_secret.get_secret_value(), {"grant_type": "client_credentials"}, {}
        if auth.scope is not None:
            form["scope"] = auth.scope
        if auth.shown_in == "header":
            headers["authorization"] = _basic(quote_plus(auth.client_id), quote_plus(secret))
        else:
            form |= {"client_id": auth.client_id, "client_secret": secret}
        headers["accept"] = "application/json"
        try:
            async with self._http.stream("POST", auth.token_url, data=form, headers=headers) as answer:
                content = await bounded(answer, _LONGEST)
        except BROKEN as error:
            why = distrusted(error)
            if why is not None:
                raise Retry("rest.certificate", why=why) from None
            raise Retry("rest.token", kind=type(error).__name__) from None
        status, told = answer.status_code, json_of(content)
        if status in {400, 401, 403}:
            raise Retry("rest.token-refused", status=status)
        token = told.get("access_token") if isinstance(told, dict) and status == 200 else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            wait = retry_after_ms(answer.headers.get("retry-after"), self._clock())
            raise Retry("rest.token", kind=str(status), after_ms=wait or 0)
        seconds = told.get("expires_in")
        good = seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else _UNSAID_S
        return _Token(token, Instant(self._clock() + good * 1000 - EARLY_MS))


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
