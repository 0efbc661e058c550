"""Disks: how full those are that a home lies on.

Refuses: nothing; a folder that is not there is not told.
Keeps: a folder is named by its setting, not by its path.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from broker.settings.choices import Settings

FOLDERS: Final = ("home", "keys_folder", "endings_folder")
"""The settings that name a folder that is written to."""


class Usage(NamedTuple):
    """As `shutil.disk_usage` tells it, in bytes."""

    total: int
    used: int
    free: int


Look = Callable[[Path], tuple[int, int, int]]


def disks(settings: Settings, look: Look | None = None) -> Mapping[str, Usage]:
    """The disk of each folder, by the setting that names it. `look`: total, used and free bytes of the disk that a path
    is on; by default the machine's word.
    """
    found = {}
    for name in FOLDERS:
        try:
            found[name] = Usage(*(look or shutil.disk_usage)(getattr(settings, name)))
        except OSError:
            continue
    return found
