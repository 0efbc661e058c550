"""One step of the sender of a home, in a process of its own: `python -m tests.faults.teller HOME PORT LATE`.

The home's clock stands LATE milliseconds after it was told last; where a mark is armed, the process is killed there.
"""

import asyncio
import sys
from pathlib import Path

from broker.messages.mail import MailServer
from broker.messages.ways import ByMail
from tests.faults import day
from tests.told import FROM, by_mail
from tests.world import DAY


async def tell(folder: Path, port: int, late: int) -> None:
    """Order the ledger, and send what is due, to a mail server on loopback."""
    async with day.opened(folder, DAY + late) as here:
        await here.home.ledger.sequence_unfinished()
        await by_mail(here, ByMail(MailServer("127.0.0.1", port, "none", FROM))).sending.step()


if __name__ == "__main__":
    asyncio.run(tell(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
