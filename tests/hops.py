"""How far a reader has to jump: the files that each of the five main flows passes through, on an embedded home.

    python -m tests.hops [--files]

A file counts when a function of it runs between the call and its answer; a crossing is a call from a function of one
file to a function of another. Reading a module counts for nothing, and neither does a comprehension: no reader jumps
to it. Each flow is run once before, so that nothing counts which a process does once. Stores of keys and endings that
forget are the tests' own, wherever they lie.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

from connectors.contract import Applied
from tests.world import CAF, FAMILY, MOVED, PORTAL, VOICE, World, world

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("broker", "consent", "schemas")
FORGETFUL: Final = "memory.py"
FIELDS: Final = ("subject", "new_address")


@dataclass
class Hops:
    """What one flow passes through. A frame is remembered, so that a coroutine that goes on is no second call."""

    files: set[str] = field(default_factory=set)
    crossings: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: dict[int, FrameType] = field(default_factory=dict, repr=False)

    def of(self, package: str) -> set[str]:
        """The files of one package."""
        return {file for file in self.files if file.startswith(f"{package}/")}

    def watch(self, frame: FrameType, event: str, _: Any) -> None:
        """For `sys.setprofile`."""
        if event != "call" or id(frame) in self._seen:
            return
        file = _file(frame)
        if file is None:
            return
        self._seen[id(frame)] = frame
        self.files.add(file)
        caller = frame.f_back
        while caller is not None and _file(caller) is None:
            caller = caller.f_back
        before = None if caller is None else _file(caller)
        if before is not None and before != file:
            self.crossings[before, file] += 1


def _file(frame: FrameType) -> str | None:
    """The file of a function of the house; None for everything else."""
    code = frame.f_code
    if code.co_name.startswith("<") and code.co_name != "<lambda>":
        return None
    path = Path(code.co_filename)
    if path.name == FORGETFUL or not path.is_relative_to(ROOT):
        return None
    file = path.relative_to(ROOT)
    return file.as_posix() if file.parts[0] in PACKAGES else None


async def watched(flow: Awaitable[Any]) -> tuple[Hops, Any]:
    """What a flow passes through, and what it answers."""
    hops = Hops()
    sys.setprofile(hops.watch)
    try:
        answer = await flow
    finally:
        sys.setprofile(None)
    return hops, answer


async def measured(here: World) -> dict[str, Hops]:
    """Each flow once."""
    given = await here.give(CAF, MOVED, FAMILY, FIELDS)
    inbox = here.inbox(CAF)
    found = {}
    found["declare"], _ = await watched(here.home.desk.declare(PORTAL, MOVED, here.moved()))
    found["route"], _ = await watched(here.home.router.route())
    found["pull"], pulled = await watched(inbox.pull(10))
    (locked,) = pulled.locked
    found["acknowledge"], _ = await watched(inbox.acknowledge(locked.delivery_id, Applied()))
    found["revoke"], _ = await watched(here.home.consents.revoke(given.grant.id, VOICE))
    return found


async def all_flows(folder: Path) -> dict[str, Hops]:
    """The five flows on a home of their own, the second time that they run there."""
    async with world(folder) as here:
        await measured(here)
        return await measured(here)


def table(found: dict[str, Hops]) -> list[str]:
    """Lines of Markdown: files of each package by flow, all of them, and crossings."""
    lines = ["| flow | " + " | ".join(PACKAGES) + " | files | crossings |", "|---|--:|--:|--:|--:|--:|"]
    every = Hops()
    for name, hops in found.items():
        lines.append(_row(name, hops))
        every.files |= hops.files
        every.crossings.update(hops.crossings)
    return [*lines, _row("all five", every)]


def _row(name: str, hops: Hops) -> str:
    counts = [*(len(hops.of(package)) for package in PACKAGES), len(hops.files), hops.crossings.total()]
    return f"| {name} | " + " | ".join(map(str, counts)) + " |"


def main() -> None:
    """Print the table; with `--files` the files of each flow, too, and how often each is entered from another."""
    parser = argparse.ArgumentParser(description="Files that the five main flows pass through.")
    parser.add_argument("--files", action="store_true", help="name them, with how often each is entered")
    named = parser.parse_args().files
    with TemporaryDirectory() as folder:
        found = asyncio.run(all_flows(Path(folder)))
    print("\n".join(table(found)))
    if named:
        for name, hops in found.items():
            entered = Counter[str]()
            for (_, file), count in hops.crossings.items():
                entered[file] += count
            print(f"\n{name}")
            print("\n".join(f"  {entered[file]:4} {file}" for file in sorted(hops.files)))


if __name__ == "__main__":
    main()
