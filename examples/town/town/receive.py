"""Receive: each delivery verified and typed, written into the town's system, then acknowledged.

Refuses: what it has no use for, with a code of its own.
Keeps: the own system has it before the broker hears that it is done; a stop or a crash anywhere repeats nothing.
"""

import sqlite3
from typing import Any

from unefois_agency.connectors.sdk import AddressChanged, Agency, BlockingClient, Ends, builtin

from town import system
from town.settings import Settings


def receive(settings: Settings, database: sqlite3.Connection, *, once: bool = False, **how: Any) -> int:
    """For good, or until nothing waits. Returns how much was news. `how`: for tests, see `BlockingClient.open`."""
    news, ends = 0, Ends.open(settings.ends)
    try:
        with BlockingClient.open(settings.broker, settings.token, **how) as broker:
            directory = broker.pinned_directory(settings.pin)
            agency = Agency(settings.party, settings.keys, directory, builtin())
            for delivery in broker.deliveries(agency, ends, pin=settings.pin, once=once):
                match delivery.record:
                    case AddressChanged() as record:
                        news += system.moved(database, delivery.facts, record)
                        delivery.applied()
                    case _:
                        delivery.rejected("town.unknown-type")
    finally:
        ends.close()
    return news
