"""Client: a broker's HTTP API from an administration's side: hand in, resolve, receive, acknowledge.

    async with Client.open("https://broker.example.fr", token) as broker:
        async for delivery in broker.flow.deliveries(agency, ends):      # verified, typed, in order for each citizen
            ...
            await delivery.applied()

`broker.receive(agency, routes)` maps and writes them by connectors instead. `connectors.blocking` has the same without
`async`, but for that; `broker.inbox()` is an `Inbox` for `run_routes`.

Refuses: plain http except to this machine, a redirect, an answer that is too large or not what the API promises.
Keeps: the token is in no error and no repr; what may have been done is never said to have failed: a call whose answer
did not come is Unavailable, after it was made again where that is safe.
Source: docs/agency/sdk.md; docs/protocol.md for the bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import httpx2

from connectors import calls
from connectors.access import Access
from connectors.calls import Call, Json, Receipt
from connectors.contract import Agency, Answered, Applied, Outcome, Partly, Pulled, Ready, Rejected
from connectors.conversation import Conversation, Failed, Reply, Send, Wait
from connectors.driving import BACKOFF, TRIES, UNANSWERED, at_once, failed, now, receiving, settings, talk, within
from connectors.ends import Ends
from connectors.given import Given
from connectors.pinning import Pin, newest
from connectors.runner import Route, RunReport, Written
from connectors.steps import Do, Give, Step, Steps, Together, Watch, advance, unwatched
from schemas.delivery import VerifiedDelivery
from schemas.directory import Directory
from schemas.errors import Fault, Refused
from schemas.law import Law
from schemas.names import DeclarationId, DeliveryId, Instant, Reason
from schemas.record_base import Event

T = TypeVar("T")


class Client:
    """One administration at one broker. Made by `open`. Its methods may be called concurrently."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        conversation: Conversation,
        clock: Callable[[], Instant],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._http = http
        self._conversation = conversation
        self._clock = clock
        self._sleep = sleep

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        access: str | Access,
        *,
        ca_file: str | None = None,
        clock: Callable[[], Instant] = now,
        transport: httpx2.AsyncBaseTransport | None = None,
        tries: int = TRIES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncIterator[Self]:
        """A client until the block ends. `access`: an API token, or an `Access`; `tries`: of one call, at most.

        `ca_file`: who signed the broker's certificate (PEM), if the system lacks it. Raises Refused `client.url`.
        """
        http = httpx2.AsyncClient(transport=transport, **settings(url, ca_file))
        async with http:
            yield cls(http, talk(access, clock, tries), clock, sleep)

    async def ask(self, call: Call[T]) -> T:
        """Make one call of `connectors.calls`. Raises as all of these do:

        Refused `client.refused` (the broker's own code and pointer are in it, every other place in `also`),
        `client.not-let-in`, `client.answer`; Unavailable `client.away`. The broker's whole answer is in `problem`.
        """
        steps = self._conversation.of(call)
        told: Reply | Failed | None = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as end:
                answer: T = end.value
                return answer
            if isinstance(step, Send):
                told = await self._send(step)
            else:
                told = None
                await self._sleep(step.milliseconds / 1000)

    async def directory(self) -> Directory:
        """Who holds which key and may publish what, as the broker says, unsigned: to look at, not to verify with."""
        return await self.ask(calls.directory())

    async def pinned_directory(self, pin: Pin) -> Directory:
        """The newest directory, believed only if it follows from the one that `pin` remembers, link by link.

        On first use the one that there is. Raises Refused: `directory.*`, `note.*`, `pins.*`, `client.*`; Unavailable.
        """
        await self.drive(newest(pin))
        return pin.directory

    async def law(self, pin: Pin) -> Law:
        """The rules by law and the purposes, believed for the signature of the ledger's key that `pin` holds: who hears
        of everybody, by which article, from when to when.

        Raises Refused: `directory.*`, `law.*`, `note.*`, `pins.*`, `client.*`; Unavailable.
        """
        await self.pinned_directory(pin)
        return pin.take_law(*(await self.ask(calls.signed_law())))

    async def resolve(
        self, person: Mapping[str, Any], declarant: Mapping[str, Any] | None = None, capacity: str | None = None
    ) -> bytes:
        """A token for the person that a declaration will be about, good for this source and for an hour or so;
        `declarant` and `capacity`: who declares for them, where somebody else does.
        """
        return await self.ask(calls.resolve(person, declarant, capacity))

    async def declare(self, envelope: bytes) -> Receipt:
        """Hand in a signed envelope. Durable once this returns; the same bytes again give the same receipt."""
        return await self.ask(calls.declare(envelope))

    async def follow(self, declaration_id: DeclarationId) -> Json:
        """How far an own declaration got."""
        return await self.ask(calls.follow(declaration_id))

    async def status(self) -> Json:
        """How much waits, and since when."""
        return await self.ask(calls.status())

    async def replay(self, deliveries: Sequence[DeliveryId]) -> Mapping[DeliveryId, Refused]:
        """Try own dead letters again; those that cannot be come back, each with its reason."""
        return await self.ask(calls.replay(deliveries))

    def inbox(self, wait: int = 0) -> "HttpInbox":
        """The mailbox. `wait`: seconds, at most 20, that a pull stays when nothing is there."""
        return HttpInbox(self, wait)

    async def deliveries(
        self,
        agency: Agency,
        ends: Ends,
        *,
        pin: Pin | None = None,
        limit: int = 20,
        once: bool = False,
        watch: Watch = unwatched,
    ) -> "AsyncIterator[Delivery]":
        """Every delivery, verified and typed, as it comes; see `receiving.Receiving` for what is asked for.

        What is not decided (`applied`, `rejected`, ...) comes again. Raises Refused where the agency itself is refused.
        """
        taker = Given(ends, self._clock, watch)
        loop = receiving(agency, taker, self._clock, pin, limit, once=once, watch=watch)
        steps, told = loop.steps(), None
        while True:
            # In a thread: it verifies signatures and writes to the disk.
            step, told = await asyncio.to_thread(advance, steps, told), None
            if step is None:
                return
            if isinstance(step, Give):
                yield Delivery(step.facts, step.record, taker, self)
            else:
                told = await self._answer(step)

    async def receive(
        self,
        agency: Agency,
        routes: Sequence[Route],
        *,
        pin: Pin | None = None,
        limit: int = 20,
        once: bool = False,
        watch: Watch = unwatched,
        heard: Callable[[RunReport], None] = lambda _: None,
    ) -> None:
        """Every delivery, verified, mapped and written into the agency's own system, as it comes; `heard` gets the
        report of each pull. What else is asked for and raised: as `deliveries`; Corrupt from the agency's system.
        """
        taker = Written(routes, BACKOFF, heard)
        loop = receiving(agency, taker, self._clock, pin, limit, once=once, watch=watch)
        await self.drive(loop.steps())

    async def drive(self, steps: Steps) -> None:
        """Take every step of a core that gives nothing."""
        told = None
        while (step := await asyncio.to_thread(advance, steps, told)) is not None:
            told = None if isinstance(step, Give) else await self._answer(step)

    async def _answer(self, step: Step) -> Any:
        if isinstance(step, Wait):
            return await self._sleep(step.milliseconds / 1000)
        if isinstance(step, Give):
            raise TypeError("only `deliveries` gives")
        try:
            if isinstance(step, Together):
                return await at_once(step, self.drive)
            return await (step.run() if isinstance(step, Do) else self.ask(step))
        except Fault as fault:
            return fault

    async def _send(self, step: Send) -> Reply | Failed:
        try:
            async with self._http.stream(step.method, step.path, content=step.body, headers=step.headers) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    within(content)
        except UNANSWERED as error:
            return failed(error)
        return Reply(answer.status_code, answer.headers.get("Retry-After"), bytes(content))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery and its decision. `facts` has everything; `record` the typed fields, None for a type without
    a class.
    """

    facts: VerifiedDelivery
    record: Event | None = field(repr=False)
    _given: Given = field(repr=False)
    _client: Client = field(repr=False)

    async def applied(self) -> None:
        """The agency's system has it. On the disk once this returns; the broker hears it now, or when it is there.

        Call it after your own write is durable, which must be idempotent by `facts.delivery_id`: a crash in between
        shows the delivery again.
        """
        await self._client.drive(self._given.decide(self.facts, Applied()))

    async def rejected(self, code: str, reason: Reason = Reason.SYSTEM_REFUSED) -> None:
        """The agency will not take it: a code of its own (`crm.no-such-file`), never a value."""
        await self._client.drive(self._given.decide(self.facts, Rejected(code, reason)))

    async def partly(self, fields: Sequence[str]) -> None:
        """The agency's system has these fields of it, durably, and not the others."""
        await self._client.drive(self._given.decide(self.facts, Partly(tuple(fields))))

    async def answered(self, reason: Reason, until: str | None = None) -> None:
        """Not applied, and not refused: UNKNOWN_PERSON, SEVERAL_PERSONS, DOCUMENT_NEEDED, or AWAITING_HUMAN with the
        day (`2026-12-31`) by which somebody decides. Said at once: what comes next for this person does not wait.
        """
        await self._client.drive(self._given.decide(self.facts, Answered(reason, until)))

    async def later(self, code: str, after_ms: int | None = None) -> None:
        """The agency's own system is away: it comes again, after `after_ms` milliseconds at least, a day at most."""
        await self._client.drive(self._given.later(self.facts, code, after_ms))


class HttpInbox:
    """A mailbox at a broker elsewhere, as `connectors.contract.Inbox` has it."""

    def __init__(self, client: Client, wait: int) -> None:
        self._client = client
        self._wait = wait

    async def pull(self, limit: int) -> Pulled:
        """Lease and release at most `limit` deliveries. Crash after it: the lease ends, and they come again."""
        return await self._client.ask(calls.pull(limit, self._wait))

    async def release(self, ids: Sequence[DeliveryId]) -> Pulled:
        """The keys of these deliveries alone, which were handed out before."""
        return await self._client.ask(calls.release(ids))

    async def acknowledge_all(self, ended: Mapping[DeliveryId, Outcome]) -> Mapping[DeliveryId, Refused]:
        """Record the ends of deliveries. `Applied.reference` stays here: it is the agency's own number."""
        return await self._client.ask(calls.acknowledge(ended))

    async def retry_later(self, delivery_id: DeliveryId, code: str, after_ms: int | None = None) -> None:
        """Give the lease back. Raises Refused `client.refused` for what the broker does not take."""
        for fault in (await self._client.ask(calls.later(delivery_id, code, after_ms))).values():
            raise fault

    async def ready(self, limit: int) -> tuple[Ready, ...]:
        """Nothing is known without a lease; `Client.status` says how much waits."""
        return ()
