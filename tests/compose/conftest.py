"""The image and the compose file, run once for all tests of this folder; what they ran on stands in the last lines."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from tests.compose import stand_ins
from tests.compose.engine import room
from tests.compose.town import Town
from tests.services.absent import Absent

_TOLD: Final = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def town(request: pytest.FixtureRequest) -> Iterator[Town]:
    """Up from nothing, with a portal and a town enrolled. Each test finds it up, and leaves it so."""
    folder = Path(tempfile.mkdtemp(prefix="unefois-compose-"))
    try:
        if find_spec("podman_compose") is None:
            raise Absent("podman-compose is not here")
        with room(folder) as made:
            request.config.stash[_TOLD] = stand_ins.make(made)
            here = Town(made)
            here.write()
            here.up()
            here.enrol()
            yield here
    except Absent as absent:
        if "compose" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"compose is required: {absent}", pytrace=False)
        pytest.skip(f"compose: {absent}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what it ran on."""
    if _TOLD in config.stash:
        terminalreporter.write_line(config.stash[_TOLD])
