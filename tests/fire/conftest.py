"""What the trials by fire share: a quick folder, servers of their own, and the count of who was killed."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fire.alive import pytest_runtest_call, pytest_runtest_setup

__all__ = ["pytest_runtest_call", "pytest_runtest_setup"]

KILLS: pytest.StashKey[Counter[str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> Counter[str]:
    """How many processes were killed so far, by where they were."""
    return request.config.stash.setdefault(KILLS, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say it at the end."""
    counted = config.stash.get(KILLS, Counter())
    if counted:
        terminalreporter.write_sep("=", f"{counted.total()} processes killed with kill -9")
        for point, count in counted.most_common():
            terminalreporter.write_line(f"{count:6}  {point}")


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process keeps what it wrote there, and no disk is waited for."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="unefois-fire-", dir=memory if os.access(memory, os.W_OK) else None)
    os.chmod(folder, 0o711)  # a server that runs as somebody else keeps its data below
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def needs_postgres(postgres: object) -> None:
    """Where the shared server can be had, one of a test's own can."""
