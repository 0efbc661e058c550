"""The home of version 1: made once, kept in tests/fixtures/home_v1, opened here by the code of today.

Keeps: each caller has a copy of its own, brought to the tables of today; the archive itself is never written.
"""

import io
import json
import lzma
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.settings.choices import load
from broker.setup.opening import open_home
from broker.setup.upgrading import upgrade_home
from schemas.names import Instant
from tests.world import MINUTE, Clock, Entropy, World

FIXTURE: Final = Path(__file__).parent / "fixtures" / "home_v1"


@dataclass(frozen=True)
class Kept:
    """A copy of the archive: `folder` holds home, receipts, held, log, vkey, checkpoint-early; README.md says what."""

    folder: Path
    story: Mapping[str, Any]

    @property
    def home(self) -> Path:
        """What `--home` takes."""
        return self.folder / "home"

    def receipts(self, form: str) -> list[Mapping[str, Any]]:
        """Those of this form, as the story tells of them: proof, consent, intake."""
        return [one for one in self.story["receipts"] if one["form"] == form]

    def read(self, file: str) -> bytes:
        """One of the files beside the home."""
        return (self.folder / file).read_bytes()


def unpacked(folder: Path) -> Kept:
    """A copy in a folder. Modes come with it: the key store refuses folders that others could read."""
    raw = lzma.decompress((FIXTURE / "home.tar.xz").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        archive.extractall(folder, filter="tar")
    return copied(folder)


def copied(folder: Path) -> Kept:
    """The copy that was unpacked there."""
    return Kept(folder, json.loads((FIXTURE / "story.json").read_text("utf-8")))


@asynccontextmanager
async def reopened(kept: Kept) -> AsyncIterator[World]:
    """The home, upgraded where today's tables are others, a minute after it was closed."""
    clock = Clock()
    clock.now = Instant(kept.story["closed_at"] + MINUTE)
    settings = load(home=kept.home)
    await upgrade_home(settings, clock, Entropy(b"carry"))
    async with open_home(settings, clock, Entropy(b"again")) as home:
        yield World(home, clock, kept.folder)
