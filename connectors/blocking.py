"""The client of `connectors.client` without `async`, for programs that have no event loop: the same calls, one core.

    with BlockingClient.open("https://broker.example.fr", token) as broker:
        for delivery in broker.flow.deliveries(agency, ends):
            ...
            delivery.applied()

Refuses and keeps: what `connectors.client` does; what is said there is not said again here.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import httpx2

from connectors import calls
from connectors.access import Access
from connectors.calls import Call, Json, Receipt
from connectors.contract import Agency, Answered, Applied, Partly, Rejected
from connectors.conversation import Conversation, Failed, Reply, Send, Wait
from connectors.driving import TRIES, UNANSWERED, failed, now, receiving, settings, talk, within
from connectors.ends import Ends
from connectors.given import Given
from connectors.pinning import Pin, newest
from connectors.steps import Do, Give, Step, Steps, Together, Watch, advance, unwatched
from schemas.delivery import VerifiedDelivery
from schemas.directory import Directory
from schemas.errors import Fault, Refused
from schemas.law import Law
from schemas.names import DeclarationId, DeliveryId, Instant, Reason
from schemas.record_base import Event

T = TypeVar("T")


class BlockingClient:
    """One administration at one broker, for one thread at a time. Made by `open`."""

    def __init__(
        self,
        http: httpx2.Client,
        conversation: Conversation,
        clock: Callable[[], Instant],
        sleep: Callable[[float], None],
    ) -> None:
        self._http = http
        self._conversation = conversation
        self._clock = clock
        self._sleep = sleep

    @classmethod
    @contextmanager
    def open(
        cls,
        url: str,
        access: str | Access,
        *,
        ca_file: str | None = None,
        clock: Callable[[], Instant] = now,
        transport: httpx2.BaseTransport | None = None,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Self]:
        """A client until the block ends."""
        with httpx2.Client(transport=transport, **settings(url, ca_file)) as http:
            yield cls(http, talk(access, clock, tries), clock, sleep)

    def ask(self, call: Call[T]) -> T:
        """Make one call of `connectors.calls`."""
        steps = self._conversation.of(call)
        told: Reply | Failed | None = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as end:
                answer: T = end.value
                return answer
            told = self._send(step) if isinstance(step, Send) else self._sleep(step.milliseconds / 1000)

    def directory(self) -> Directory:
        """Who holds which key and may publish what, as the broker says, unsigned: to look at, not to verify with."""
        return self.ask(calls.directory())

    def pinned_directory(self, pin: Pin) -> Directory:
        """The newest directory, believed only if it follows from the one that `pin` remembers, link by link.

        On first use the one that there is. Raises Refused: `directory.*`, `note.*`, `pins.*`, `client.*`; Unavailable.
        """
        self.drive(newest(pin))
        return pin.directory

    def law(self, pin: Pin) -> Law:
        """The rules by law and the purposes, believed for the signature of the ledger's key that `pin` holds: who hears
        of everybody, by which article, from when to when.

        Raises Refused: `directory.*`, `law.*`, `note.*`, `pins.*`, `client.*`; Unavailable.
        """
        self.pinned_directory(pin)
        return pin.take_law(*(self.ask(calls.signed_law())))

    def resolve(
        self, person: Mapping[str, Any], declarant: Mapping[str, Any] | None = None, capacity: str | None = None
    ) -> bytes:
        """A token for the person that a declaration will be about; `declarant` and `capacity`: who declares for them,
        where somebody else does.
        """
        return self.ask(calls.resolve(person, declarant, capacity))

    def declare(self, envelope: bytes) -> Receipt:
        """Hand in a signed envelope."""
        return self.ask(calls.declare(envelope))

    def follow(self, declaration_id: DeclarationId) -> Json:
        """How far an own declaration got."""
        return self.ask(calls.follow(declaration_id))

    def status(self) -> Json:
        """How much waits, and since when."""
        return self.ask(calls.status())

    def replay(self, deliveries: Sequence[DeliveryId]) -> Mapping[DeliveryId, Refused]:
        """Try own dead letters again."""
        return self.ask(calls.replay(deliveries))

    def deliveries(
        self,
        agency: Agency,
        ends: Ends,
        *,
        pin: Pin | None = None,
        limit: int = 20,
        once: bool = False,
        watch: Watch = unwatched,
    ) -> "Iterator[BlockingDelivery]":
        """Every delivery, verified and typed, as it comes."""
        taker = Given(ends, self._clock, watch)
        loop = receiving(agency, taker, self._clock, pin, limit, once=once, watch=watch)
        steps, told = loop.steps(), None
        while (step := advance(steps, told)) is not None:
            told = None
            if isinstance(step, Give):
                yield BlockingDelivery(step.facts, step.record, taker, self)
            else:
                told = self._answer(step)

    def drive(self, steps: Steps) -> None:
        """Take every step of a core that gives nothing."""
        told = None
        while (step := advance(steps, told)) is not None:
            told = None if isinstance(step, Give) else self._answer(step)

    def _answer(self, step: Step) -> Any:
        if isinstance(step, Wait):
            return self._sleep(step.milliseconds / 1000)
        if isinstance(step, Do | Give | Together):
            raise TypeError("an agency's own system is waited for in an event loop: connectors.client")
        try:
            return self.ask(step)
        except Fault as fault:
            return fault

    def _send(self, step: Send) -> Reply | Failed:
        try:
            with self._http.stream(step.method, step.path, content=step.body, headers=step.headers) as answer:
                content = bytearray()
                for part in answer.iter_bytes():
                    content += part
                    within(content)
        except UNANSWERED as error:
            return failed(error)
        return Reply(answer.status_code, answer.headers.get("Retry-After"), bytes(content))


@dataclass(frozen=True, slots=True)
class BlockingDelivery:
    """As `client.Delivery`."""

    facts: VerifiedDelivery
    record: Event | None = field(repr=False)
    _given: Given = field(repr=False)
    _client: BlockingClient = field(repr=False)

    def applied(self) -> None:
        """The agency's system has it, durably, under `facts.delivery_id`."""
        self._client.drive(self._given.decide(self.facts, Applied()))

    def rejected(self, code: str, reason: Reason = Reason.SYSTEM_REFUSED) -> None:
        """The agency will not take it: a code of its own, never a value."""
        self._client.drive(self._given.decide(self.facts, Rejected(code, reason)))

    def partly(self, fields: Sequence[str]) -> None:
        """The agency's system has these fields of it, durably, and not the others."""
        self._client.drive(self._given.decide(self.facts, Partly(tuple(fields))))

    def answered(self, reason: Reason, until: str | None = None) -> None:
        """Not applied, and not refused: UNKNOWN_PERSON, SEVERAL_PERSONS, DOCUMENT_NEEDED, or AWAITING_HUMAN with the
        day (`2026-12-31`) by which somebody decides. Said at once: what comes next for this person does not wait.
        """
        self._client.drive(self._given.decide(self.facts, Answered(reason, until)))

    def later(self, code: str, after_ms: int | None = None) -> None:
        """The agency's own system is away: it comes again, after `after_ms` milliseconds at least, a day at most."""
        self._client.drive(self._given.later(self.facts, code, after_ms))
