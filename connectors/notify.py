"""Telling agencies that deliveries wait: each once, again after a while where nobody heard.

Refuses: nothing; what cannot be told waits, and the agency finds it when it pulls by itself.
Keeps: a delivery that was heard is not told again within `REMIND_MS`; the journal remembers across restarts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from connectors.contract import Inbox, Notifier, Reject, Retry
from connectors.journal import Journal
from connectors.retry import Backoff
from schemas.names import DeliveryId, Instant

REMIND_MS = 7 * 24 * 3_600_000
"""After this many milliseconds a delivery that is still waiting is told once more."""


@dataclass(frozen=True, slots=True)
class TellReport:
    """Whom we reached. `gone`: the agency wants to hear no more; its endpoint should be switched off."""

    told: tuple[DeliveryId, ...] = ()
    unheard: tuple[tuple[DeliveryId, str], ...] = ()
    gone: bool = False


async def tell_ready(
    inbox: Inbox, notifier: Notifier, journal: Journal, *, clock: Callable[[], Instant], limit: int, backoff: Backoff
) -> TellReport:
    """Tell what is ready and due, at most `limit`. Raises Unavailable when the mailbox is away."""
    journal.forget_told(Instant(clock() - REMIND_MS))
    told: list[DeliveryId] = []
    unheard: list[tuple[DeliveryId, str]] = []
    for ready in await inbox.ready(limit):
        failures = journal.told(ready.delivery_id, clock())
        if failures is None:
            continue
        try:
            await notifier.tell(ready)
        except Retry as fault:
            wait = backoff.delay_ms(failures, fault.after_ms)
            journal.note_told(ready.delivery_id, clock(), next_at=Instant(clock() + wait))
            unheard.append((ready.delivery_id, fault.code))
        except Reject as fault:
            return TellReport(tuple(told), (*unheard, (ready.delivery_id, fault.code)), gone=True)
        else:
            # Crash here: the agency is told once more, with the same message id.
            journal.note_told(ready.delivery_id, clock())
            told.append(ready.delivery_id)
    return TellReport(tuple(told), tuple(unheard))
