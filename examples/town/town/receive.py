"""Receive: each delivery verified and typed, written into the town's system, then acknowledged.

Refuses: what it has no use for, with a code of its own. Whom it does not find, it does not refuse: it says so.
Keeps: the own system has it before the broker hears that it is done; a stop or a crash anywhere repeats nothing.
"""

import sqlite3
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from unefois_agency.connectors.sdk import (
    AddressChanged,
    Agency,
    BlockingClient,
    BlockingDelivery,
    Ends,
    PersonReference,
    Reason,
    builtin,
)

from town import match, system
from town.settings import Settings

DECIDED_WITHIN = timedelta(days=14)
"""How long a colleague may take."""


def receive(
    settings: Settings,
    database: sqlite3.Connection,
    *,
    once: bool = False,
    today: Callable[[], date] = date.today,
    **how: Any,
) -> int:
    """For good, or until nothing waits. Returns how much was news. `how`: for tests, see `BlockingClient.open`."""
    news, ends = 0, Ends.open(settings.ends)
    try:
        with BlockingClient.open(settings.broker, settings.token, **how) as broker:
            directory = broker.pinned_directory(settings.pin)
            agency = Agency(settings.party, settings.keys, directory, builtin())
            for delivery in broker.deliveries(agency, ends, pin=settings.pin, once=once):
                match delivery.record:
                    case AddressChanged() as record:
                        news += _moved(database, delivery, record)
                    case PersonReference() as record:
                        if match.noted(database, delivery.facts, record):
                            delivery.applied()
                        else:
                            delivery.answered(Reason.AWAITING_HUMAN, str(today() + DECIDED_WITHIN))
                    case _:
                        delivery.rejected("town.unknown-type")
    finally:
        ends.close()
    return news


def _moved(database: sqlite3.Connection, delivery: BlockingDelivery, record: AddressChanged) -> bool:
    """One person, and no other: else nothing is written, and the answer says why."""
    numbers = match.numbers(database, delivery.facts, record.subject)
    if numbers is not None and len(numbers) != 1:
        delivery.answered(Reason.SEVERAL_PERSONS if numbers else Reason.UNKNOWN_PERSON)
        return False
    news = system.moved(database, delivery.facts, record)
    delivery.applied()
    return news
