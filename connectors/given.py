"""Given: what an agency's own program takes from the loop, and its decisions, which survive a restart.

Refuses: a decision that no broker takes, and another end of what was applied.
Keeps: a decision is on the disk before the broker hears of it, and told as often as it takes; what was applied before
is told again and not given again.
"""

from collections.abc import Callable, Generator
from typing import Any

from connectors import calls
from connectors.contract import Answered, Applied, Outcome, Partly, Pulled, Rejected, WithheldDelivery
from connectors.ends import Ends, check_answer, check_code, check_rejection
from connectors.steps import Give, Seen, Step, Steps, Watch
from schemas import records
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused, Unavailable
from schemas.manifest import Schemas
from schemas.names import DeliveryId, Instant, Reason
from schemas.release import LockedDelivery


class Given:
    """The program's side of `connectors.receiving`; a `Taker`."""

    def __init__(self, ends: Ends, clock: Callable[[], Instant], watch: Watch) -> None:
        self._ends = ends
        self._clock = clock
        self._watch = watch

    together = False
    """The agency's program takes them as they are given: one after the other."""

    def waits(self, delivery_id: DeliveryId) -> bool:
        """Nothing is waited for here: what is put off is not given, and its lease ends."""
        return False

    def begin(self) -> Steps:
        """Tell the broker every end that it has not heard."""
        while told := self._ends.unheard():
            refused: dict[DeliveryId, Refused] = yield calls.acknowledge(told)
            for delivery_id, fault in refused.items():
                # Decided otherwise there: parked by an operator, say. Asking again would change nothing.
                self._watch(delivery_id, str(fault.details.get("told", fault.code)))
            self._ends.heard(told)

    def known(self, locked: LockedDelivery) -> Generator[Step, Any, Seen | None]:
        """None for what was applied before: it was told, and the broker did not hear."""
        ended = self._ends.of(locked.delivery_id)
        if isinstance(ended, Applied | Partly):
            yield calls.acknowledge({locked.delivery_id: ended})
            return None
        return self._ends.seen

    def take(self, delivery: VerifiedDelivery, catalogue: Schemas) -> Steps:
        """Give the typed record to the program; one that no class can hold is rejected."""
        try:
            record = records.of(catalogue.by_id(delivery.schema_id).schema.type, delivery.record)
        except Refused as fault:
            self.refuse(delivery.delivery_id, fault, Reason.MAPPING)
            return
        yield Give(delivery, record)

    def refuse(self, delivery_id: DeliveryId, fault: Refused, reason: Reason) -> None:
        """Written down; the broker hears of it before the next pull."""
        self._watch(delivery_id, fault.code)
        self._ends.refuse(delivery_id, fault.code, reason, self._clock())

    def put_off(self, delivery_id: DeliveryId, fault: Fault) -> None:
        """Nothing is written down: its lease ends, and it comes again."""
        self._watch(delivery_id, fault.code)

    def withheld(self, one: WithheldDelivery) -> None:
        """Told to whoever watches."""
        self._watch(one.delivery_id, one.word)

    def finish(self, pulled: Pulled) -> Steps:
        """Nothing: each decision was told as it came."""
        yield from ()

    def decide(self, facts: VerifiedDelivery, outcome: Outcome) -> Steps:
        """The agency's decision: durable once the first step comes; the broker hears it now, or as soon as it is there.

        Raises Refused("ends.applied") for another end of what was applied, "ends.code" for a wrong code or reason,
        "ends.answer" for an answer that says too little or too much.
        """
        if isinstance(outcome, Rejected):
            check_rejection(outcome)
        elif isinstance(outcome, Answered | Partly):
            check_answer(outcome)
        self._ends.decide(facts, outcome, self._clock())
        try:
            yield from self.begin()
        except Unavailable as fault:
            self._watch(None, fault.code)

    def later(self, facts: VerifiedDelivery, code: str, after_ms: int | None) -> Steps:
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
