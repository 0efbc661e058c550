"""Shared: the one server of a kind that all workers of a test run use; who needs it first starts its keeper."""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.services.absent import Absent

START_SECONDS = 300
"""With a first download; without, a second or five."""


def address(kind: str, folder: Path, run: int) -> str:
    """The address of the run's server: from UNEFOIS_TEST_<KIND>, or of the one that is started for the process `run`.

    Raises Absent, with the same reason for every worker.
    """
    given = os.environ.get(f"UNEFOIS_TEST_{kind.upper()}")
    if given:
        return given
    told = folder / f"{kind}.json"
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            _start(kind, folder, told, run)
    found = json.loads(told.read_text())
    if "absent" in found:
        raise Absent(found["absent"])
    return str(found["address"])


def _start(kind: str, folder: Path, told: Path, run: int) -> None:
    log = folder / f"{kind}.log"
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.services.keeper", kind, str(run), str(told)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while not told.exists():
        if keeper.poll() is not None and not told.exists():
            raise Absent(f"the keeper of {kind} ended: {log.read_text(errors='replace')[-300:].strip()}")
        if time.monotonic() > until:
            keeper.terminate()
            raise Absent(f"{kind} did not start within {START_SECONDS} s")
        time.sleep(0.05)
    keeper.returncode = 0  # it outlives us on purpose
