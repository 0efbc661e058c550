"""Receiving: from the mailbox to the agency's own code, delivery by delivery, and back with its decision. No network.

    1 tell      the broker what it has not heard yet               crash from here to 5: the lease ends, they come again
      keep up   with the directory: at the start, and each hour    another history than the pinned one ends the loop
    2 pull      locked deliveries, one key release
    3 open      with the agency's private key; verify, protocol 7  no: written down as refused, and told
    4 give      the typed record to the agency's code              what was applied before is only told again
    5 decide    applied or rejected: written down, then told       crash after: 1 tells it at the next start

Refuses: to give what is not verified; to reject what may be believed tomorrow, when a key is not known yet; to go on
where the broker shows a directory that does not follow from the pinned one, or that nobody signed.
Keeps: every delivery that is not decided comes again; a decision is on the disk before the broker hears of it; a
broker that is away is waited for. What may be a matter of the directory is not refused for good by an older one, and
whoever sends such things makes the loop ask for a newer one once a minute at most. What happens is told to `watch`, by
id and code, never by value.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors import calls
from connectors.calls import Call
from connectors.contract import Agency, Applied, Outcome, Pulled, Rejected
from connectors.conversation import Wait
from connectors.ends import Ends, check_code, check_rejection
from connectors.opening import open_pulled
from connectors.pinning import Pin, newest
from connectors.retry import Backoff
from schemas import avro, records
from schemas.catalogue import EventSchema, event_schema
from schemas.delivery import ReleasedDelivery, VerifiedDelivery, verify_delivery
from schemas.errors import Refused, Unavailable
from schemas.manifest import Manifest, Registered, Schemas
from schemas.names import DeliveryId, Instant, Reason, SchemaId
from schemas.record_base import Event

_UNKNOWN_KEYS: Final = frozenset({"directory.unknown-key", "directory.unknown-sealing-key"})
REFRESH_MS: Final = 3_600_000
"""How old the directory gets, where nothing unknown comes: so late is a revoked key heard of."""
SOONEST_MS: Final = 60_000
"""Between two looks for a newer directory because of what came, however much is not to be believed with this one."""
_LESSONS: Final = 2
"""What one delivery may teach: a newer directory, and a schema."""
_IDLE_MS: Final = 250
"""Between two pulls that gave nothing: the broker has held the first one open already."""

Watch = Callable[[DeliveryId | None, str], None]
"""(delivery, code): withheld, refused, put off, or (None, code) for a broker that is away."""


def unwatched(delivery_id: DeliveryId | None, code: str) -> None:
    """For who does not want to know."""


@dataclass(frozen=True, slots=True)
class Give:
    """Give this to the agency's code. `record` is None for an event type without a class."""

    facts: VerifiedDelivery
    record: Event | None = field(repr=False)


Step = Call[Any] | Wait | Give
Steps = Generator[Step, Any, None]


class Receiving:
    """One agency's loop. `pin`: it keeps up with the directory that follows from it; without, the agency's own counts.

    `limit`: deliveries of one pull, which must be decided within one lease. `wait`: seconds that a pull stays when
    nothing is there. `once`: end when nothing waits.
    """

    def __init__(
        self,
        agency: Agency,
        ends: Ends,
        clock: Callable[[], Instant],
        backoff: Backoff,
        *,
        pin: Pin | None = None,
        limit: int = 20,
        wait: int = 20,
        once: bool = False,
        watch: Watch = unwatched,
    ) -> None:
        self._newer: dict[SchemaId, EventSchema] = {}
        self._agency = replace(agency, catalogue=_Grown(agency.catalogue, self._newer))
        self._renewed = False
        self._ends = ends
        self._clock = clock
        self._backoff = backoff
        self._pin = pin
        self._asked_at: Instant | None = None
        self._looked_at: Instant | None = None
        self._limit = limit
        self._wait = wait
        self._once = once
        self._watch = watch

    def steps(self) -> Steps:
        """What to do, one after the other; a Call is answered with what it gives, or with the Fault that it raises.

        Raises Refused where the broker refuses the agency itself, and `directory.*`, `note.*`, `pins.*` where its
        directory is not to be believed; Unavailable with `once`.
        """
        failures = 0
        while True:
            try:
                yield from self.tell()
                yield from self._keep_up()
                pulled: Pulled = yield calls.pull(self._limit, 0 if self._once else self._wait)
                yield from self._each(pulled)
            except Unavailable as fault:
                if self._once:
                    raise
                self._watch(None, fault.code)
                yield Wait(self._backoff.delay_ms(failures, _asked(fault)))
                failures += 1
                continue
            failures = 0
            if pulled.locked or pulled.withheld:
                continue
            if self._once:
                return
            yield Wait(_IDLE_MS)

    def decide(self, facts: VerifiedDelivery, outcome: Outcome) -> Steps:
        """The agency's decision: durable once the first step comes; the broker hears it now, or as soon as it is there.

        Raises Refused("ends.applied") for another end of what was applied, "ends.code" for a wrong code or reason.
        """
        if isinstance(outcome, Rejected):
            check_rejection(outcome)
        self._ends.decide(facts, outcome, self._clock())
        try:
            yield from self.tell()
        except Unavailable as fault:
            self._watch(None, fault.code)

    def put_off(self, facts: VerifiedDelivery, code: str, after_ms: int | None) -> Steps:
        """Give it back, to come again later. Nothing is written down: unheard, its lease ends and it comes too.

        Raises Refused("ends.code") for a wrong code.
        """
        check_code(code)
        try:
            refused: dict[DeliveryId, Refused] = yield calls.later(facts.delivery_id, code, after_ms)
        except Unavailable as fault:
            self._watch(None, fault.code)
            return
        for fault_of in refused.values():
            self._watch(facts.delivery_id, str(fault_of.details.get("told", fault_of.code)))

    def tell(self) -> Steps:
        """Tell the broker every end that it has not heard."""
        while told := self._ends.unheard():
            refused: dict[DeliveryId, Refused] = yield calls.acknowledge(told)
            for delivery_id, fault in refused.items():
                # Decided otherwise there: parked by an operator, say. Asking again would change nothing.
                self._watch(delivery_id, str(fault.details.get("told", fault.code)))
            self._ends.heard(told)

    def _each(self, pulled: Pulled) -> Steps:
        self._renewed = self._renewed and self._once  # a pull that waited may have what is newer
        for one in pulled.withheld:
            self._watch(one.delivery_id, one.word)
        released = yield from self._opened(pulled)
        for each in released:
            yield from self._one(each)

    def _opened(self, pulled: Pulled) -> Generator[Step, Any, list[ReleasedDelivery]]:
        """Every delivery that opens. One that does not must not close the others, so they are then asked for singly."""
        try:
            return list(open_pulled(self._agency, pulled))
        except Unavailable as fault:
            self._watch(None, fault.code)
            return []
        except Refused:
            pass
        found: list[ReleasedDelivery] = []
        for locked in pulled.locked:
            try:
                alone: Pulled = yield calls.release([locked.delivery_id])
            except Refused as fault:  # it has ended meanwhile, or its lease has: that is no fault of the delivery
                self._watch(locked.delivery_id, fault.code)
                continue
            for one in alone.withheld:
                self._watch(one.delivery_id, one.word)
            try:
                found += open_pulled(self._agency, alone)
            except Refused as fault:
                self._refuse(locked.delivery_id, fault, Reason.INVALID_DELIVERY)
        return found

    def _one(self, released: ReleasedDelivery) -> Steps:
        delivery_id = released.locked.delivery_id
        if isinstance(self._ends.of(delivery_id), Applied):
            yield calls.acknowledge({delivery_id: Applied()})  # it was told, and the broker did not hear
            return
        facts = yield from self._verified(released)
        if facts is None:
            return
        kind = self._agency.catalogue.by_id(facts.schema_id).schema.type
        try:
            record = records.of(kind, facts.record)
        except Refused as fault:
            self._refuse(delivery_id, fault, Reason.MAPPING)
            return
        yield Give(facts, record)

    def _verified(self, released: ReleasedDelivery) -> Generator[Step, Any, VerifiedDelivery | None]:
        """Verified; None when it is refused, or put off because a key is not known yet."""
        delivery_id = released.locked.delivery_id
        for _ in range(_LESSONS + 1):
            try:
                return self._verify(released)
            except Refused as fault:
                wrong = fault
            if not (yield from self._learn(wrong, released)):
                break
        if wrong.code in _UNKNOWN_KEYS or (self._pin is not None and _of_directory(wrong) and not self._renewed):
            self._watch(delivery_id, wrong.code)
        else:
            self._refuse(delivery_id, wrong, Reason.INVALID_DELIVERY)
        return None

    def _verify(self, released: ReleasedDelivery) -> VerifiedDelivery:
        return verify_delivery(
            released,
            recipient=self._agency.party,
            directory=self._agency.directory,
            catalogue=self._agency.catalogue,
            at=self._clock(),
            seen=self._ends.seen,
        )

    def _learn(self, wrong: Refused, released: ReleasedDelivery) -> Generator[Step, Any, bool]:
        """Ask the broker for what was missing: a newer directory, or a schema by its hash. True: it is worth a try."""
        if _of_directory(wrong):
            return (yield from self._newer_directory())
        if wrong.code == "catalogue.unknown-schema":
            return (yield from self._newer_schema(released))
        return False

    def _keep_up(self) -> Steps:
        """The newest directory: at the start, without which nothing is believed, and now and then."""
        self._renewed = False
        if self._pin is None:
            return
        if self._asked_at is None:
            yield from self._renew(self._pin)
        elif not _lately(self._asked_at, self._clock(), REFRESH_MS):
            yield from self._try_to_renew(self._pin)

    def _newer_directory(self) -> Generator[Step, Any, bool]:
        """The newest directory, where there is a pin for it and such a look is long enough ago."""
        at = self._clock()
        if self._pin is None or self._renewed or _lately(self._looked_at, at, SOONEST_MS):
            return False
        self._looked_at = at
        yield from self._try_to_renew(self._pin)
        return self._renewed

    def _try_to_renew(self, pin: Pin) -> Steps:
        self._asked_at = self._clock()  # whatever comes of it: a broker that does not answer is not asked all the time
        try:
            yield from self._renew(pin)
        except Unavailable as fault:
            self._watch(None, fault.code)

    def _renew(self, pin: Pin) -> Steps:
        at = self._clock()
        yield from newest(pin)
        self._agency = replace(self._agency, directory=pin.directory)
        self._asked_at, self._renewed = at, True

    def _newer_schema(self, released: ReleasedDelivery) -> Generator[Step, Any, bool]:
        """The schema of this hash. A broker that does not give it ends nothing but this delivery's turn."""
        # The manifest's signatures were verified before its schema was looked for: the source names this hash.
        manifest = Manifest.decode(released.locked.payload)
        try:
            raw: bytes = yield calls.schema(manifest.schema)
            self._newer[manifest.schema] = _event(raw, manifest)
        except Refused as fault:
            self._watch(released.locked.delivery_id, fault.code)
            return False
        return True

    def _refuse(self, delivery_id: DeliveryId, fault: Refused, reason: Reason) -> None:
        self._watch(delivery_id, fault.code)
        self._ends.refuse(delivery_id, fault.code, reason, self._clock())


def _lately(then: Instant | None, at: Instant, milliseconds: int) -> bool:
    """Was it within this time? A clock that was set back says nothing."""
    return then is not None and 0 <= at - then < milliseconds


def _of_directory(wrong: Refused) -> bool:
    """May a newer directory see it otherwise: a key, a right, a policy that was listed since?"""
    return wrong.code.startswith("directory.") or wrong.code == "manifest.policy-not-met"


def _event(raw: bytes, manifest: Manifest) -> EventSchema:
    """A schema that the source signed for. Raises Refused `avro.*`, `catalogue.*`, `client.answer`."""
    made = event_schema(avro.parse(raw))
    if made.event_type != manifest.event_type:
        raise Refused("client.answer", "/schema")
    return made


class _Grown:
    """The agency's own catalogue, and what was learned since."""

    def __init__(self, own: Schemas, newer: Mapping[SchemaId, EventSchema]) -> None:
        self._own = own
        self._newer = newer

    def by_id(self, schema_id: SchemaId) -> Registered:
        """The schema of this hash. Raises Refused `catalogue.unknown-schema`."""
        return self._newer[schema_id] if schema_id in self._newer else self._own.by_id(schema_id)


def _asked(fault: Unavailable) -> int | None:
    told = fault.details.get("after_ms")
    return told if isinstance(told, int) and told > 0 else None
