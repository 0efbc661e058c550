"""The runner: from the mailbox to the agency's own system, one delivery after the other, each to its own end.

    1 pull         locked deliveries, one key release        crash from here to 6: the lease ends, they come again
    2 open         with the agency's private key             what does not open is asked for again singly
    3 find         written before? then straight to 7        so a changed mapping cannot rewrite the past
    4 verify       the ten steps of protocol 7               no: rejected, INVALID_DELIVERY
    5 map          the declarative file                      no: rejected, MAPPING
    6 write        idempotent by delivery id; then flush     no: rejected, SYSTEM_REFUSED; not now: back-off
    7 acknowledge  applied or rejected                       crash before: it comes again, and 3 finds it

Refuses: to acknowledge what is not flushed, and to hand an unverified value to a connector (it would not type-check).
Keeps: one delivery's failure changes nothing for another; what is neither applied nor rejected comes again.
"""

from collections import abc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from connectors.contract import (
    Agency,
    Applied,
    Connector,
    Inbox,
    Outcome,
    Pulled,
    Rejected,
    Retry,
    Row,
    Unknown,
    WithheldDelivery,
)
from connectors.mapping import Mapping
from connectors.opening import open_pulled
from connectors.retry import Backoff
from schemas.delivery import ReleasedDelivery, VerifiedDelivery, verify_delivery
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.manifest import Manifest
from schemas.names import DeliveryId, EventType, Instant, ManifestDigest, Reason
from schemas.release import LockedDelivery

ASKED_AGAIN = 2
"""How often a write whose end is unknown is asked for again at once, before it waits like any other."""
_UNKNOWN_KEYS = frozenset({"directory.unknown-key", "directory.unknown-sealing-key"})

Clock = Callable[[], Instant]


@dataclass(frozen=True, slots=True)
class Route:
    """Which mapping and connector serve one event type."""

    mapping: Mapping
    connector: Connector


Routes = abc.Mapping[EventType, Route]


@dataclass(frozen=True, slots=True)
class RunReport:
    """What became of one pull. Identifiers and codes only."""

    pulled: int = 0
    applied: tuple[DeliveryId, ...] = ()
    rejected: tuple[tuple[DeliveryId, Rejected], ...] = ()
    retried: tuple[tuple[DeliveryId, str], ...] = ()
    withheld: tuple[tuple[DeliveryId, Reason | str], ...] = ()
    unacknowledged: tuple[DeliveryId, ...] = ()
    """Ended, but the mailbox did not hear it: they come again, and are found."""


@dataclass(slots=True)
class _Round:
    """One pull on its way."""

    ended: dict[DeliveryId, Outcome] = field(default_factory=dict)
    later: dict[DeliveryId, Unavailable] = field(default_factory=dict)
    written: dict[DeliveryId, Route] = field(default_factory=dict)
    withheld: list[WithheldDelivery] = field(default_factory=list)


class _Ended(Exception):
    """A delivery came to its end before it was written."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


async def run_routes(
    inbox: Inbox, agency: Agency, routes: Sequence[Route], *, clock: Clock, limit: int, backoff: Backoff
) -> RunReport:
    """Pull at most `limit` deliveries and bring each as far as it gets.

    Raises Unavailable if nothing can be pulled, Corrupt if a connector finds that its own state contradicts itself.
    """
    pulled = await inbox.pull(limit)
    work = _Round()
    by_type = {route.mapping.event_type: route for route in routes}
    for released in await _opened(inbox, agency, pulled, work):
        await _bring(released, agency, by_type, clock, work)
    await _flush(work)
    return await _acknowledge(inbox, pulled, work, backoff)


async def _opened(inbox: Inbox, agency: Agency, pulled: Pulled, work: _Round) -> list[ReleasedDelivery]:
    """Every delivery that opens. One that does not must not close the others, so they are then asked for singly."""
    try:
        return list(open_pulled(agency, pulled)) if pulled.locked else []
    except Unavailable as fault:
        work.later.update({locked.delivery_id: fault for locked in pulled.locked})
        return []
    except Refused:
        pass
    found: list[ReleasedDelivery] = []
    for locked in pulled.locked:
        try:
            alone = await inbox.release([locked.delivery_id])
            # Its consent may have died in between: then it is withheld, and nothing is locked.
            work.withheld += alone.withheld
            found += open_pulled(agency, alone) if alone.locked else ()
        except Unavailable as fault:
            work.later[locked.delivery_id] = fault
        except Refused as fault:
            work.ended[locked.delivery_id] = Rejected(fault.code, Reason.INVALID_DELIVERY)
    return found


async def _bring(released: ReleasedDelivery, agency: Agency, routes: Routes, clock: Clock, work: _Round) -> None:
    """Steps 3 to 6 of one delivery; every way out leaves it in exactly one list of the round."""
    delivery_id = released.locked.delivery_id
    try:
        route, known = await _known(released.locked, routes)
        if known == sha256(released.locked.payload).digest():
            before = await route.connector.find(delivery_id)
            if before is not None:
                work.ended[delivery_id] = before
                return
        ended = await _written(_verified(released, agency, clock, known), route)
    except _Ended as end:
        work.ended[delivery_id] = end.outcome
    except Unavailable as fault:
        work.later[delivery_id] = fault
    except Corrupt:
        raise  # stop, whoever it is
    except Exception as error:
        # Broad on purpose: a connector of somebody else's may raise anything, and the other deliveries must not wait.
        work.later[delivery_id] = Unknown("runner.connector-failed", kind=type(error).__name__)
    else:
        work.ended[delivery_id] = ended
        work.written[delivery_id] = route


async def _known(locked: LockedDelivery, routes: Routes) -> tuple[Route, ManifestDigest | None]:
    """The route of a delivery, and the manifest under which its declaration was written before.

    The manifest is not verified yet: a false one finds nothing here, and `verify_delivery` refuses it afterwards.
    """
    try:
        manifest = Manifest.decode(locked.payload)
    except Refused as fault:
        raise _Ended(Rejected(fault.code, Reason.INVALID_DELIVERY)) from None
    route = routes.get(manifest.event_type)
    if route is None:
        # No mapping for this type yet: its operator's matter, and no fault of the delivery.
        raise Retry("runner.no-route", event_type=manifest.event_type)
    return route, await route.connector.seen(manifest.source, manifest.declaration_id)


def _verified(
    released: ReleasedDelivery, agency: Agency, clock: Clock, known: ManifestDigest | None
) -> VerifiedDelivery:
    try:
        return verify_delivery(
            released,
            recipient=agency.party,
            directory=agency.directory,
            catalogue=agency.catalogue,
            at=clock(),
            seen=lambda source, declaration_id: known,
        )
    except Refused as fault:
        if fault.code in _UNKNOWN_KEYS:
            # Listed since this directory was read, perhaps: the next round has a newer one.
            raise Retry("runner.unknown-key", wrong=fault.code) from None
        raise _Ended(Rejected(fault.code, Reason.INVALID_DELIVERY)) from None


async def _written(delivery: VerifiedDelivery, route: Route) -> Applied:
    try:
        row = route.mapping.row_of(delivery)
    except Refused as fault:
        raise _Ended(Rejected(fault.code, Reason.MAPPING)) from None
    try:
        return Applied(await _asked(delivery, row, route.connector))
    except Refused as fault:
        raise _Ended(Rejected(fault.code, Reason.SYSTEM_REFUSED)) from None


async def _asked(delivery: VerifiedDelivery, row: Row, connector: Connector) -> str | None:
    """Write, and ask again where the end is unknown: the second write of a delivery is no second row."""
    for _ in range(ASKED_AGAIN):
        with suppress(Unknown):
            return await connector.write(delivery, row)
    return await connector.write(delivery, row)


async def _flush(work: _Round) -> None:
    """Make durable what was written; where that fails, none of that connector's deliveries is acknowledged."""
    for connector in {id(route.connector): route.connector for route in work.written.values()}.values():
        try:
            await connector.flush()
        except Unavailable as fault:
            failed: Unavailable = fault
        except Corrupt:
            raise
        except Exception as error:  # as in `_bring`
            failed = Unknown("runner.connector-failed", kind=type(error).__name__)
        else:
            continue
        for delivery_id, route in work.written.items():
            if route.connector is connector:
                del work.ended[delivery_id]
                work.later[delivery_id] = failed


async def _acknowledge(inbox: Inbox, pulled: Pulled, work: _Round, backoff: Backoff) -> RunReport:
    """Tell the mailbox each end. What it does not hear comes again when the lease ends."""
    try:
        # Refused: another run of this agency's was faster, or an operator has parked it meanwhile.
        unheard = tuple(await inbox.acknowledge_all(work.ended)) if work.ended else ()
    except Unavailable:
        unheard = tuple(work.ended)
    for delivery_id, fault in work.later.items():
        asked = fault.after_ms if isinstance(fault, Retry) else None
        wait = backoff.delay_ms(pulled.attempts.get(delivery_id, 0), asked)
        with suppress(Unavailable, Refused):
            await inbox.retry_later(delivery_id, fault.code, wait)
    ended = work.ended.items()
    return RunReport(
        pulled=len(pulled.locked),
        applied=tuple(delivery_id for delivery_id, outcome in ended if isinstance(outcome, Applied)),
        rejected=tuple((delivery_id, outcome) for delivery_id, outcome in ended if isinstance(outcome, Rejected)),
        retried=tuple((delivery_id, fault.code) for delivery_id, fault in work.later.items()),
        withheld=tuple((each.delivery_id, each.reason) for each in (*pulled.withheld, *work.withheld)),
        unacknowledged=unheard,
    )
