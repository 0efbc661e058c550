"""Opening: what one pull handed out, with whichever of the agency's keys it was sealed to.

Refuses: nothing of its own; `schemas.delivery` refuses what does not open.
Keeps: a key that this machine lacks is its operator's matter, and no fault of the deliveries: they come again.
"""

from connectors.contract import Agency, Pulled, Retry
from schemas.delivery import ReleasedDelivery, open_release
from schemas.release import KeyRelease


def open_pulled(agency: Agency, pulled: Pulled) -> tuple[ReleasedDelivery, ...]:
    """The deliveries of a pull with their keys, in its order; none if nothing came.

    Raises Retry `runner.no-such-key`, Refused `release.*`, `avro.*`.
    """
    if not pulled.locked:
        return ()
    kid = KeyRelease.decode(pulled.key_release).recipient_kid
    key = agency.sealing_keys.get(kid)
    if key is None:
        raise Retry("runner.no-such-key", kid=kid.hex())
    return open_release(pulled.locked, pulled.key_release, key)
