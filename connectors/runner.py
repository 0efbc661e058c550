"""The runner: the agency's own system as the taker of `connectors.receiving`: several citizens at once, each in order.

    1 known        written before? then straight to 4        so a changed mapping cannot rewrite the past
    2 map          the declarative file                      no: rejected, MAPPING
    3 write        idempotent by delivery id; then flush     no: rejected, SYSTEM_REFUSED; not now: back-off
    4 acknowledge  applied, rejected or answered             crash before: it comes again, and 1 finds it

Refuses: to acknowledge what is not flushed, and to hand an unverified value to a connector (it would not type-check).
Keeps: one delivery's failure changes nothing for another; what is neither applied nor rejected comes again. What is
known of a delivery stands in the connector's own system, beside its row: no second journal can say otherwise. No
connector is asked more often at once than its route allows, and nothing is pulled while all of them rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from collections.abc import Mapping as Mapping_
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeVar

from connectors import calls
from connectors.calls import Call
from connectors.contract import (
    Agency,
    Answered,
    Answering,
    Applied,
    Inbox,
    Late,
    Otherwise,
    Outcome,
    Partly,
    Pulled,
    Rejected,
    Retry,
    Row,
    Unknown,
    WithheldDelivery,
    Writer,
    rows_writer,
)
from connectors.conversation import Wait
from connectors.description import described
from connectors.driving import at_once
from connectors.guarding import Resting
from connectors.mapping import Mapping
from connectors.receiving import UNKNOWN_KEYS, Receiving
from connectors.retry import Backoff
from connectors.steps import Do, Give, Seen, Step, Steps, Together, advance
from schemas.delivery import VerifiedDelivery
from schemas.errors import Corrupt, Fault, Refused, Unavailable
from schemas.manifest import Manifest, Schemas
from schemas.names import DeliveryId, Instant, ManifestDigest, Reason
from schemas.release import LockedDelivery
from schemas.retractions import RETRACTIONS

ASKED_AGAIN = 2
"""How often a write whose end is unknown is asked for again at once, before it waits like any other."""
_ELSEWHERE: Final = "-"

Clock = Callable[[], Instant]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Route:
    """Which mapping and connector serve one event type."""

    mapping: Mapping
    connector: Writer
    at_once: int | None = None
    """How many calls the connector gets at once; None: what it says of itself (`Description.at_once`), else 1."""

    @property
    def slots(self) -> int:
        """The same, as a number."""
        about = described(type(self.connector))
        return self.at_once or (1 if about is None else about.at_once)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What became of one pull. Identifiers and codes only."""

    pulled: int = 0
    applied: tuple[DeliveryId, ...] = ()
    """All of it, or a part."""
    rejected: tuple[tuple[DeliveryId, Rejected], ...] = ()
    answered: tuple[tuple[DeliveryId, Answered], ...] = ()
    retried: tuple[tuple[DeliveryId, str], ...] = ()
    withheld: tuple[tuple[DeliveryId, Reason | str], ...] = ()
    unacknowledged: tuple[DeliveryId, ...] = ()
    """Ended, but the mailbox did not hear it: they come again, and are found."""


@dataclass(slots=True)
class _Round:
    """One pull on its way: every delivery is in one of these, and in `written` beside its end."""

    ended: dict[DeliveryId, Outcome] = field(default_factory=dict)
    later: dict[DeliveryId, Fault] = field(default_factory=dict)
    written: dict[DeliveryId, Route] = field(default_factory=dict)
    withheld: list[WithheldDelivery] = field(default_factory=list)


class Written:
    """Maps and writes what comes by these routes; a `Taker`. `heard` gets the report of each pull."""

    together = True

    def __init__(self, routes: Sequence[Route], backoff: Backoff, heard: Callable[[RunReport], None]) -> None:
        self._routes = {route.mapping.event_type: route for route in routes}
        self._connectors = {id(route.connector): route.connector for route in routes}
        narrow: dict[int, int] = {}
        for route in routes:
            narrow[id(route.connector)] = min(route.slots, narrow.get(id(route.connector), route.slots))
        self._slots = {one: asyncio.Semaphore(slots) for one, slots in narrow.items()}
        self._backoff = backoff
        self._heard = heard
        self._work = _Round()

    def begin(self) -> Steps:
        """What was not heard comes again, and is found. Raises Unavailable while every connector rests: what is pulled
        then would only be given back. One that failed is opened anew, now that nothing of it waits to be flushed.
        """
        self._work = _Round()
        resting = [one for one in self._connectors.values() if isinstance(one, Resting)]
        waits = [one.rests_ms() for one in resting]
        if waits and len(waits) == len(self._connectors) and min(waits) > 0:
            raise Unavailable("runner.resting", after_ms=min(waits))
        for one in resting:
            if one.rests_ms() == 0:
                with suppress(Unavailable):  # it rests again, or says so at the first delivery
                    yield _do(one.renew)
        for connector in self._connectors.values():
            with suppress(Unavailable):  # the mailbox or the system is away: what came is told at the next pull
                yield from _tell(connector)

    def waits(self, delivery_id: DeliveryId) -> bool:
        """Was it put off?"""
        return delivery_id in self._work.later

    def known(self, locked: LockedDelivery) -> Generator[Step, Any, Seen | None]:
        """Asked of the connector of its type.

        The manifest is not verified yet: a false one finds nothing here, and `verify_delivery` refuses it afterwards.
        """
        try:
            manifest = Manifest.decode(locked.payload)
        except Refused as fault:
            self.refuse(locked.delivery_id, fault, Reason.INVALID_DELIVERY)
            return None
        route = self._routes.get(manifest.event_type)
        if route is None and manifest.event_type in RETRACTIONS:
            # Somebody has to undo it by hand; waiting, it would hold up what comes next for its citizen.
            self.refuse(locked.delivery_id, Refused("runner.no-undo", event_type=manifest.event_type), Reason.MAPPING)
            return None
        if route is None:
            # No mapping for this type yet: its operator's matter, and no fault of the delivery.
            self.put_off(locked.delivery_id, Retry("runner.no-route", event_type=manifest.event_type))
            return None
        try:
            seen: ManifestDigest | None
            seen = yield self._do(route, lambda: route.connector.seen(manifest.source, manifest.declaration_id))
            if seen == sha256(locked.payload).digest():
                before: Applied | Partly | None = yield self._do(
                    route, lambda: route.connector.find(locked.delivery_id)
                )
                if before is not None:
                    self._work.ended[locked.delivery_id] = before
                    return None
        except Unavailable as fault:
            self.put_off(locked.delivery_id, fault)
            return None
        return lambda source, declaration_id: seen

    def take(self, delivery: VerifiedDelivery, catalogue: Schemas) -> Steps:
        """Map it and write it; durable at the end of the pull."""
        route = self._routes[delivery.event_type]
        try:
            rows = route.mapping.rows_of(delivery)
        except Refused as fault:
            self.refuse(delivery.delivery_id, fault, Reason.MAPPING)
            return
        except Exception as error:  # as in `_do`: what somebody else wrote may break at any value
            self.put_off(delivery.delivery_id, _broken(error))
            return
        if not rows:  # nothing of it concerns this system; it comes to nothing again, if it comes again
            self._work.ended[delivery.delivery_id] = Applied()
            return

        try:
            outcome: Applied | Partly = yield self._do(route, lambda: _written(route, delivery, rows), refuses=True)
        except Otherwise as answer:
            self._work.ended[delivery.delivery_id] = answer.outcome
            if isinstance(answer.outcome, Partly) or answer.outcome.reason is Reason.AWAITING_HUMAN:
                self._work.written[delivery.delivery_id] = route
        except Refused as fault:
            self.refuse(delivery.delivery_id, fault, Reason.SYSTEM_REFUSED)
        except Unavailable as fault:
            self.put_off(delivery.delivery_id, fault)
        else:
            self._work.ended[delivery.delivery_id] = outcome
            self._work.written[delivery.delivery_id] = route

    def refuse(self, delivery_id: DeliveryId, fault: Refused, reason: Reason) -> None:
        """Rejected at the end of the pull."""
        self._work.ended[delivery_id] = Rejected(fault.code, reason)

    def put_off(self, delivery_id: DeliveryId, fault: Fault) -> None:
        """Given back at the end of the pull. A key may be listed since this directory was read."""
        unknown = fault.code in UNKNOWN_KEYS
        self._work.later[delivery_id] = Retry("runner.unknown-key", wrong=fault.code) if unknown else fault

    def withheld(self, one: WithheldDelivery) -> None:
        """Reported."""
        self._work.withheld.append(one)

    def finish(self, pulled: Pulled) -> Steps:
        """Flush, then tell the mailbox each end. What it does not hear comes again when the lease ends."""
        yield from self._flush()
        work = self._work
        order = [locked.delivery_id for locked in pulled.locked]  # whoever was ready first
        work.ended = {one: work.ended[one] for one in order if one in work.ended}
        work.later = {one: work.later[one] for one in order if one in work.later}
        unheard: tuple[DeliveryId, ...] = ()
        if work.ended:
            try:
                # Refused: another run of this agency's was faster, or an operator has parked it meanwhile.
                unheard = tuple((yield calls.acknowledge(work.ended)))
            except Unavailable:
                unheard = tuple(work.ended)
        for delivery_id, fault in work.later.items():
            asked = fault.after_ms if isinstance(fault, Retry) else None
            wait = self._backoff.delay_ms(pulled.attempts.get(delivery_id, 0), asked)
            with suppress(Unavailable, Refused):
                yield calls.later(delivery_id, fault.code, wait)
        ended = work.ended.items()
        self._heard(
            RunReport(
                pulled=len(pulled.locked),
                applied=tuple(one for one, outcome in ended if isinstance(outcome, Applied | Partly)),
                rejected=tuple(
                    (delivery_id, outcome) for delivery_id, outcome in ended if isinstance(outcome, Rejected)
                ),
                answered=tuple(
                    (delivery_id, outcome) for delivery_id, outcome in ended if isinstance(outcome, Answered)
                ),
                retried=tuple((delivery_id, fault.code) for delivery_id, fault in work.later.items()),
                withheld=tuple((each.delivery_id, each.reason) for each in work.withheld),
                unacknowledged=unheard,
            )
        )

    def _do(self, route: Route, run: Callable[[], Awaitable[T]], *, refuses: bool = False) -> Do:
        """When the connector has a slot for it."""

        async def in_slot() -> T:
            async with self._slots[id(route.connector)]:
                return await run()

        return _do(in_slot, refuses=refuses)

    def _flush(self) -> Steps:
        """Make durable what was written; where that fails, none of that connector's deliveries is acknowledged."""
        work = self._work
        for connector in {id(route.connector): route.connector for route in work.written.values()}.values():
            try:
                yield _do(connector.flush)
            except Unavailable as fault:
                for delivery_id, route in work.written.items():
                    if route.connector is connector:
                        del work.ended[delivery_id]
                        work.later[delivery_id] = fault


def _tell(connector: Writer) -> Steps:
    """What its system has answered since. Refused by the mailbox: it was decided otherwise there, and stays so."""
    if isinstance(connector, Answering):
        told: Mapping_[DeliveryId, Outcome] = yield _do(connector.answers)
        if told:
            yield calls.acknowledge(told)
            # Crash here: it is told again, and that changes nothing.
            yield _do(lambda: connector.heard(tuple(told)))


async def run_routes(
    inbox: Inbox, agency: Agency, routes: Sequence[Route], *, clock: Clock, limit: int, backoff: Backoff
) -> RunReport:
    """Pull at most `limit` deliveries and bring each as far as it gets.

    Raises Unavailable if nothing can be pulled, Corrupt if a connector finds that its own state contradicts itself.
    """
    reports: list[RunReport] = []
    loop = Receiving(agency, Written(routes, backoff, reports.append), clock, backoff, limit=limit, once=True)

    async def drive(steps: Generator[Step, Any, Any]) -> None:
        told = None
        while (step := advance(steps, told)) is not None:
            try:
                told = await (at_once(step, drive) if isinstance(step, Together) else _answered(step, inbox))
            except Fault as fault:
                told = fault

    await drive(loop.round())
    return reports[0]


async def _written(route: Route, delivery: VerifiedDelivery, rows: Sequence[Row]) -> Applied | Partly:
    """Write it; where nobody knows whether that was done, look, and write again: a second write is no second row."""
    connector, many = route.connector, route.mapping.rows is not None

    async def write() -> Applied:
        if many:
            return Applied(await rows_writer(connector).write_rows(delivery, rows))
        return Applied(await connector.write(delivery, rows[0]))

    for _ in range(ASKED_AGAIN):
        try:
            return await write()
        except Late:
            raise
        except Unknown:
            try:
                before = await connector.find(delivery.delivery_id)
            except Refused as error:  # to look refuses nothing
                raise _broken(error) from None
            if before is not None:
                return before
    return await write()


async def _answered(step: Call[Any] | Wait | Give | Do, inbox: Inbox) -> Any:
    if isinstance(step, Do):
        return await step.run()
    if isinstance(step, Wait | Give) or step.inbox is None:
        raise Refused("client.refused", status=404, told=_ELSEWHERE)  # a mailbox has no directory and no schemas
    return await step.inbox(inbox)


def _do(run: Callable[[], Awaitable[T]], *, refuses: bool = False) -> Do:
    """What a connector does. `refuses`: it may say no; whatever else it raises is a fault of its own."""

    async def guarded() -> T:
        try:
            return await run()
        except (Unavailable, Corrupt):
            raise
        except Exception as error:
            if refuses and isinstance(error, Refused):
                raise
            # Broad on purpose: a connector of somebody else's may raise anything, and the others must not wait.
            raise _broken(error) from None

    return Do(guarded)


def _broken(error: Exception) -> Unknown:
    return Unknown("runner.connector-failed", kind=type(error).__name__)
