"""The API of the broker in memory: requests in, answers out, without a network.

Refuses: a request without a token of the broker's; what the routes refuse, as RFC 9457 problems with the real codes.
Keeps: a fault that was asked for comes once: `fail` before anything is done, `lose` after everything is done, so that
an agency can try both.
"""

import json
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import httpx2

from connectors.contract import Answered, Applied, Outcome, Partly, Rejected
from connectors.ends import check_rejection
from connectors.problems import KIND, problem
from connectors.testing_directory import Chain
from connectors.testing_mail import Mailboxes
from schemas.catalogue import Catalogue
from schemas.directory import Directory
from schemas.envelope import VerifiedDeclaration
from schemas.errors import Refused
from schemas.names import DeclarationId, DeliveryId, Instant, PartyId, Reason, SchemaId, uuid_text
from schemas.release import seal_releases

Json = dict[str, Any]
_STATUS: Final[Mapping[str, int]] = {
    "api.no-credential": 401,
    "credentials.unknown": 401,
    "intake.other-source": 403,
    "directory.not-entitled": 403,
    "api.not-found": 404,
    "gate.unknown-delivery": 404,
    "mailbox.unknown-delivery": 404,
    "dead.unknown": 404,
    "tracking.unknown": 404,
    "gate.ended": 409,
    "gate.not-handed": 409,
    "mailbox.already-applied": 409,
    "mailbox.not-handed": 409,
    "mailbox.not-released": 409,
    "dead.applied": 409,
    "dead.replayed": 409,
}
_MOST: Final = 1_000


class Taken(Protocol):
    """A declaration that was taken in."""

    @property
    def verified(self) -> VerifiedDeclaration:
        """What it says."""
        ...

    @property
    def receipt(self) -> Mapping[str, Any]:
        """What its source keeps."""
        ...


class Behind(Protocol):
    """The broker behind the answers."""

    now: Instant
    lease_ms: int
    catalogue: Catalogue
    mail: Mailboxes
    chain: Chain

    @property
    def kept(self) -> Mapping[DeclarationId, Taken]:
        """What came in."""
        ...

    def directory(self) -> Directory:
        """Who holds which key."""
        ...

    def resolve(self, source: PartyId, person: str) -> bytes:
        """A token for a person."""
        ...

    def accept(self, envelope: bytes, sender: PartyId) -> Taken:
        """Take an envelope in."""
        ...

    def whose(self, token: str) -> PartyId | None:
        """Whose token this is."""
        ...


class Answers:
    """One request after the other. `asked` is what was asked for: method and path."""

    def __init__(self, broker: Behind) -> None:
        self._broker = broker
        self._before: deque[httpx2.Response] = deque()
        self._after: deque[type[httpx2.TransportError]] = deque()
        self.asked: list[str] = []

    def fail(self, status: int, times: int = 1, retry_after: int | None = None) -> None:
        """The next requests are answered with this status, and nothing is done."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._before += (httpx2.Response(status, headers=headers, json={"code": "api.away"}) for _ in range(times))

    def lose(self, times: int = 1) -> None:
        """The next requests are done, and their answers are lost on the way."""
        self._after += [httpx2.ReadError] * times

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to one request; `request` has been read."""
        self.asked.append(f"{request.method} {request.url.path}")
        if self._before:
            return self._before.popleft()
        try:
            status, told = self._routed(request)
        except Refused as fault:
            return _problem(fault)
        if self._after:
            raise self._after.popleft()("the answer was lost")
        content = told if isinstance(told, bytes) else json.dumps(told).encode()
        return httpx2.Response(status, content=content, headers={"Content-Type": "application/json"})

    def _routed(self, request: httpx2.Request) -> tuple[int, Json | bytes]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        caller = self._broker.whose(token)
        if scheme.lower() != "bearer":
            raise Refused("api.no-credential")
        if caller is None:
            raise Refused("credentials.unknown")
        route = f"{request.method} {request.url.path.removeprefix('/v1')}"
        if route in _ROUTES:
            return _ROUTES[route](self._broker, caller, request.content)
        if route == "GET /directory/notes":
            return 200, _notes(self._broker, int(request.url.params.get("since", "0")))
        if route.startswith("GET /schemas/"):
            return 200, self._broker.catalogue.by_id(SchemaId.parse(route.rpartition("/")[2])).schema.raw
        if route.startswith("GET /declarations/"):
            return 200, _followed(self._broker, caller, route.rpartition("/")[2])
        raise Refused("api.not-found")


class Transport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """For a client of either kind."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Blocking."""
        request.read()
        return self._answers.answer(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Asynchronous."""
        await request.aread()
        return self._answers.answer(request)


def _directory(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, bytes]:
    return 200, broker.directory().to_json().encode()


def _signed(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    content, note = broker.chain.newest(broker.directory())
    return 200, {"directory": content, "note": note}


def _notes(broker: Behind, since: int) -> Json:
    found = broker.chain.since(broker.directory(), since)
    return {"notes": [{"version": version, "note": note} for version, note in found]}


def _ledger_key(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, bytes]:
    return 200, f"{broker.chain.ledger}\n".encode()


def _schemas(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    return 200, {"schemas": [{"event_type": one.event_type, "schema": one.schema.id.hex()} for one in broker.catalogue]}


def _resolve(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    person = _object(body)["subject"]
    return 200, {"subject_token": _b64u(broker.resolve(caller, repr(person)))}


def _declare(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    known = len(broker.kept)
    kept = broker.accept(body, caller)
    told = {"declaration": uuid_text(kept.verified.manifest.declaration_id), "manifest": kept.verified.digest.hex()}
    return 202, {**told, "repeated": len(broker.kept) == known, "receipt": dict(kept.receipt)}


def _followed(broker: Behind, caller: PartyId, named: str) -> Json:
    kept = broker.kept.get(DeclarationId.parse(named))
    if kept is None or kept.verified.manifest.source != caller:
        raise Refused("tracking.unknown", "/id")
    return {"declaration": named, "event_type": kept.verified.manifest.event_type}


def _pull(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    most = _object(body).get("max", 100)
    if not isinstance(most, int) or not 1 <= most <= _MOST:
        raise Refused("api.field", "/max", expected="less_than_equal")
    return 200, _handed(broker, caller, broker.mail.lease(caller, most, broker.now))


def _release(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    return 200, _handed(broker, caller, [DeliveryId.parse(one) for one in _object(body)["deliveries"]])


def _handed(broker: Behind, caller: PartyId, ids: list[DeliveryId]) -> Json:
    taken = broker.mail.release(caller, ids, broker.now)
    named = [letter.locked.delivery_id for letter in taken.letters]
    key = broker.directory().current_sealing_key(caller, broker.now)
    sealed = seal_releases(taken.releases, key.suite, key.public, named).encode() if named else None
    told = [
        {
            "id": uuid_text(letter.locked.delivery_id),
            "attempts": letter.attempts,
            "locked": _b64u(letter.locked.encode()),
        }
        for letter in taken.letters
    ]
    for letter in taken.letters:
        letter.attempts += 1
    return {
        "deliveries": told,
        "key_release": None if sealed is None else _b64u(sealed),
        "withheld": [{"id": uuid_text(one), "reason": Reason.REVOKED.value} for one in taken.withheld],
        "lease_seconds": broker.lease_ms // 1_000,
    }


def _acknowledge(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    results: list[Json] = []
    for one in _object(body)["acknowledgements"]:
        of = DeliveryId.parse(one["delivery"])
        if one["outcome"] == "later":
            until = Instant(broker.now + 1_000 * int(one.get("after", 0)))
            results.append(_result(of, broker.mail.put_off(caller, of, until)))
            continue
        end = _end(one, f"/acknowledgements/{len(results)}")
        results.append(_result(of, broker.mail.acknowledge(caller, of, end)))
    return 200, {"results": results}


def _end(one: Json, pointer: str) -> Outcome:
    match one["outcome"]:
        case "applied":
            return Applied()
        case "partly":
            return Partly(tuple(one["fields"]))
        case "rejected":
            return _rejected(one, pointer)
        case "technical":
            return _rejected({**one, "reason": Reason.TECHNICAL.value}, pointer)
        case answer:
            return Answered(Reason(answer), one.get("until"))


def _rejected(one: Json, pointer: str) -> Rejected:
    end = Rejected(str(one["code"]), Reason(one["reason"]))
    try:
        check_rejection(end)
    except Refused:
        raise Refused("api.field", f"{pointer}/code", expected="string_pattern_mismatch") from None
    return end


def _replay(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    results = []
    for text in _object(body)["deliveries"]:
        of = DeliveryId.parse(text)
        try:
            reason = broker.mail.replay(caller, of)
        except Refused as fault:
            results.append(_result(of, fault))
        else:
            results.append(_result(of, None) | {"withheld": None if reason is None else reason.value})
    return 200, {"results": results}


def _status(broker: Behind, caller: PartyId, body: bytes) -> tuple[int, Json]:
    states = list(broker.mail.states(caller, broker.now).values())
    told = {"waiting": states.count("waiting"), "handed": states.count("handed")}
    return 200, {"party": caller, **told, "dead_letters": states.count("rejected")}


_Route = Callable[[Behind, PartyId, bytes], tuple[int, Json | bytes]]
_ROUTES: Final[Mapping[str, _Route]] = {
    "GET /directory": _directory,
    "GET /directory:signed": _signed,
    "GET /log/vkey": _ledger_key,
    "GET /schemas": _schemas,
    "GET /status": _status,
    "POST /subjects:resolve": _resolve,
    "POST /declarations": _declare,
    "POST /deliveries:pull": _pull,
    "POST /deliveries:release": _release,
    "POST /deliveries:ack": _acknowledge,
    "POST /deliveries:replay": _replay,
}


def _result(of: DeliveryId, fault: Refused | None) -> Json:
    if fault is None:
        return {"delivery": uuid_text(of), "ok": True}
    return {"delivery": uuid_text(of), "ok": False, "problem": {"code": fault.code, "status": _status_of(fault)}}


def _status_of(fault: Refused) -> int:
    return _STATUS.get(fault.code, 422)


def _problem(fault: Refused) -> httpx2.Response:
    status = _status_of(fault)
    return httpx2.Response(status, json=problem(fault, status), headers={"Content-Type": KIND})


def _object(body: bytes) -> Json:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        raise Refused("api.json") from None
    if not isinstance(told, dict):
        raise Refused("api.json")
    return told


def _b64u(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
