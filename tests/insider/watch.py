"""The watch: whether an attack gave somebody something, and whether the house noticed, also after all was put back.

Refuses: to look at how a defence works. An alarm is a contradiction that the machine raises, or a line of the level
`error` or `critical`.
"""

import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, NoReturn, TypeVar

import pytest

from broker.setup.wiring import Home
from broker.transparency.audits import audit_folder
from broker.transparency.export import export
from connectors.contract import Pulled
from schemas.delivery import ReleasedDelivery, open_release
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.facts import FactKind
from schemas.hpke import SealingKey
from schemas.locked import manifest_of
from schemas.names import DeclarationId, PartyId
from tests.insider.hand import Hand
from tests.insider.open import OPEN, RELEASE, UNNOTICED, VALUE
from tests.world import World

T = TypeVar("T")


@dataclass
class Watch:
    """One attack on one world."""

    here: World
    hand: Hand
    said: StringIO
    gained: set[str] = field(default_factory=set)
    noticed: bool = False
    may: dict[tuple[PartyId, DeclarationId | None], frozenset[str]] = field(default_factory=dict)
    """Who is entitled to which fields of which declaration; None: of every one."""
    rightly: int = 0
    """Releases that were seen and hold nothing but that."""
    released_before: int = 0

    def allow(self, party: PartyId, declaration: DeclarationId | None, *fields: str) -> None:
        """This party is entitled to these fields of this declaration, or of every one."""
        self.may[party, declaration] = frozenset(fields)

    def restart(self) -> None:
        """Another process takes over: it remembers nothing, and reads all rows anew."""
        self.here = World(anew(self.here.home), self.here.clock, self.here.folder, self.here.subscriptions)

    async def lets(self, work: Awaitable[T]) -> T | None:
        """Let the machine work; what it refuses gives nothing, and a contradiction that it tells is noticed."""
        try:
            return await work
        except Corrupt:
            self.noticed = True
        except (Refused, Unavailable):
            pass
        return None

    async def takes(self, party: PartyId, key: SealingKey | None = None) -> None:
        """Let an administration pull, and open what it got, with its own key or with one that somebody slipped in."""
        pulled = await self.lets(self.here.inbox(party).pull(100))
        if pulled is not None:
            await self.reads(party, pulled, key)

    async def reads(self, party: PartyId, pulled: Pulled, key: SealingKey | None = None) -> None:
        """What a party holds after a pull."""
        if not pulled.locked:
            return
        own = [each for each in await self._keys_of(party) if key is None or each.kid != key.kid]
        if key is not None and _opens(pulled, key) is None:
            self.rightly += sum(len(_opens(pulled, each) or ()) for each in own)  # to who pulled, and to no thief
            return
        for kid in own if key is None else [key]:
            for one in _opens(pulled, kid) or ():
                manifest = manifest_of(one.locked.payload)
                names = self.here.home.catalogue.by_id(manifest.schema).names
                held = {names[each.index] for each, _ in zip(one.locked.fields, one.release.keys, strict=True)}
                if held <= self._may(party, manifest.declaration_id):
                    self.rightly += 1
                else:
                    self.gained.add(VALUE)

    def _may(self, party: PartyId, declaration: DeclarationId) -> frozenset[str]:
        nothing: frozenset[str] = frozenset()
        return self.may.get((party, declaration), nothing) | self.may.get((party, None), nothing)

    async def _keys_of(self, party: PartyId) -> list[SealingKey]:
        directory = await self.here.home.lookup.newest(self.here.home.store)
        return list(self.here.home.keyring.recipient(directory, party).values())

    async def begins(self) -> None:
        """From here on releases count."""
        self.released_before = await self.released()

    async def judge(self, attack: str, *, openly: bool = False) -> None:
        """The end of the attack: it gave nothing, or just what the table of open attacks says. `openly`: it was done by
        an operator, as the documentation says; what matters is that it gives nothing.
        """
        await self.lets(self.here.home.ledger.sequence_unfinished())
        if await self.released() > self.released_before + self.rightly:
            self.gained.add(RELEASE)
        if not (openly or self.noticed or self.alarmed() or await self.found()):
            self.gained.add(UNNOTICED)
        settle(attack, self.gained)

    def alarmed(self) -> bool:
        """Whether a line was said that wakes somebody."""
        lines = [json.loads(line) for line in self.said.getvalue().splitlines()]
        return any(line["level"] in {"error", "critical"} for line in lines)

    async def found(self) -> bool:
        """Whether fsck, or anybody who audits what is published, finds something."""
        findings: list[Any] | None = await self.lets(self.here.home.fsck.check())
        if findings is None or findings:
            return True
        folder, key = self.here.folder / "published", self.here.home.ledger.verifier_key
        if await self.lets(export(self.here.home.store, key, folder)) is None:
            return True
        return bool(audit_folder(folder, key).findings)

    async def released(self) -> int:
        try:
            return len(await self.here.entries(FactKind.RELEASED))
        except (Refused, Corrupt):  # an entry that somebody has changed
            return 0


def _opens(pulled: Pulled, key: SealingKey) -> list[ReleasedDelivery] | None:
    try:
        return list(open_release(pulled.locked, pulled.key_release, key))
    except Refused:
        return None


def anew(home: Home) -> Home:
    """The same home in another process."""
    return Home(
        home.settings,
        store=home.store,
        log=home.log,
        keys=home.keys,
        endings=home.endings,
        clock=home.clock,
        entropy=home.entropy,
    )


def settle(attack: str, gained: set[str]) -> None:
    """An attack gives what the table says: nothing, or it is open. What was mended has to leave the table."""
    told = OPEN.get(attack, frozenset())
    if told != gained:
        _fail(attack, told, gained)
    if gained:
        pytest.xfail(f"{attack}: {', '.join(sorted(gained))}")


def _fail(attack: str, told: frozenset[str], gained: set[str]) -> NoReturn:
    pytest.fail(f"{attack}: gave {sorted(gained)}; tests/insider/open.py says {sorted(told)}", pytrace=False)
