"""Client: a broker's HTTP API from an administration's side: hand in, resolve, receive, acknowledge.

    async with Client.open("https://broker.example.fr", token) as broker:
        directory = await broker.directory()
        inbox = broker.inbox()                       # an `Inbox`: connectors and `run_routes` take it as it is

Refuses: plain http except to this machine, a redirect, an answer that is too large or not what the API promises.
Keeps: the token is in no error and no repr; what may have been done is never said to have failed: a call whose answer
did not come is Unavailable, and every call may be made again (a declaration by its id, an end by its delivery).
Source: RFC 9457 (problems), RFC 6750 (bearer tokens); docs/protocol.md for the bytes.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self

import httpx2

from connectors.contract import Applied, Outcome, Pulled, Ready, WithheldDelivery
from connectors.plain import uuid_text
from connectors.retry import retry_after_ms
from connectors.webhook import endpoint, trust
from schemas.directory import Directory
from schemas.errors import Refused, Unavailable
from schemas.locked import LockedDelivery
from schemas.names import DeclarationId, DeliveryId, Instant, Reason

ANSWER_BYTES: Final = 64 * 1024 * 1024
WAIT_SECONDS: Final = 20
"""The longest that one pull waits for something to come."""

Json = dict[str, Any]


def _now() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a broker answers to a declaration. `signed`: a DSSE envelope by the broker's own key, to keep."""

    declaration_id: DeclarationId
    repeated: bool
    signed: Mapping[str, Any]


class Client:
    """One administration at one broker. Made by `open`."""

    def __init__(self, http: httpx2.AsyncClient, token: str, clock: Callable[[], Instant]) -> None:
        self._http = http
        self._token = token
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        token: str,
        *,
        ca_file: str | None = None,
        clock: Callable[[], Instant] = _now,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> AsyncIterator[Self]:
        """A client until the block ends. `ca_file`: who signed the broker's certificate (PEM), if the system lacks it.

        Raises Refused `client.url`.
        """
        try:
            endpoint(url)
        except ValueError as wrong:
            raise Refused("client.url", "/url", wrong=str(wrong)) from None
        http = httpx2.AsyncClient(
            base_url=url,
            timeout=httpx2.Timeout(30, read=WAIT_SECONDS + 30),
            follow_redirects=False,
            trust_env=False,
            verify=trust(ca_file),
            transport=transport,
        )
        async with http:
            yield cls(http, token, clock)

    async def directory(self) -> Directory:
        """Who holds which key and may publish what, as the broker says; pin it. Raises as all of these do:

        Refused `client.refused` (the broker's own code and pointer are in it), `client.not-let-in`, `client.answer`;
        Unavailable `client.away`.
        """
        return Directory.from_json((await self._ask("GET", "/v1/directory")).decode())

    async def resolve(self, person: Mapping[str, Any]) -> bytes:
        """A token for the person that a declaration will be about, good for this source and for an hour or so."""
        told = await self._json("POST", "/v1/subjects:resolve", {"subject": dict(person)})
        return _bytes(told, "subject_token")

    async def declare(self, envelope: bytes) -> Receipt:
        """Hand in a signed envelope. Durable once this returns; the same bytes again give the same receipt."""
        told = _object(await self._ask("POST", "/v1/declarations", envelope, media="application/avro"))
        try:
            return Receipt(DeclarationId.parse(told["declaration"]), bool(told["repeated"]), told["receipt"])
        except (KeyError, Refused):
            raise Refused("client.answer", "/receipt") from None

    async def status(self) -> Json:
        """How much waits, and since when."""
        return _object(await self._ask("GET", "/v1/status"))

    async def replay(self, deliveries: Sequence[DeliveryId]) -> Mapping[DeliveryId, Refused]:
        """Try own dead letters again; those that cannot be come back, each with its reason."""
        told = await self._json("POST", "/v1/deliveries:replay", {"deliveries": [uuid_text(one) for one in deliveries]})
        return _failed(told)

    def inbox(self, wait: int = 0) -> "HttpInbox":
        """The mailbox. `wait`: seconds, at most 20, that a pull stays when nothing is there."""
        return HttpInbox(self, wait)

    async def _json(self, method: str, path: str, body: Json) -> Json:
        return _object(await self._ask(method, path, json.dumps(body).encode()))

    async def _ask(self, method: str, path: str, body: bytes | None = None, media: str = "application/json") -> bytes:
        """The body of a good answer."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = media
        try:
            async with self._http.stream(method, path, content=body, headers=headers) as answer:
                content = await _read(answer)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Unavailable("client.away", error=type(error).__name__) from None
        if answer.status_code not in {200, 201, 202}:
            _raise(answer, content, self._clock())
        return content


class HttpInbox:
    """A mailbox at a broker elsewhere, as `connectors.contract.Inbox` has it."""

    def __init__(self, client: Client, wait: int) -> None:
        self._client = client
        self._wait = wait

    async def pull(self, limit: int) -> Pulled:
        """Lease and release at most `limit` deliveries. Crash after it: the lease ends, and they come again."""
        return _pulled(await self._client._json("POST", "/v1/deliveries:pull", {"max": limit, "wait": self._wait}))

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """The keys of these deliveries alone, which were handed out before."""
        told = {"deliveries": [uuid_text(one) for one in ids]}
        return _pulled(await self._client._json("POST", "/v1/deliveries:release", told))

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """Record the ends of deliveries. `Applied.reference` stays here: it is the agency's own number."""
        ends = [_end(delivery, outcome) for delivery, outcome in ended.items()]
        return _failed(await self._client._json("POST", "/v1/deliveries:ack", {"acknowledgements": ends}))

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """Nothing is sent: an unacknowledged delivery comes again when its lease ends."""

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """Nothing is known without a lease; `Client.status` says how much waits."""
        return ()


def _end(delivery: DeliveryId, outcome: Outcome) -> Json:
    if isinstance(outcome, Applied):
        return {"delivery": uuid_text(delivery), "outcome": "applied"}
    told = {"code": outcome.code, "reason": outcome.reason.value}
    return {"delivery": uuid_text(delivery), "outcome": "rejected", **told}


async def _read(answer: httpx2.Response) -> bytes:
    content = bytearray()
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > ANSWER_BYTES:
            raise Refused("client.answer", limit=ANSWER_BYTES)
    return bytes(content)


def _raise(answer: httpx2.Response, content: bytes, at: Instant) -> NoReturn:
    status = answer.status_code
    if status == 429 or status >= 500:
        wait = retry_after_ms(answer.headers.get("Retry-After"), at)
        raise Unavailable("client.away", error=str(status), after_ms=wait or 0)
    if status in {401, 403}:
        raise Refused("client.not-let-in", status=status)
    code, pointer = _problem(content)
    raise Refused("client.refused", pointer, status=status, told=code)


def _problem(content: bytes) -> tuple[str, str]:
    """The broker's code, and the place that it points to in what was sent."""
    try:
        told = _object(content)
    except Refused:
        return "-", ""
    errors = told.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return str(told.get("code", "-"))[:64], str(first.get("pointer", ""))[:200]


def _object(content: bytes) -> Json:
    try:
        told = json.loads(content)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Refused("client.answer")
    return told


def _bytes(told: Json, name: str) -> bytes:
    text = told.get(name)
    try:
        raw = urlsafe_b64decode(f"{text}{'=' * (-len(text) % 4)}") if isinstance(text, str) else b""
    except ValueError:
        raw = b""
    if not raw or urlsafe_b64encode(raw).decode().rstrip("=") != text:
        raise Refused("client.answer", f"/{name}")
    return raw


def _pulled(told: Json) -> Pulled:
    try:
        taken, withheld = told["deliveries"], told["withheld"]
        locked = tuple(LockedDelivery.decode(_bytes(one, "locked")) for one in taken)
        attempts = {DeliveryId.parse(one["id"]): int(one["attempts"]) for one in taken}
        held = tuple(WithheldDelivery(DeliveryId.parse(one["id"]), Reason(one["reason"])) for one in withheld)
    except (KeyError, TypeError, ValueError):
        raise Refused("client.answer", "/deliveries") from None
    return Pulled(locked, _bytes(told, "key_release") if locked else b"", held, attempts)


def _failed(told: Json) -> dict[DeliveryId, Refused]:
    try:
        bad = [(DeliveryId.parse(one["delivery"]), one["problem"]) for one in told["results"] if not one["ok"]]
        return {
            delivery: Refused("client.refused", status=int(problem["status"]), told=str(problem["code"])[:64])
            for delivery, problem in bad
        }
    except (KeyError, TypeError, ValueError):
        raise Refused("client.answer", "/results") from None
