"""Session: opens the chosen home for one command, and reads the files and words that a command is given.

Refuses: a home that `unefois init` has not made; a file that cannot be read; words that are no instant, no id.
Keeps: what a refused file or word holds is not repeated.
"""

import asyncio
import gc
import os
import re
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer

from broker.cli.frame import chosen
from schemas.errors import Refused
from schemas.names import Instant, from_rfc3339

if TYPE_CHECKING:
    from broker.settings.choices import Settings
    from broker.setup.wiring import Home

FILE_BYTES: Final = 4 * 1024 * 1024
"""What a file on the command line may weigh; whatever reads it has smaller limits of its own."""

T = TypeVar("T")

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def settings(**more: Any) -> "Settings":
    """The settings of the chosen home."""
    from broker.settings.choices import load

    return load(home=chosen().home, **more)


def at_home(work: Callable[["Home"], Coroutine[Any, Any, T]]) -> T:
    """Open the chosen home and do the work in it, by whoever calls. Raises Refused `cli.no-home`, `operators.*`, and
    what opening and the work raise.
    """
    from broker.cli.acting import call, who
    from broker.services.accounts import acting
    from broker.setup.opening import open_home, open_looking

    here = settings()
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))

    now = call()
    opening = open_looking if looks(here, now.act) else open_home

    async def opened() -> T:
        async with opening(here) as home, acting(home, now, lambda keys: who(here, keys)):
            collect_less()
            return await work(home)

    return asyncio.run(opened())


def looks(here: "Settings", act: str) -> bool:
    """Whether this only looks, and so gets no secret. A session's file is checked with one, so a session gets all."""
    from broker.access.roles import LOOKS

    if act not in LOOKS:
        return False
    if chosen().key is not None or here.operator_key is not None:
        return True
    try:
        return not here.session_file.exists()
    except OSError:  # another account's
        return True


def collect_less() -> None:
    """Tell Python's collector that what is loaded by now stays, and to look at the rest less often: a tenth of the time
    of a batch goes to it otherwise, for little here makes circles.

    Not so seldom that a look is felt: who collects fifty thousand circles at once stands still for a tenth of a second.
    """
    gc.freeze()
    collect_seldom()


def collect_seldom() -> None:
    """Tell Python's collector to look less often, and hardly ever at everything: what is loaded for a command stays,
    and going through it again and again is a tenth of what a start takes.
    """
    gc.set_threshold(2_000, 10, 100)


def read_file(path: Path, limit: int = FILE_BYTES) -> bytes:
    """A file's bytes, at most `limit`; `-` is what is piped in.

    Raises Refused `cli.cannot-read`, `cli.file-too-large`.
    """
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                content = file.read(limit + 1)
    except OSError as error:
        raise Refused("cli.cannot-read", file=str(path), error=type(error).__name__) from None
    if len(content) > limit:
        raise Refused("cli.file-too-large", file=str(path), limit=limit)
    return content


def write_file(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read. Raises Refused `cli.cannot-write`."""
    try:
        path.touch(mode=0o600)
        path.write_bytes(content)
    except OSError as error:
        raise Refused("cli.cannot-write", file=str(path), error=type(error).__name__) from None


def check_new(path: Path) -> None:
    """Raises Refused `cli.file-exists` where something is there already."""
    if path.exists() or path.is_symlink():
        raise Refused("cli.file-exists", file=str(path))


def write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there, and that only its owner can read: whole, or not at all.

    Raises Refused `cli.file-exists`, `cli.cannot-write` (a full disk, too).
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused("cli.file-exists", file=str(path)) from None
    except OSError as error:
        raise Refused("cli.cannot-write", file=str(path), error=type(error).__name__) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Refused("cli.cannot-write", file=str(path), error=type(error).__name__) from None


def instant(text: str, *, end_of_day: bool) -> Instant:
    """`2027-12-31T12:00:00Z`, or a day, meaning its first or last moment in UTC. Raises a usage error."""
    if _DAY.fullmatch(text):
        try:
            day = datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=end_of_day)
        except (ValueError, OverflowError):
            raise typer.BadParameter("no such day") from None
        return Instant(int(day.timestamp()) * 1000)
    at = from_rfc3339(text)
    if at is None:
        raise typer.BadParameter("write 2027-12-31 or 2027-12-31T12:00:00Z")
    return at


def assignments(words: list[str]) -> dict[str, str | None]:
    """`name=value` words; an empty value means none. Raises a usage error."""
    told: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise typer.BadParameter("write NAME=VALUE", param_hint="--set")
        if name in told:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--set")
        told[name] = value or None
    return told
