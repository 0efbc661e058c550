"""Real servers for the connectors: Debian's own. Without one the tests are skipped; UNEFOIS_REQUIRE forbids that."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.absent import Absent
from tests.systems import sshd as openssh
from tests.systems.sshd import Sshd


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """An OpenSSH server of this test's."""
    (tmp_path / "ssh").mkdir()
    try:
        running = openssh.running(tmp_path / "ssh")
        made = running.__enter__()
    except Absent as absent:
        if "openssh" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"openssh is required: {absent}", pytrace=False)
        pytest.skip(f"openssh: {absent}")
    try:
        yield made
    finally:
        running.__exit__(None, None, None)
