"""Receive: each delivery verified and typed, acknowledged once it is in the town's own system. Fifteen lines."""

import sys
from pathlib import Path

from unefois_agency.connectors.sdk import (
    AddressChanged,
    Agency,
    BlockingClient,
    Ends,
    PartyId,
    Pin,
    builtin,
    sealing_key,
)

key = sealing_key(Path("town.key"))
with BlockingClient.open(sys.argv[1], Path("api.token").read_text().strip()) as broker:
    pin = Pin(Path("directory.pin"))  # trust on first use; better: the ledger's key, as the operator gives it
    town = Agency(PartyId("urn:fr:siret:21350238800019"), {key.kid: key}, broker.pinned_directory(pin), builtin())
    for delivery in broker.deliveries(town, Ends.open(Path("ends.db")), pin=pin, once="--once" in sys.argv):
        match delivery.record:
            case AddressChanged() as moved:
                print(moved.subject.family_name, "moves to", moved.new_address.city, "from", moved.old_commune)
                delivery.applied()
            case _:
                delivery.rejected("town.unknown-type")
