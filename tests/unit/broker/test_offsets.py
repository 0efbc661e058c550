"""A log that seems to end before what was read of it: waited for as long as a node may be wrong, and no longer."""

import pytest

from broker.flow.offsets import Behind
from schemas.errors import Corrupt


class Watch:
    """A clock that is moved by hand; seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_log_in_the_database_is_believed_at_once() -> None:
    with pytest.raises(Corrupt, match=r"log\.shorter"):
        Behind("declarations", 0).look({1: 39}, {0: 5, 1: 36})


def test_a_node_that_does_not_know_yet_that_another_leads_stops_nobody() -> None:
    watch = Watch()
    behind = Behind("declarations", 30, watch)
    assert behind.look({0: 5, 1: 39}, {0: 5, 1: 36})
    watch.now += 29
    assert behind.look({0: 5, 1: 39}, {1: 36})
    assert not behind.look({0: 5, 1: 39}, {0: 5, 1: 39})
    watch.now += 29
    assert behind.look({1: 39}, {1: 36})  # another time: its patience begins anew


def test_what_stays_behind_is_told_with_its_place() -> None:
    watch = Watch()
    behind = Behind("declarations", 30, watch)
    behind.look({1: 39}, {1: 36})
    watch.now += 30
    with pytest.raises(Corrupt) as told:
        behind.look({1: 39}, {1: 37})
    assert {"topic": "declarations", "partition": 1, "offset": 39, "end": 37} == told.value.details


def test_each_partition_has_its_own_patience_and_one_that_was_not_asked_keeps_it() -> None:
    watch = Watch()
    behind = Behind("declarations", 30, watch)
    behind.look({1: 39}, {1: 36})
    watch.now += 20
    assert behind.look({1: 39, 2: 7}, {2: 6})
    watch.now += 10
    with pytest.raises(Corrupt, match=r"log\.shorter") as told:
        behind.look({1: 39, 2: 7}, {1: 36, 2: 6})
    assert 1 == told.value.details["partition"]
