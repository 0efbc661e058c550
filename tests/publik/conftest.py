"""The double on a port of its own, and an agency before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publik.desk import Desk, new_site
from tests.publik.server import serving


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving(new_site()) as served:
        yield Desk(served, tmp_path)
