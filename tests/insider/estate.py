"""An estate: a home on disk with its keys, whose database is kept, put back, or replaced by a replica that lags.

On SQLite a backup is a copy of the file, put back into its place as `docs/operate.md` says. On PostgreSQL it is another
database that was made of the first one at that moment: a replica that hears nothing more, and is promoted.
"""

import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from sqlalchemy import make_url

from broker.settings.choices import Settings
from broker.setup.bootstrap import create_home
from broker.setup.opening import open_home
from consent.policy import Subscription
from schemas.errors import Corrupt, Refused, Unavailable
from schemas.names import EventType, PartyId
from tests.insider.hand import Hand
from tests.insider.watch import Watch
from tests.services.databases import Databases
from tests.world import Clock, World, populate, settings

HOUR = 3_600_000


def file_of(settings: Settings) -> Path:
    """Where its database is, on SQLite."""
    return Path(str(make_url(settings.database_url).database))


@dataclass
class Estate:
    """One home, opened anew for each thing that happens in it; nobody is connected in between."""

    folder: Path
    said: StringIO
    server: Databases | None = None
    url: str | None = None
    clock: Clock = field(default_factory=Clock)
    subscriptions: dict[tuple[PartyId, EventType], Subscription] = field(default_factory=dict)
    replicas: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """Where the home is now."""
        return settings(self.folder, **({} if self.url is None else {"database_url": self.url}))

    async def found(self) -> None:
        """Make it, with the usual cast."""
        await create_home(self.settings, self.clock)
        async with self.open() as here:
            await populate(here)
            await here.step()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """As every command does. Raises as `open_home`."""
        async with open_home(self.settings, self.clock) as home:
            yield World(home, self.clock, self.folder, self.subscriptions)

    async def keep(self) -> Path | str:
        """A backup, or a replica, of this moment."""
        if self.server is None:
            copy = self.folder / f"kept-{secrets.token_hex(4)}.db"
            with closing(sqlite3.connect(self._file)) as live, closing(sqlite3.connect(copy)) as kept:
                live.backup(kept)
            return copy
        name = await self.server._made((self.url or "").rpartition("/")[2])
        self.replicas.append(name)
        return name

    async def go_back(self, kept: Path | str) -> None:
        """Put it into the place of the database; an hour has passed."""
        self.clock.pass_(HOUR)
        if isinstance(kept, str) and self.server is not None:
            self.url = self.server.url(kept)
            return
        for beside in ("-wal", "-shm"):
            self._file.with_name(self._file.name + beside).unlink(missing_ok=True)
        shutil.copyfile(kept, self._file)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watch | None]:
        """Whoever opens it now; None where nobody can: then nothing is given."""
        hand = Hand.on(self.settings.database_url)
        async with AsyncExitStack() as opened:
            opened.push_async_callback(hand.engine.dispose)
            try:
                here = await opened.enter_async_context(self.open())
            except (Refused, Unavailable, Corrupt):
                yield None
                return
            watch = Watch(here, hand, self.said)
            await watch.begins()
            yield watch

    async def clear(self) -> None:
        """Nothing of it stays on the server."""
        for name in self.replicas:
            if self.server is not None:
                await self.server._dropped(name)

    @property
    def _file(self) -> Path:
        return file_of(self.settings)
