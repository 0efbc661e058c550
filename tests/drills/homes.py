"""A home on disk, opened and closed as an operator's processes do it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.services.restoring import Restored, restore
from broker.services.succeeding import Succeeded, succeed
from broker.settings.choices import Settings
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home, open_unchecked
from schemas.hpke import Suite
from tests.world import Clock, World, populate, settings


@dataclass
class Place:
    """Where a home is: its folder, its clock, and what it was told in the settings."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return settings(self.folder, hpke_suite=Suite.X25519, **self.more)

    async def found(self) -> None:
        """A new home with the cast."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        await create_home(self.settings, self.clock)
        async with self.opened() as here:
            await populate(here)
            await here.step()

    @asynccontextmanager
    async def opened(self, *, checked: bool = True) -> AsyncIterator[World]:
        """One process of it."""
        async with (open_home if checked else open_unchecked)(self.settings, self.clock) as home:
            here = World(home, self.clock, self.folder)
            async with home.store.read() as tx:
                for one in (await home.lookup.subscriptions_by_id(tx)).values():
                    here.subscriptions[one.recipient, one.event_type] = one
            yield here

    def keep_keys(self, name: str) -> None:
        """A copy of the keys, in another place."""
        shutil.copytree(self.settings.keys_folder, self.folder.parent / name)

    def put_keys_back(self, name: str) -> None:
        """The keys as they were then."""
        shutil.rmtree(self.settings.keys_folder)
        shutil.copytree(self.folder.parent / name, self.settings.keys_folder)

    async def succeed(self, origin: str) -> Succeeded:
        """What `unefois ledger succeed` does, and the name written into the settings."""
        done = await succeed(self.settings.model_copy(update={"ledger_origin": origin}), clock=self.clock)
        self.more["ledger_origin"] = origin
        return done

    async def restore(self, folder: Path, **how: Any) -> Restored:
        """What `unefois restore` does."""
        return await restore(self.settings, folder, clock=self.clock, **how)
