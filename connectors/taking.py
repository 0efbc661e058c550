"""Taking: the deliveries of one pull, brought to their taker: one after the other, or several citizens at once.

    in_turn    known, verified, taken; then the next one
    together   1 known       all at once
               2 verified    one after the other: what one teaches, a directory or a schema, the next one knows
               3 taken       a lane for each citizen, all lanes at once; each in the order of the pull

Refuses: the second of two manifests under one id, in one pull too.
Keeps: of one citizen nothing is written before what came earlier: what follows a delivery that was put off waits.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from connectors.contract import Retry
from connectors.steps import Seen, Step, Steps, Taker, Together
from schemas.delivery import ReleasedDelivery, VerifiedDelivery
from schemas.errors import Refused
from schemas.manifest import Schemas
from schemas.names import DeclarationId, DeliveryId, ManifestDigest, PartyId
from schemas.release import Statement

Verify = Callable[[ReleasedDelivery, Seen], Generator[Step, Any, VerifiedDelivery | None]]
_Lane = list[tuple[DeliveryId, VerifiedDelivery | None]]


def in_turn(opened: Sequence[ReleasedDelivery], taker: Taker, verify: Verify, catalogue: Schemas) -> Steps:
    """One after the other."""
    for released in opened:
        seen = yield from taker.known(released.locked)
        delivery = None if seen is None else (yield from verify(released, seen))
        if delivery is not None:
            yield from taker.take(delivery, catalogue)


def together(opened: Sequence[ReleasedDelivery], taker: Taker, verify: Verify, catalogue: Schemas) -> Steps:
    """Several citizens at once."""
    known: dict[DeliveryId, Seen] = {}

    def ask(one: ReleasedDelivery) -> Steps:
        seen = yield from taker.known(one.locked)
        if seen is not None:
            known[one.locked.delivery_id] = seen

    yield Together(tuple(ask(one) for one in opened))
    lanes: dict[bytes, _Lane] = {}
    manifests: dict[tuple[PartyId, DeclarationId], ManifestDigest] = {}
    for released in opened:
        delivery_id = released.locked.delivery_id
        seen, delivery = known.get(delivery_id), None
        if seen is not None:
            delivery = yield from verify(released, _seen_here(manifests, seen))
        if delivery is not None:
            manifests[delivery.source, delivery.declaration_id] = delivery.manifest_digest
        lanes.setdefault(_citizen(released), []).append((delivery_id, delivery))
    yield Together(tuple(_taken(lane, taker, catalogue) for lane in lanes.values()))


def _taken(lane: _Lane, taker: Taker, catalogue: Schemas) -> Steps:
    """One citizen's. What follows one that was put off waits for it."""
    behind = False
    for delivery_id, delivery in lane:
        if behind and delivery is not None:
            taker.put_off(delivery_id, Retry("runner.behind-another"))
        elif delivery is not None:
            yield from taker.take(delivery, catalogue)
        behind = behind or taker.waits(delivery_id)


def _citizen(released: ReleasedDelivery) -> bytes:
    """Whom the release says it is about, verified or not: one that is put off unverified holds up the next one too.
    Where nobody is named, the delivery stands alone.
    """
    try:
        named = Statement.decode(released.release.statement).pseudonym
    except Refused:
        named = b""
    return named or released.locked.delivery_id


def _seen_here(manifests: Mapping[tuple[PartyId, DeclarationId], ManifestDigest], before: Seen) -> Seen:
    """What was seen in this pull, and before."""
    return lambda source, declaration_id: manifests.get((source, declaration_id)) or before(source, declaration_id)
