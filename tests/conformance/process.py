"""A receiver of `agencies` as a process of its own: `python -m tests.conformance.process NAME run|show FOLDER`."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.conformance import agencies


def main(name: str, what: str, folder: str) -> None:
    told = json.loads(Path(os.environ["UNEFOIS_AGENCY_FILE"]).read_text())
    database = Path(folder) / "agency.db"
    if what == "run":

        async def run() -> None:
            await getattr(agencies, name)(told, database).run()

        asyncio.run(run())
    seen = agencies.Careful(told, database).shown()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
