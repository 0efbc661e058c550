"""A router that stands still at the worst moment (SIGSTOP to itself), and goes on when it is told to, knowing nothing.

Called as `zombie.py HOME checked|written`: with its batch read and checked, or with all of its effects written and not
committed. Says the fault that it meets, or how many records it routed.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from broker.flow import router as routers
from broker.flow.router import Router
from broker.settings.choices import load
from broker.setup import parts
from broker.setup.opening import open_home
from broker.store.postgres import Waits
from schemas.errors import Fault


def stand_still() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def at_the_worst(moment: str, passed: list[str]) -> None:
    """Let the first passage there be the one."""
    ordinary = Router._check

    async def check(self: Router, *arguments: Any) -> Any:
        found = await ordinary(self, *arguments)
        if moment == "checked" and not passed:
            passed.append(moment)
            stand_still()
        return found

    def mark(name: str) -> None:
        if (moment, name) == ("written", "router.batch") and not passed:
            passed.append(moment)
            stand_still()

    Router._check = check  # type: ignore[method-assign]
    routers.mark = mark


async def main() -> None:
    at_the_worst(sys.argv[2], [])
    if sys.argv[2] == "written":
        parts.waits = lambda _: Waits(absent_ms=1000)  # it holds locks; an operator's waits a minute
    async with open_home(load(home=Path(sys.argv[1]))) as home:
        try:
            print(await home.router.route_batch(0, 0), flush=True)
        except Fault as fault:
            print(fault.code, flush=True)


asyncio.run(main())
