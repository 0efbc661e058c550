"""Steps: what the cores of the agency's side ask a driver to do, and what a taker of deliveries promises them.

    core (generator) ──Step──► driver ──answer, or Fault──► core         `advance` is one turn of it

Refuses: nothing. Keeps: no network, no clock, no thread.
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.calls import Call
from connectors.contract import Pulled, WithheldDelivery
from connectors.conversation import Wait
from schemas.delivery import VerifiedDelivery
from schemas.errors import Fault, Refused
from schemas.manifest import Schemas
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId, Reason
from schemas.record_base import Event
from schemas.release import LockedDelivery

Watch = Callable[[DeliveryId | None, str], None]
"""(delivery, code): withheld, refused, put off, or (None, code) for a broker that is away."""


def unwatched(delivery_id: DeliveryId | None, code: str) -> None:
    """For who does not want to know."""


@dataclass(frozen=True, slots=True)
class Give:
    """Give this to the agency's code. `record` is None for an event type without a class."""

    facts: VerifiedDelivery
    record: Event | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Do:
    """Wait for this, in the agency's own system, and give back what comes of it: a value, or the Fault that it raises.

    Only a driver with an event loop can.
    """

    run: Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Together:
    """Take these at once, each of them in its own order, and go on when all have ended. As `Do`, for event loops only.

    One that raises hinders none of the others; then the first of the faults is what comes of it.
    """

    lanes: "tuple[Steps, ...]"


Step = Call[Any] | Wait | Give | Do | Together
Steps = Generator[Step, Any, None]
Seen = Callable[[PartyId, DeclarationId], ManifestDigest | None]
"""The manifest under which a declaration is known, or None: what `verify_delivery` asks, step 10."""


class Taker(Protocol):
    """Who takes what comes, and remembers it. Every delivery of a pull is told to one of these, and to one only."""

    @property
    def together(self) -> bool:
        """May several citizens' deliveries be taken at once? Then its driver has an event loop."""
        ...

    def waits(self, delivery_id: DeliveryId) -> bool:
        """Was this delivery put off in this pull? Then its citizen's next ones wait too."""
        ...

    def begin(self) -> Steps:
        """Before each pull."""
        ...

    def known(self, locked: LockedDelivery) -> Generator[Step, Any, Seen | None]:
        """What is known from before; None where nothing more is to be done with it: it has its end, or comes again."""
        ...

    def take(self, delivery: VerifiedDelivery, catalogue: Schemas) -> Steps:
        """It is verified. `catalogue` knows its schema."""
        ...

    def refuse(self, delivery_id: DeliveryId, fault: Refused, reason: Reason) -> None:
        """It is not to be believed, now or ever."""
        ...

    def put_off(self, delivery_id: DeliveryId, fault: Fault) -> None:
        """Nothing is wrong with it for good: it comes again."""
        ...

    def withheld(self, one: WithheldDelivery) -> None:
        """It was planned, and may not be opened any more."""
        ...

    def finish(self, pulled: Pulled) -> Steps:
        """After each pull, when all that it handed out was told."""
        ...


def advance(steps: Generator[Step, Any, Any], told: Any) -> Any:
    """The next step of a loop that was answered, or raised at; None at its end."""
    try:
        return steps.throw(told) if isinstance(told, Fault) else steps.send(told)
    except StopIteration:
        return None
