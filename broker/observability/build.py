"""Build: which program this is: its version, its commit, its Python, and what it runs on.

Refuses: to start git: a machine that serves has none.
Keeps: a wheel tells the commit that it was built from (`hatch_build.py` writes it into the package); a checkout tells
the commit that it stands on, whatever was changed since; anything else says "unknown".
"""

import platform
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

UNKNOWN: Final = "unknown"
BAKED: Final = Path(__file__).parents[1] / "commit.txt"
"""Beside the package's modules, in a wheel."""
CHECKOUT: Final = Path(__file__).parents[2]
DISTRIBUTION: Final = "unefois"

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Build:
    """`commit`: 40 or 64 hexadecimal digits, or "unknown"."""

    version: str
    commit: str
    python: str
    system: str
    """What it runs on: the kernel, its release, the machine's kind; not its name."""

    @property
    def text(self) -> str:
        """As `unefois --version` prints it."""
        return f"{DISTRIBUTION} {self.version} ({self.commit})"


def this_build() -> Build:
    """Of the program that runs."""
    try:
        told = version(DISTRIBUTION)
    except PackageNotFoundError:
        told = UNKNOWN
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Build(told, commit_of(BAKED, CHECKOUT), platform.python_version(), system)


def commit_of(baked: Path, checkout: Path) -> str:
    """The commit in a file, else the one that a checkout stands on, else "unknown"."""
    return _commit(baked) or _head(checkout / ".git") or UNKNOWN


def _head(git: Path) -> str | None:
    """What HEAD points at. `.git` is a folder, or in a worktree a file that names one (gitrepository-layout)."""
    if git.is_file():
        named = _line(git).removeprefix("gitdir: ")
        git = git.parent / named
    head = _line(git / "HEAD")
    if not head.startswith("ref: "):
        return head if _COMMIT.fullmatch(head) else None
    name, shared = head.removeprefix("ref: "), git / (_line(git / "commondir") or ".")
    return _commit(git / name) or _commit(shared / name) or _packed(shared / "packed-refs", name)


def _packed(path: Path, name: str) -> str | None:
    for line in _text(path).splitlines():
        commit, _, told = line.partition(" ")
        if told == name and _COMMIT.fullmatch(commit):
            return commit
    return None


def _commit(path: Path) -> str | None:
    told = _line(path)
    return told if _COMMIT.fullmatch(told) else None


def _line(path: Path) -> str:
    return _text(path).partition("\n")[0].strip()


def _text(path: Path) -> str:
    """ "" where there is no such file, or it is none of ours to read."""
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return ""
