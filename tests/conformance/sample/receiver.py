"""A receiver on the SDK: it keeps what people let it know in a small database of its own.

    python receiver.py run | once | show

`once` takes what waits and ends; `show` prints what the conformance kit asks for.
"""

import json
import os
import sqlite3
import sys
from functools import partial
from pathlib import Path

from connectors.blocking import BlockingClient
from connectors.contract import Agency
from connectors.ends import Ends
from connectors.pins import Pins
from connectors.plain import plain, uuid_text
from schemas import catalogue
from schemas.delivery import VerifiedDelivery
from schemas.directory import Directory
from schemas.hpke import SealingKey, Suite
from schemas.names import PartyId

DATABASE = Path(os.environ.get("SAMPLE_FOLDER", "."))
TABLES = """
CREATE TABLE IF NOT EXISTS applied (delivery TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS held (person BLOB, field TEXT, value TEXT, at INTEGER, PRIMARY KEY (person, field));
"""


class BrokersWord(Pins):
    """Believes every key that the broker's directory lists. A real administration asks the key's owner first."""

    def trusted(self, directory: Directory) -> Directory:
        return directory


def keep(database: sqlite3.Connection, facts: VerifiedDelivery) -> None:
    """The effect and the delivery's id in one transaction; what is disclosed, unless something newer is known."""
    with database:
        mine = (uuid_text(facts.delivery_id),)
        if database.execute("INSERT OR IGNORE INTO applied VALUES (?)", mine).rowcount == 0:
            return
        database.executemany(
            "INSERT INTO held VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at"
            " WHERE excluded.at >= held.at",
            [
                (facts.pseudonym, name, json.dumps(plain(facts.record[name])), facts.issued_at)
                for name in facts.disclosed
            ],
        )


def run(database: sqlite3.Connection, *, once: bool = False) -> None:
    told = json.loads(Path(os.environ["UNEFOIS_AGENCY_FILE"]).read_text())
    keys = [SealingKey.from_raw(Suite[k["suite"].upper()], bytes.fromhex(k["private"])) for k in told["sealing_keys"]]
    ends = Ends.open(DATABASE / "ends.db")
    with BlockingClient.open(told["url"], told["token"]) as broker:
        directory = broker.directory()
        agency = Agency(PartyId(told["party"]), {key.kid: key for key in keys}, directory, catalogue.builtin())
        for delivery in broker.deliveries(agency, ends, pins=BrokersWord.of(directory), once=once):
            keep(database, delivery.facts)
            delivery.applied()


def show(database: sqlite3.Connection) -> None:
    people: dict[bytes, dict[str, object]] = {}
    for person, name, value in database.execute("SELECT person, field, value FROM held"):
        people.setdefault(person, {})[name] = json.loads(value)
    applied = [row[0] for row in database.execute("SELECT delivery FROM applied")]
    print(json.dumps({"applied": applied, "held": list(people.values())}))


if __name__ == "__main__":
    connection = sqlite3.connect(DATABASE / "sample.db")
    connection.executescript(TABLES)
    {"run": run, "once": partial(run, once=True), "show": show}[sys.argv[1]](connection)
