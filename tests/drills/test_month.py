"""A month in an operator's hands, day by day: a home of version 1 is brought to this one and goes on, with a town that
pulls, one that is hosted, and a source. Keys and tokens end, a town is away, a process dies, a source floods, the disk
is lost and a backup is put back. Everything that is done is a command of the pages, and in the end all is consistent.
"""

import asyncio
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx2
import pytest

from broker.cli.exits import Exit
from broker.observability import crashpoints
from broker.settings.choices import load
from broker.setup import opening
from broker.setup.opening import open_home
from broker.web.app import build
from connectors import key_files
from connectors.client import Client
from connectors.contract import Agency
from connectors.ends import Ends
from schemas.catalogue import builtin
from schemas.errors import Refused
from schemas.hpke import SealingKey
from schemas.names import PartyId
from tests.home_v1 import unpacked
from tests.program import Program, elise_in, host, move_in
from tests.world import DAY, PORTAL, RENNES, Clock

pytestmark = [pytest.mark.proof, pytest.mark.sqlite]

NANTES: Final = PartyId("urn:fr:siret:21440109300015")
TYPE: Final = "address.changed"
ABOUT: Final = ("--sector", "commune", "--address", "2 rue X", "--contact", "c@nantes.example", "--retention", "2 ans")
AWAY: Final = range(8, 12)
"""The days on which nobody in Nantes asks."""
PAGES: Final = Path(__file__).parents[2] / "docs"


class Died(BaseException):
    """The process is no more, at a mark; what it had begun is gone."""


@dataclass
class Month:
    """The home, its clock, and what came to Nantes."""

    folder: Path
    unefois: Program
    clock: Clock
    opens: SealingKey
    token: str = ""
    heard: list[str] = field(default_factory=list)
    """Declarations that Nantes has applied, in order."""
    told: list[str] = field(default_factory=list)
    """Declarations that were accepted and concern Nantes."""
    used: set[str] = field(default_factory=set)

    def do(self, *words: object) -> dict[str, Any]:
        """A command, which succeeds; its answer."""
        self.used.add(_named(words))
        return self.unefois.told(*words)

    def ends(self, code: int, *words: object) -> str:
        """A command that ends with this code; what it prints."""
        self.used.add(_named(words))
        result = self.unefois.run(*words)
        assert code == result.exit_code, result.output
        return result.output

    def declare(self) -> str:
        """The source declares one move."""
        declared: str = self.do("declare", move_in(self.folder), "--type", TYPE, "--source", PORTAL)["declaration"]
        return declared

    def machine(self) -> None:
        """What a process does in a day, at its end."""
        self.do("run", "--once")

    def pull(self, token: str | None = None) -> None:
        """Nantes asks for what waits, opens it with its own key, and applies it."""
        asyncio.run(self._pull(token or self.token))

    async def _pull(self, token: str) -> None:
        async with open_home(load(home=self.unefois.home), self.clock) as home:
            transport = httpx2.ASGITransport(build(home))
            async with Client.open("http://localhost", token, transport=transport, clock=self.clock, tries=1) as client:
                directory = await client.directory()
                agency = Agency(NANTES, {self.opens.kid: self.opens}, directory, builtin())
                ends = Ends.open(self.folder / "nantes.ends")
                try:
                    async for delivery in client.deliveries(agency, ends, once=True):
                        await delivery.applied()
                        self.heard.append(str(delivery.facts.declaration_id.hex()))
                finally:
                    ends.close()

    def nights(self, days: int = 1) -> None:
        """Time passes."""
        self.clock.pass_(days * DAY)


def _named(words: tuple[object, ...]) -> str:
    """The command, without what it is given: of one or two words."""
    groups = {"party", "subscribe", "token", "epoch", "ledger", "audit", "webhook"}
    return " ".join(str(word) for word in words[: 2 if words[0] in groups and not str(words[1]).startswith("-") else 1])


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Month:
    kept, clock = unpacked(tmp_path), Clock()
    clock.now = kept.story["closed_at"] + DAY
    monkeypatch.setattr(opening, "time", SimpleNamespace(time_ns=lambda: clock.now * 1_000_000))
    monkeypatch.setenv("UNEFOIS_HOME", str(kept.home))
    monkeypatch.setenv("LANG", "C.UTF-8")
    opens = key_files.new("x25519")
    assert isinstance(opens, SealingKey)
    return Month(tmp_path, Program(kept.home), clock, opens)


def test_thirty_days(month: Month, monkeypatch: pytest.MonkeyPatch) -> None:
    elise = elise_in(month.folder)

    # 1: the upgrade. Nothing works before it, nothing is lost by it.
    assert "store.not-migrated" in month.ends(Exit.REFUSED, "top", "--once")
    month.do("migrate")
    month.do("fsck")
    assert month.do("ledger", "show")["origin"].endswith("/2")
    host(month.unefois, month.folder)
    (paused,) = [
        one
        for one in month.do("subscribe", "list")["subscriptions"]
        if one["recipient"] == RENNES and one["paused_at"] is not None
    ]
    month.do("subscribe", "resume", paused["id"])
    (dead,) = month.do("webhook", "list")["webhooks"]
    month.do("webhook", "end", dead["id"])  # its address is nobody's any more
    month.machine()

    # 2: a town with its own keys.
    month.nights()
    own = [word for key in (month.opens, key_files.new("ed25519")) for word in ("--key", key_files.public(key))]
    month.do("party", "add", NANTES, "--name", "Nantes", *ABOUT, *own)
    fields = [word for name in ("subject", "new_address", "effective_date") for word in ("--field", name)]
    asked = ("--recipient", NANTES, "--type", TYPE, "--purpose", "local-services", *fields)
    month.do("subscribe", *asked, "--legal-reference", "CGCT, art. L2121-29")
    grant = month.do("grant", "--person", elise, *asked)["grant"]["id"]
    month.do("grant", "--person", elise, "--recipient", RENNES, *asked[2:])
    first = month.do("token", "issue", NANTES, "--scope", "receive", "--scope", "read", "--days", "14")
    month.token = first["token"]

    # 3 to 14: work, and a town that is away for four days.
    for day in range(3, 15):
        month.nights()
        month.told.append(month.declare())
        month.machine()
        if day not in AWAY:
            month.pull()
        if day == AWAY[-1]:
            (late,) = [one for one in month.do("party", "behind")["behind"] if one["party"] == NANTES]
            assert (len(AWAY), "c@nantes.example") == (late["waiting"], late["contact"])
    assert [] == [one for one in month.do("party", "behind")["behind"] if one["party"] == NANTES and one["waiting"]]
    assert month.told == [_uuid(one) for one in month.heard]

    # 15: the token ends tomorrow, which is told; the next one is there before.
    month.nights()
    assert any(one["party"] == NANTES and one["what"] == "token" for one in month.do("top", "--once")["expiring"])
    month.token = month.do("token", "issue", NANTES, "--scope", "receive", "--scope", "read", "--days", "90")["token"]
    month.do("token", "revoke", first["id"])
    with pytest.raises(Refused) as refused:
        month.pull(first["token"])
    assert 401 == refused.value.details["status"]
    month.pull()

    # 16: a flood. The source is stopped, what it had handed in goes its way, and it may go on.
    month.nights()
    month.told += [month.declare() for _ in range(12)]
    month.do("party", "forbid", PORTAL, TYPE, "--yes")
    month.clock.pass_(1)  # the millisecond of its end is still its own
    assert "right" in month.ends(Exit.REFUSED, "declare", move_in(month.folder), "--type", TYPE, "--source", PORTAL)
    month.machine()
    month.pull()
    month.nights()
    month.do("party", "allow", PORTAL, TYPE)

    # 18: a process dies in the middle of its work; the next one goes on.
    month.told.append(month.declare())
    monkeypatch.setattr(crashpoints.os, "kill", _die)
    for mark in ("planner.delivery", "mailbox.handed-out", "gate.recorded"):
        monkeypatch.setattr(crashpoints, "_trap", crashpoints._Trap(mark))
        with suppress(Died):
            month.unefois.run("run", "--once")
    monkeypatch.setattr(crashpoints, "_trap", crashpoints._Trap(None))
    month.nights()
    month.machine()
    month.pull()
    assert month.told == [_uuid(one) for one in month.heard]

    # 20: a backup; then Élise takes her consent back, and the gate's key is renewed.
    month.nights()
    month.do("backup", month.folder / "monday")
    month.nights()
    month.do("revoke", grant)
    month.do("epoch", "rotate", "gate")
    month.do("party", "rotate", RENNES)
    month.do("run", "--once")

    # 22: the disk is lost with the days since. What was taken back stays so, under a ledger that says what is lost.
    month.nights()
    (month.unefois.home / "unefois.db").unlink()
    for more in ("-wal", "-shm"):
        (month.unefois.home / f"unefois.db{more}").unlink(missing_ok=True)
    month.ends(Exit.REFUSED, "restore", month.folder / "monday", "--yes")
    month.ends(Exit.FINDINGS, "restore", month.folder / "monday", "--yes", "--ledger-lost")
    month.do("ledger", "succeed", "--origin", "log.nantes.example/ledger-3")
    toml = month.unefois.home / "unefois.toml"
    kept = [line for line in (toml.read_text() if toml.exists() else "").splitlines() if "ledger_origin" not in line]
    toml.write_text("\n".join(['ledger_origin = "log.nantes.example/ledger-3"', *kept, ""]))
    month.do("fsck")
    states = {one["recipient"]: one["status"] for one in month.do("grants", "--person", elise)["grants"]}
    assert ("revoked", "active") == (states[NANTES], states[RENNES])

    # 23 to 30: work goes on; Nantes hears nothing more of her, Rennes does.
    before = _written(month.folder)
    for _ in range(23, 31):
        month.nights()
        month.declare()
        month.machine()
        month.pull()
    assert month.told == [_uuid(one) for one in month.heard]
    assert before + 8 == _written(month.folder)

    month.do("prune")
    month.do("fsck", "--full")
    month.do("audit", "verify")
    waiting = {one["party"] for one in month.do("party", "behind")["behind"] if one["waiting"]}
    assert not waiting & {NANTES, RENNES}  # nobody asks for the others here
    pages = "".join(path.read_text("utf-8") for path in PAGES.rglob("*.md"))
    assert set() == {each for each in month.used if f"unefois {each}" not in pages}


def _die(*_: object) -> None:
    raise Died


def _uuid(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _written(folder: Path) -> int:
    """Rows in the table of Rennes."""
    with closing(sqlite3.connect(folder / "town.db")) as database:
        return int(database.execute("SELECT count(*) FROM t").fetchone()[0])
