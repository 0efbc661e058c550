"""Place: where files are put, so that nobody takes one before it is whole: a folder, or a folder of an SFTP server.

Refuses: nothing itself.
Keeps: what is hidden may be written again and again; what is shown is whole, and never replaces what was there.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import ParamSpec, Protocol, TypeVar

from connectors.journal import Batch

P = ParamSpec("P")
T = TypeVar("T")


class Place(Protocol):
    """An open place. Each method may raise Retry or OSError; repeated, it does what is left to do."""

    async def is_taken(self, name: str) -> bool:
        """Whether a file of this name, or its marker, is there."""
        ...

    async def hide(self, name: str, content: bytes) -> None:
        """The file, durable, where nobody takes it. What was hidden under this name before is gone."""
        ...

    async def show(self, batch: Batch) -> None:
        """Let a hidden file have its name, then its marker. One that was shown and taken already stays so.

        Raises Retry("file.name-taken"), Corrupt("file.temporary-changed").
        """
        ...

    async def forget(self, names: Collection[str]) -> None:
        """Remove what is hidden and is none of these: nobody knows of it. Only what `is_ours`."""
        ...

    async def listed(self) -> Sequence[str]:
        """The names of the files where answers are put, sorted."""
        ...

    async def read(self, name: str, limit: int) -> bytes:
        """The first bytes of one of them."""
        ...

    async def aside(self, name: str, report: bytes) -> None:
        """Give it the ending `.read`; with a report, `.refused`, and the report beside it."""
        ...

    async def close(self) -> None:
        """Let go of it. Safe to call twice."""
        ...


def free(is_there: Callable[[str], bool], refused: bool) -> str:
    """An ending that no file has yet: `.read`, `.read-2`."""
    endings = (f"{'.refused' if refused else '.read'}{'' if number == 1 else f'-{number}'}" for number in count(1))
    return next(ending for ending in endings if not is_there(ending))


async def to_its_end(work: Callable[P, T], *told: P.args, **named: P.kwargs) -> T:
    """In a thread, which cannot be broken off: who stops waiting waits for its end."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *told, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
