"""Last: when something was done last, and how it ended, for whoever asks later: a check, a backup.

Refuses: an id or a place: how many findings a check had, by the name of the check, is all that is told.
Keeps: a note is a convenience. One that cannot be written or read stops nothing, and proves nothing: whoever writes
into the folder writes it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from schemas.names import Instant

CHECK: Final = "last-fsck"
BACKUP: Final = "last-backup"
"""Their files, in the folder of the journal of endings, which no backup puts back."""
NOTE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class LastCheck:
    """`unefois fsck`. `full`: everything was opened anew; `findings`: how many, by the name of the check."""

    at: Instant
    full: bool
    findings: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LastBackup:
    """`unefois backup`. `size`: how many entries its newest checkpoint covers."""

    at: Instant
    size: int


def note_check(folder: Path, at: Instant, checks: Iterable[str], *, full: bool) -> None:
    """Note a check that has ended; `checks`: the name of each finding's."""
    _write(folder / CHECK, asdict(LastCheck(at, full, dict(sorted(Counter(checks).items())))))


def note_backup(folder: Path, at: Instant, size: int) -> None:
    """Note a backup that is whole."""
    _write(folder / BACKUP, asdict(LastBackup(at, size)))


def last_check(folder: Path) -> LastCheck | None:
    """None: there is no note that can be read."""
    told = _read(folder / CHECK)
    try:
        findings = {str(name): int(count) for name, count in told["findings"].items()}
        return LastCheck(Instant(told["at"]), bool(told["full"]), findings)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def last_backup(folder: Path) -> LastBackup | None:
    """None: there is no note that can be read."""
    told = _read(folder / BACKUP)
    try:
        return LastBackup(Instant(told["at"]), int(told["size"]))
    except (KeyError, TypeError, ValueError):
        return None


def _write(path: Path, told: Mapping[str, Any]) -> None:
    """Crash before the rename: the note before, and an unfinished file that the next one writes over."""
    unfinished = path.with_suffix(".unfinished")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(told) + "\n", "utf-8")
        unfinished.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(NOTE_BYTES))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
