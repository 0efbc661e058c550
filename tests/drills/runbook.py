"""The runbook as somebody follows it who has nothing else: its commands, section by section, in a home of their own.

A section is followed in its order. A word in capitals stands for what the reader knows by then: `unefois track
DECLARATION`. What a command must print stands below it, as on every page (`tests/docs/pages.py`).

Keeps: what is not on the page cannot be run here; what is planted, and what others do meanwhile, is the test's.
"""

import asyncio
import json
import re
import shlex
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2

from broker.access.credentials import Scope
from broker.settings.choices import load
from broker.setup.opening import open_home
from broker.setup.wiring import Home
from broker.web.app import build
from schemas.names import Instant, PartyId
from tests.docs.pages import DOCS, Reader, blocks, cut
from tests.program import Program, elise_in, move_in
from tests.world import CAF, DAY, PORTAL, RENNES, Clock, World

RUNBOOK: Final = DOCS / "runbook.md"
KNOWN: Final = re.compile(r"(?<![\w-])[A-Z]{2,}(?:-[A-Z]+)*(?![\w-])")
"""What stands for something that the reader knows."""
TYPE: Final = "address.changed"
GIB: Final = 1 << 30

T = TypeVar("T")


@dataclass
class Section:
    """What is left of a section of the page: commands, each with what it must print."""

    title: str
    left: deque[tuple[str, str]]


def sections(page: Path = RUNBOOK) -> dict[str, Section]:
    """Every section that has commands, by its heading."""
    lines, headings = page.read_text("utf-8").splitlines(), {}
    found: dict[str, Section] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            headings[number] = line.lstrip("# ")
    for block in blocks(page):
        title = headings[max(number for number in headings if number < block.line)]
        one = found.setdefault(title, Section(title, deque()))
        parts = re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE)
        one.left += [cut(part) for part in parts if part]
    return found


@dataclass
class Operator:
    """Somebody in whose home there is trouble, with the page beside them."""

    folder: Path
    reader: Reader
    clock: Clock
    unefois: Program
    """For what is planted, never for what mends it."""
    section: Section | None = None
    known: dict[str, object] = field(default_factory=dict)

    @contextmanager
    def follows(self, title: str) -> Iterator[None]:
        """A section, to its last command; then the home is well."""
        self.section = sections()[title]
        yield
        assert not self.section.left, f"{title}: not followed to its end: {self.section.left[0][0]}"
        assert self.unefois.told("fsck")["clean"]
        assert 0 == self.unefois.run("audit", "verify").exit_code

    def does(self, beginning: str, **known: object) -> str:
        """The next command of the section, which begins so. Returns what it prints, which is what the page shows."""
        assert self.section is not None
        assert self.section.left, f"{self.section.title} has no further command: {beginning}"
        self.known |= {name.replace("_", "-"): told for name, told in known.items()}
        command, expected = self.section.left.popleft()
        command, expected = self._told(command, _quoted), self._told(expected)
        assert command.startswith(beginning), f"{self.section.title}: the page says {command}"
        assert not KNOWN.search(command), f"{self.section.title}: what is it in {command}?"
        printed = self.reader.run(command)
        self.clock.pass_(1000)
        self.reader.compare(f"{self.section.title}: $ {command}", expected, printed)
        assert ("[exit code" in printed) is ("[exit code" in expected), printed  # three dots are no failure
        return printed

    def _told(self, text: str, written: Callable[[object], str] = str) -> str:
        """`written`: how what is known is spelled there."""
        known = self.known
        return KNOWN.sub(lambda found: written(known[found[0]]) if found[0] in known else found[0], text)

    def plants(self, work: Callable[[World], Awaitable[T]]) -> T:
        """What somebody else does, in a process of theirs."""

        async def done() -> T:
            async with self._opened() as home:
                return await work(World(home, self.clock, self.folder))

        return asyncio.run(done())

    def _opened(self) -> Any:
        return open_home(load(home=self.unefois.home), self.clock)

    def asks(self, token: str | None, method: str, path: str, body: Any = None, address: str = "192.0.2.7") -> Any:
        """A request of an administration from somewhere; the answer."""

        async def asked(home: Home) -> httpx2.Response:
            transport = httpx2.ASGITransport(build(home), client=(address, 40_000))
            async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as client:
                told = {} if token is None else {"authorization": f"Bearer {token}"}
                content = None
                if body is not None:
                    told["content-type"], content = "application/json", json.dumps(body).encode()
                return await client.request(method, path, headers=told, content=content)

        async def done() -> httpx2.Response:
            async with self._opened() as home:
                return await asked(home)

        return asyncio.run(done())

    def days(self, count: int) -> None:
        """Time passes, and the machine works meanwhile."""
        for _ in range(count):
            self.clock.pass_(DAY)
            self.unefois.told("run", "--once")


# ── what others do ──────────────────────────────────────────────────────────────────────────────────────────────────


def _quoted(told: object) -> str:
    """A path as one word of a command line, whatever folder the tests are in."""
    return shlex.quote(str(told)) if isinstance(told, Path) else str(told)


def allow(operator: Operator, recipient: str = CAF) -> None:
    """Élise lets somebody know."""
    words = [word for name in ("subject", "new_address", "effective_date") for word in ("--field", name)]
    purpose = {CAF: "family-benefits", RENNES: "local-services"}[PartyId(recipient)]
    asked = ("--recipient", recipient, "--type", TYPE, "--purpose", purpose)
    operator.unefois.told("grant", "--person", elise_in(operator.folder), *asked, *words)


def declare(operator: Operator) -> str:
    """The portal declares her move."""
    file = move_in(operator.folder)
    told: str = operator.unefois.told("declare", file, "--type", TYPE, "--source", PORTAL)["declaration"]
    return told


def routed(operator: Operator) -> None:
    operator.unefois.told("run", "--once")


def take(operator: Operator, party: PartyId = CAF) -> int:
    """An administration fetches, opens and applies what waits. Returns how much it was."""

    async def taken(here: World) -> int:
        count = 0
        while found := await here.take(party):  # a citizen's next one comes after the one before
            count += len(found)
        return count

    return operator.plants(taken)


def token(operator: Operator, days: int) -> tuple[str, str]:
    """Issued to CAF: its id, and what is shown once."""

    async def issued(here: World) -> tuple[str, str]:
        home, at = here.home, here.clock()
        scopes, until = (Scope.RECEIVE, Scope.READ), Instant(at + days * DAY)
        async with home.store.begin() as tx:
            made = await home.credentials.issue(tx, CAF, scopes, expires_at=until, at=at)
        return made.credential.id.hex(), made.token

    return operator.plants(issued)


def shown(name: str, printed: str) -> str:
    """What stands beside a word."""
    found = re.search(rf"^ *{name} +(\S+)", printed, re.MULTILINE)
    assert found, f"no {name} in\n{printed}"
    return found[1]


def steps(operator: Operator, declared: str, recipient: str) -> list[str]:
    told = operator.unefois.told("track", declared)["steps"]
    return [one["progress"] for one in told if one["recipient"] == recipient]


def signing_key(operator: Operator, party: str) -> str:
    (one,) = [each for each in operator.unefois.told("party", "list")["parties"] if each["id"] == party]
    keys = [key for key in one["keys"] if key["use"] == "signing" and key["valid_to"] is None]
    kid: str = keys[0]["kid"]
    return kid
