"""`python -m town receive | once | show | people FILE`: receive for good; take what waits, and end; print what the town
knows; read the register of its people (CSV), by which it finds whom a delivery is about.
"""

import json
import sys
from contextlib import closing
from pathlib import Path

from town import match, receive, settings, system


def main(what: str, *files: str) -> None:
    """One of the four."""
    told = settings.load(Path.cwd())
    with closing(system.opened(told.database)) as database:
        if what == "show":
            applied = [_uuid(row[0]) for row in database.execute("SELECT delivery FROM applied")]
            print(json.dumps({"applied": applied, "held": system.residents(database)}))
        elif what == "people":
            print(match.learn(database, Path(files[0])))
        else:
            receive.receive(told, database, once=what == "once")


def _uuid(text: str) -> str:
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
