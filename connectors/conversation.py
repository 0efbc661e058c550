"""The conversation of a call with a broker: token, request, answer, and what to do when there is none. No network.

    call ──► (token) ──► Send ──► Reply ──► what it says          a driver sends, waits, and gives back what came
                          │        └──► Wait ──► Send again       where that is safe
                          └──► Failed ──┘

Refuses: to make a call again that may have been done and must not be done twice; to wait longer than `PATIENCE_MS`.
Keeps: the token is in no error and no repr; what may have been done is never said to have failed: a call whose answer
did not come is Unavailable. Waits have jitter, and are never shorter than the broker asked for.
Source: RFC 9457 (problems), RFC 6750 (bearer tokens), RFC 9110, 10.2.3 (Retry-After).
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from connectors import problems
from connectors.access import Access, Ask
from connectors.calls import Call
from connectors.retry import Backoff, retry_after_ms
from schemas.errors import Refused, Unavailable, together
from schemas.names import Instant

T = TypeVar("T")
PATIENCE_MS: Final = 60_000
"""A broker that asks for a longer wait is away: the caller decides."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this, and give back what comes: a Reply or a Failed."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this time pass."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, the Retry-After header, the body."""

    status: int
    retry_after: str | None
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer. `unsent`: the broker cannot have seen the request."""

    kind: str
    unsent: bool


Steps = Generator[Send | Wait, Reply | Failed | None, T]


class Conversation:
    """How one client talks. `tries`: how often a call is made at most, 1 for never again."""

    def __init__(self, access: Access, clock: Callable[[], Instant], backoff: Backoff, tries: int) -> None:
        self._access = access
        self._clock = clock
        self._backoff = backoff
        self._tries = tries

    def of(self, call: Call[T]) -> Steps[T]:
        """The steps of one call; returns what its answer says.

        Raises Refused `client.refused` (the broker's own code and pointer are in it, every other place in `also`),
        `client.not-let-in`, `client.answer`; Unavailable `client.away`. The broker's whole answer is in `problem`.
        """
        attempt = 0
        while True:
            answer = yield from self._once(call)
            fault, again = _judged(answer, call.again, self._clock())
            if fault is None and isinstance(answer, Reply):
                return call.read(answer.content)
            attempt += 1
            wait = self._backoff.delay_ms(attempt - 1, _asked(fault))
            if not again or attempt >= self._tries or wait > PATIENCE_MS:
                raise fault or Unavailable("client.away", error="-", after_ms=0)
            yield Wait(wait)

    def _once(self, call: Call[T]) -> Steps[Reply | Failed | None]:
        """One request. A token that is not taken any more is asked for anew, once."""
        for fresh in (False, True):
            token = yield from self._token(fresh)
            if not isinstance(token, str):
                return token
            headers = {"Authorization": f"Bearer {token}"}
            if call.body is not None:
                headers["Content-Type"] = call.media
            answer = yield Send(call.method, call.path, headers, call.body)
            if not (isinstance(answer, Reply) and answer.status == 401 and self._access.renewable):
                break
        return answer

    def _token(self, fresh: bool) -> Steps[str | Reply | Failed | None]:
        """The token, or the answer of the token endpoint that holds none."""
        ask = self._access.ask(self._clock(), fresh)
        if not isinstance(ask, Ask):
            return ask
        answer = yield Send("POST", ask.path, {"Content-Type": ask.media}, ask.body)
        if not isinstance(answer, Reply) or answer.status != 200:
            return answer
        return self._access.told(answer.content, self._clock())


def _judged(answer: Reply | Failed | None, repeatable: bool, at: Instant) -> tuple[Refused | Unavailable | None, bool]:
    """What is wrong with an answer, if anything, and whether the call may be made again."""
    if isinstance(answer, Failed):
        return Unavailable("client.away", error=answer.kind), repeatable or answer.unsent
    if answer is None:
        raise TypeError("a driver answers Send with a Reply or a Failed")
    status = answer.status
    if status in {200, 201, 202}:
        return None, False
    wait = retry_after_ms(answer.retry_after, at)
    problem = problems.read(answer.content, status, wait)
    fault = _fault(problem, status, wait or 0)
    fault.problem = problem
    return fault, isinstance(fault, Unavailable) and (repeatable or status == 429)


def _fault(problem: Mapping[str, Any], status: int, wait_ms: int) -> Refused | Unavailable:
    """A broker's problem as a fault of this side: its code, and the places that it points to in what was sent."""
    if status == 429 or status >= 500:
        return Unavailable("client.away", error=str(status), after_ms=wait_ms)
    code = problem.get("code", "-")
    if status in {401, 403}:
        return Refused("client.not-let-in", status=status, told=code)
    first, *others = problem.get("errors", [{}])
    places = ((first.get("pointer", ""), code), *((each.get("pointer", ""), each.get("code", "-")) for each in others))
    return together(Refused("client.refused", pointer, status=status, told=told) for pointer, told in places)


def _asked(fault: Refused | Unavailable | None) -> int | None:
    told = None if fault is None else fault.details.get("after_ms")
    return told if isinstance(told, int) and told > 0 else None
