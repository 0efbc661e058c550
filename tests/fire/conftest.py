"""What the trials by fire share: a quick folder, servers of their own, and the count of who was killed."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.fire.alive import pytest_runtest_call, pytest_runtest_setup

__all__ = ["pytest_runtest_call", "pytest_runtest_setup"]

LONGEST = ("test_race", "test_kills", "test_topics_fail", "test_postgres_fails")
"""Begin with these, so that nobody waits at the end for the last of them."""
KILLED = "killed"
"""The property of a test's report, which comes from whichever process ran it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; those that need the three nodes all by the same worker, which starts them once."""
    here = Path(__file__).parent
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        if item.path.parent == here and "nodes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("nodes"))


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> Counter[str]:
    """How many processes a test has killed, by where they were."""
    counted = Counter[str]()
    request.node.user_properties.append((KILLED, counted))
    return counted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What goes from one process to another is a plain dictionary."""
    report = yield
    told = [(name, dict(it) if isinstance(it, Counter) else it) for name, it in item.user_properties]
    report.user_properties = told
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it at the end."""
    counted = Counter[str]()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if report.when == "call":
                for name, told in report.user_properties:
                    counted.update(told if name == KILLED else {})
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
