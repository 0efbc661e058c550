"""Which cluster answers is asked for each new connection, and whoever is another is told apart before it counts."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from broker.log.kafka_identity import Identity
from schemas.errors import Corrupt

pytestmark = pytest.mark.asyncio


class Connection:
    """To a node of a cluster with this id."""

    def __init__(self, cluster: str) -> None:
        self.cluster_id = cluster
        self.asked = 0
        self.lives = True

    def connected(self) -> bool:
        return self.lives

    async def send(self, _: object) -> SimpleNamespace:
        self.asked += 1
        return SimpleNamespace(cluster_id=self.cluster_id)


def client(*connections: Connection) -> Any:
    """A client that has these."""
    return SimpleNamespace(_conns=dict(enumerate(connections)))


async def refused(identity: Identity, client: Any) -> str:
    with pytest.raises(Corrupt) as raised:
        await identity.check(client)
    return raised.value.code


async def test_the_first_that_is_met_is_expected_from_then_on() -> None:
    identity = Identity()
    await identity.check(client(Connection("one")))

    assert "log.other-cluster" == await refused(identity, client(Connection("two")))


async def test_what_the_database_remembers_counts_before_anybody_is_met() -> None:
    identity = Identity()
    identity.expect("one")
    identity.expect(None)

    assert "log.other-cluster" == await refused(identity, client(Connection("two")))


async def test_each_connection_is_asked_once_and_a_new_one_again() -> None:
    identity, first, second = Identity(), Connection("one"), Connection("one")
    for _ in range(3):
        await identity.check(client(first, second))
    assert (1, 1) == (first.asked, second.asked)

    other = client(first, Connection("two"))

    assert "log.other-cluster" == await refused(identity, other)
    assert "log.other-cluster" == await refused(identity, other), "a refused one was taken for known"


async def test_what_came_over_a_connection_that_is_gone_does_not_count() -> None:
    gone = Connection("one")
    gone.lives = False
    for nobody in (client(), client(gone)):
        with pytest.raises(NodeNotReadyError):
            await Identity().check(nobody)
