"""The agency in a process of its own: for each line, a delivery's id in hexadecimal, it asks the gate for its keys.

Says `begin` before each and then `open` or `closed`. `naive` as a second argument asks the gate that looks too early.
"""

import asyncio
import sys
from pathlib import Path

from schemas.names import DeliveryId
from tests.faults.day import opened
from tests.faults.races import naive
from tests.world import CAF


async def main() -> None:
    async with opened(Path(sys.argv[1]), 1) as here:
        gate = naive(here.home.gate) if "naive" in sys.argv[2:] else here.home.gate
        print("ready", flush=True)
        while line := sys.stdin.readline():
            print("begin", flush=True)
            released = await gate.release(CAF, [DeliveryId.parse(line.strip())])
            print("open" if released.locked else "closed", flush=True)


asyncio.run(main())
