"""Imports the broker once; then forks for each line it reads: runs one step of a day until a crash point kills it.

A line is `STEP MARK[:N] FOLDER`, the answer the signal that ended the child (9 where it was killed), or minus its exit
code: 0 when the step came to its end alive.
"""

import asyncio
import os
import sys
import traceback
from pathlib import Path

from broker.observability import crashpoints
from tests.faults import day


def child(folder: str, step: str, setting: str) -> None:
    """Never returns."""
    try:
        crashpoints._trap = crashpoints._Trap(setting)
        asyncio.run(day.run(Path(folder), step))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        step, setting, folder = line.rstrip("\n").split(" ", 2)
        pid = os.fork()
        if pid == 0:
            child(folder, step, setting)
        _, status = os.waitpid(pid, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status), flush=True)


if __name__ == "__main__":
    main()
