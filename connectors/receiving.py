"""Receiving: the one loop of an agency, from the mailbox to whoever takes what comes, delivery by delivery. No network.

    1 begin     what the taker has to say first: ends that the broker has not heard of
      keep up   with the directory: at the start, and each hour    another history than the pinned one ends the loop
    2 pull      locked deliveries, one key release                 crash from here to 7: the lease ends, they come again
    3 open      with the agency's private key                      what does not open is asked for again singly
    4 known     what is known of it from before: taken then, it is only told again
    5 verify    the ten steps of protocol 7                        no: refused, and told
    6 take      the taker's: `given` gives a typed record to a program, `runner` maps it and writes it, for several
                citizens at once, in order for each of them
    7 finish    what the taker says of all of them

Refuses: to give what is not verified; to reject what may be believed tomorrow, when a key is not known yet; to go on
where the broker shows a directory that does not follow from the pinned one, or that nobody signed.
Keeps: every delivery that has no end comes again; one that does not open or is not believed stops no other; a broker
that is away is waited for. What may be a matter of the directory is not refused for good by an older one, and whoever
sends such things makes the loop ask for a newer one once a minute at most. What happens is told to `watch`, by id and
code, never by value.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, Final

from connectors import calls
from connectors.contract import Agency, Pulled
from connectors.conversation import Wait
from connectors.opening import open_pulled
from connectors.pinning import Pin, newest
from connectors.retry import Backoff
from connectors.steps import Seen, Step, Steps, Taker, Watch, unwatched
from connectors.taking import in_turn, together
from schemas import avro
from schemas.catalogue import EventSchema, event_schema
from schemas.delivery import ReleasedDelivery, VerifiedDelivery, verify_delivery
from schemas.errors import Refused, Unavailable
from schemas.manifest import Manifest, Registered, Schemas
from schemas.names import Instant, Reason, SchemaId

UNKNOWN_KEYS: Final = frozenset({"directory.unknown-key", "directory.unknown-sealing-key"})
REFRESH_MS: Final = 3_600_000
"""How old the directory gets, where nothing unknown comes: so late is a revoked key heard of."""
SOONEST_MS: Final = 60_000
"""Between two looks for a newer directory because of what came, however much is not to be believed with this one."""
_LESSONS: Final = 2
"""What one delivery may teach: a newer directory, and a schema."""
_IDLE_MS: Final = 250
"""Between two pulls that gave nothing: the broker has held the first one open already."""


class Receiving:
    """One agency's loop. `pin`: it keeps up with the directory that follows from it; without, the agency's own counts.

    `limit`: deliveries of one pull, which must be decided within one lease. `wait`: seconds that a pull stays when
    nothing is there. `once`: end when nothing waits.
    """

    def __init__(
        self,
        agency: Agency,
        taker: Taker,
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
        self._taker = taker
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
        """What to do, one after the other; a Call or Do is answered with what it gives, or the Fault that it raises.

        Raises Refused where the broker refuses the agency itself, and `directory.*`, `note.*`, `pins.*` where its
        directory is not to be believed; Unavailable with `once`; Corrupt from an agency's own system.
        """
        failures = 0
        while True:
            try:
                pulled = yield from self.round()
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

    def round(self) -> Generator[Step, Any, Pulled]:
        """One pull, each of its deliveries as far as it gets. Raises as `steps` does, and Unavailable."""
        yield from self._taker.begin()
        yield from self._keep_up()
        pulled: Pulled = yield calls.pull(self._limit, 0 if self._once else self._wait)
        self._renewed = self._renewed and self._once  # a pull that waited may have what is newer
        for one in pulled.withheld:
            self._taker.withheld(one)
        opened = yield from self._opened(pulled)
        take = together if self._taker.together else in_turn
        yield from take(opened, self._taker, self._verified, self._agency.catalogue)
        yield from self._taker.finish(pulled)
        return pulled

    def _opened(self, pulled: Pulled) -> Generator[Step, Any, list[ReleasedDelivery]]:
        """Every delivery that opens. One that does not must not close the others, so they are then asked for singly."""
        try:
            return list(open_pulled(self._agency, pulled))
        except Unavailable as fault:
            for locked in pulled.locked:
                self._taker.put_off(locked.delivery_id, fault)
            return []
        except Refused:
            pass
        found: list[ReleasedDelivery] = []
        for locked in pulled.locked:
            try:
                alone: Pulled = yield calls.release([locked.delivery_id])
            except (Refused, Unavailable) as fault:  # ended meanwhile, or its lease has: that is no fault of its own
                self._taker.put_off(locked.delivery_id, fault)
                continue
            for one in alone.withheld:  # its consent may have died in between
                self._taker.withheld(one)
            try:
                found += open_pulled(self._agency, alone)
            except Unavailable as fault:
                self._taker.put_off(locked.delivery_id, fault)
            except Refused as fault:
                self._taker.refuse(locked.delivery_id, fault, Reason.INVALID_DELIVERY)
        return found

    def _verified(self, released: ReleasedDelivery, seen: Seen) -> Generator[Step, Any, VerifiedDelivery | None]:
        """Verified; None when it is refused, or put off because a key is not known yet."""
        delivery_id = released.locked.delivery_id
        for _ in range(_LESSONS + 1):
            try:
                return verify_delivery(
                    released,
                    recipient=self._agency.party,
                    directory=self._agency.directory,
                    catalogue=self._agency.catalogue,
                    at=self._clock(),
                    seen=seen,
                )
            except Refused as fault:
                wrong = fault
            if not (yield from self._learn(wrong, released)):
                break
        if wrong.code in UNKNOWN_KEYS or (self._pin is not None and _of_directory(wrong) and not self._renewed):
            self._taker.put_off(delivery_id, wrong)
        else:
            self._taker.refuse(delivery_id, wrong, Reason.INVALID_DELIVERY)
        return None

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
