"""The room of the foreign clients: one for a run, and what it says at the end."""

import pytest

from tests.agency.foreign.clients import Room

_ROOM = pytest.StashKey[Room]()


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Room:
    """Where the foreign programs are built."""
    made = Room(tmp_path_factory.mktemp("foreign"))
    request.config.stash[_ROOM] = made
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Who of them has run."""
    if (room := config.stash.get(_ROOM, None)) is not None:
        for line in room.closing():
            terminalreporter.write_line(line, yellow=bool(room.missing))
