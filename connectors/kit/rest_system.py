"""A town's system with an API, for trying the connector `rest`: it holds moves in memory, and keeps to its own rules.

    POST /oauth/token         client credentials, Basic: a token for an hour
    POST /moves               JSON with a `name`; Idempotency-Key needed; the same key with another body: 422
    PUT /moves/{id}           the same, under an id of the caller's
    PATCH /persons/{number}   changes who is known: 404 person-unknown
    GET /moves?ref={key}      {"items": [...]}, those that came under this key

Refuses: without the right Authorization (401), other than JSON in UTF-8 (415, 400), a key used for something else.
Keeps: one move for each key, as long as it `remembers` keys; one that does not makes another one each time.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from connectors.kit.answering import Answering, Request, response

Wrong = Callable[[Request, Callable[[], bytes]], bytes | None]
"""How it misbehaves: it is given what is asked, and how the thing is done. None: it never answers."""


def says(status: int, body: bytes = b"", **headers: str) -> Wrong:
    """It does nothing, and answers this."""
    return lambda request, do: response(status, body, **headers)


def does_and_says(answer: bytes) -> Wrong:
    """It does what it is asked, and these bytes are all that comes back."""

    def wrong(request: Request, do: Callable[[], bytes]) -> bytes:
        do()
        return answer

    return wrong


def acts(wrong: Wrong) -> Wrong:
    """Questions are answered as always; what is to be done goes wrong."""
    return lambda request, do: wrong(request, do) if request.method != "GET" else do()


@dataclass
class RestSystem(Answering):
    """The system. `shown`: the Authorization that it lets in, None: everybody; `client`: who may fetch a token."""

    shown: str | None = None
    client: tuple[str, str] | None = None
    remembers: bool = True
    lists: bool = True
    persons: dict[str, dict[str, Any]] = field(default_factory=dict)
    moves: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    wrong: Wrong | None = None
    tokens: int = 0
    _keys: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of the moves that it holds, in the order in which they came."""
        return [move["name"] for move in self.moves]

    def answered(self, request: Request) -> bytes | None:
        """As the table above has it, or as `wrong` does."""
        self.asked.append(request)
        if self.wrong is not None:
            return self.wrong(request, lambda: self._done(request))
        return self._done(request)

    def _done(self, request: Request) -> bytes:
        parts = urlsplit(request.target)
        if parts.path == "/oauth/token":
            return self._token(request)
        if self.client is not None:
            self.shown = f"Bearer token-{self.tokens}"
        if self.shown is not None and request.headers.get("authorization") != self.shown:
            return _error(401, "not-let-in")
        if request.method == "GET":
            return self._listed(parts.path, parse_qs(parts.query))
        return self._acted(request, [unquote(part) for part in parts.path.split("/")[1:]])

    def _token(self, request: Request) -> bytes:
        name, secret = self.client or ("", "")
        expected = f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}"
        form = parse_qs(request.body.decode())
        if form.get("grant_type") != ["client_credentials"] or request.headers.get("authorization") != expected:
            return _error(401, "invalid_client")
        self.tokens += 1
        told = {"access_token": f"token-{self.tokens}", "token_type": "Bearer", "expires_in": 3600}
        return response(200, json.dumps(told).encode())

    def _listed(self, path: str, query: dict[str, list[str]]) -> bytes:
        if path != "/moves" or not self.lists:
            return _error(404, "no-such-thing")
        found = [move for move in self.moves if move["key"] in query.get("ref", [])]
        return response(200, json.dumps({"items": found}).encode())

    def _acted(self, request: Request, parts: list[str]) -> bytes:
        key = request.headers.get("idempotency-key")
        if request.headers.get("content-type") != "application/json":
            return _error(415, "json-only")
        try:
            told = json.loads(request.body.decode("utf-8"))
        except ValueError:
            return _error(400, "no-json")
        if key is None or not isinstance(told, dict):
            return _error(400, "no-key" if key is None else "no-object")
        known = self._keys.get(key) if self.remembers else None
        if known is not None:
            return known[1] if known[0] == request.body else _error(422, "key-reused")
        answer = self._new(request.method, parts, told, key)
        if answer.startswith(b"HTTP/1.1 2"):
            self._keys[key] = (request.body, answer)
        return answer

    def _new(self, method: str, parts: list[str], told: dict[str, Any], key: str) -> bytes:
        if method == "PATCH" and parts[0] == "persons":
            if parts[1] not in self.persons:
                return _error(404, "person-unknown")
            self.persons[parts[1]] |= told
            return response(204)
        if parts[0] != "moves" or (method, len(parts)) not in {("POST", 1), ("PUT", 2)}:
            return _error(404, "no-such-thing")
        if not isinstance(told.get("name"), str):
            return _error(422, "no-name")
        number = parts[1] if method == "PUT" else f"M-{len(self.moves) + 1}"
        if number in [move["id"] for move in self.moves]:  # put again, it is as it was
            return response(200, json.dumps({"id": number}).encode())
        self.moves.append({**told, "id": number, "key": key})
        return response(201, json.dumps({"id": number}).encode())


def _error(status: int, code: str) -> bytes:
    return response(status, json.dumps({"error": {"code": code}}).encode())
