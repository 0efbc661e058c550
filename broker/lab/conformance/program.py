"""Program: the receiver that is tried, as a process of its own: started, called, killed, and looked at.

Refuses: to take what cannot be read for an effect.
Keeps: nothing of it goes on when the kit ends; what it prints goes into a file beside the report.
"""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import httpx2

from broker.lab.conformance import observed
from broker.lab.conformance.config import Observe, Receiver
from broker.lab.conformance.observed import Observed
from schemas.errors import Refused


class Tried(Protocol):
    """A receiver under test."""

    forever: bool
    sees_itself: bool
    """Whether only its own process can say what it did."""

    async def start(self) -> None:
        """Let it run. Raises Refused `conformance.command`."""

    async def ended(self) -> int | None:
        """Its exit status, if it has ended; None while it runs."""

    async def wait(self, seconds: float) -> int | None:
        """Until it ends; None if it did not within so long."""

    async def kill(self) -> None:
        """End it at once, wherever it is: SIGKILL."""

    async def observe(self) -> Observed:
        """What its system says. Raises Refused `conformance.observed`, `conformance.observing`."""


class Program:
    """A receiver of a config."""

    def __init__(
        self, told: Receiver, folder: Path, environment: Mapping[str, str], log: Path, patience: float
    ) -> None:
        self.forever = told.runs == "forever"
        self.sees_itself = told.observe.url is not None
        self._told = told
        self._folder = folder
        self._environment = environment
        self._log = log
        self._patience = patience
        self._process: Process | None = None

    async def start(self) -> None:
        """Let it run, if it does not."""
        if await self.ended() is not None or self._process is None:
            self._process = await run(self._told.command, self._folder, self._environment, self._log)

    async def ended(self) -> int | None:
        """Its exit status; negative for a signal."""
        return None if self._process is None else self._process.returncode

    async def wait(self, seconds: float) -> int | None:
        """Until it ends."""
        if self._process is None:
            return 0
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self._process.returncode

    async def kill(self) -> None:
        """The process and whatever it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            self._process = None

    async def observe(self) -> Observed:
        """Ask its system."""
        return observed.read(await _asked(self._told.observe, self._folder, self._environment, self._patience))


async def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """A process in a group of its own, so that it ends with all it started. Raises Refused `conformance.command`."""
    try:
        with log.open("ab") as file:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
    except OSError as error:
        raise Refused("conformance.command", "/command", error=type(error).__name__) from None


async def _asked(how: Observe, folder: Path, environment: Mapping[str, str], patience: float) -> bytes:
    try:
        if how.file is not None:
            return (folder / how.file).read_bytes()
        if how.url is not None:
            async with httpx2.AsyncClient(trust_env=False, timeout=patience) as http:
                answer = await http.get(how.url)
                return answer.raise_for_status().content
        return await _printed(how.command or [], folder, environment, patience)
    except (OSError, httpx2.HTTPError, TimeoutError) as error:
        raise Refused("conformance.observing", "/receiver/observe", error=type(error).__name__) from None


async def _printed(command: Sequence[str], folder: Path, environment: Mapping[str, str], patience: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        told, _ = await asyncio.wait_for(process.communicate(), patience)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise Refused("conformance.observing", "/receiver/observe", error=f"exit {process.returncode}")
    return told


def environment_of(live: Any, more: Mapping[str, str]) -> dict[str, str]:
    """What the program is told: where the broker is, its token, and the file with its keys."""
    told = {
        "UNEFOIS_AGENCY_FILE": str(live.agency_file),
        "UNEFOIS_AGENCY_URL": live.url,
        "UNEFOIS_AGENCY_TOKEN": live.token,
    }
    return {**told, **more}
