"""Two agencies hosted beside the broker, with a small table each."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from broker.runtime.hosting import Hosted, load
from tests.world import CAF, RENNES

MAPPING: Final = (
    "{name: small, version: 1, event_type: fr.unefois.address.changed.v1, direction: out,"
    " fields: {nom: record.subject.family_name}}"
)


def two_agencies(place: Path) -> tuple[Hosted, ...]:
    """The family fund and the town, whose tables are in `caf.db` and `rennes.db` of this folder."""
    folder = place / "agencies"
    folder.mkdir()
    (folder / "small.mapping").write_text(MAPPING)
    for party, name in ((CAF, "caf"), (RENNES, "rennes")):
        settings = {"url": f"sqlite+aiosqlite:///{place / name}.db", "table": "t", "create": True}
        route = {"mapping": "./small.mapping", "connector": "table", "settings": settings}
        (folder / f"{name}.yaml").write_text(json.dumps({"party": party, "routes": [route]}))
    return load(folder)


def count(place: Path, name: str) -> int:
    """The rows of one of them."""
    with closing(sqlite3.connect(place / f"{name}.db")) as database:
        return int(database.execute("SELECT count(*) FROM t").fetchone()[0])
