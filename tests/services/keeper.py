"""Keeper: a process of its own that runs one server for one test run and ends it with that run, however it ends.

`python -m tests.services.keeper postgres PID FILE` writes `{"address": ...}` or `{"absent": reason}` to FILE, then
waits until the process PID is gone. It is in a session of its own, so that an interrupt of the tests does not reach the
server before the tests have closed what they opened.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.services import kafka, mariadb, postgres
from tests.services.absent import Absent

KINDS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "postgres": postgres.running,
    "kafka": kafka.running,
    "mariadb": mariadb.running,
}


def wait_for_end(pid: int) -> None:
    """Return once the process is gone."""
    if hasattr(os, "pidfd_open"):
        try:
            with open(os.pidfd_open(pid)) as run:
                select.select([run], [], [])
        except ProcessLookupError:
            return
        return
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)


def tell(file: Path, **told: str) -> None:
    """Whole or not at all: others wait for this file."""
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(told))
    draft.rename(file)


def stop(*_: object) -> None:
    """What a request to end does: the `with` block of the server ends as ever."""
    raise SystemExit


def main(kind: str, pid: int, file: Path) -> None:
    """Run the server until the process is gone."""
    try:
        with KINDS[kind]() as address:
            tell(file, address=address)
            wait_for_end(pid)
    except Absent as absent:
        tell(file, absent=str(absent))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
