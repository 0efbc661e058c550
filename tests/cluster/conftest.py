"""Three Kafka nodes for all tests of this folder, whole again before each of them; `make test-cluster` runs it."""

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.services import three
from tests.services.absent import Absent
from tests.services.three import Three


@pytest.fixture(scope="session")
def nodes() -> Iterator[Three]:
    """Started once for the run; UNEFOIS_REQUIRE=kafka makes its absence a failure."""
    try:
        with three.running() as made:
            yield made
    except Absent as absent:
        if "kafka" in os.environ.get("UNEFOIS_REQUIRE", "").split(","):
            pytest.fail(f"kafka is required: {absent}", pytrace=False)
        pytest.skip(f"kafka: {absent}")


@pytest.fixture
def prefix() -> str:
    """Of the topics of one test."""
    return f"t{secrets.token_hex(6)}."
