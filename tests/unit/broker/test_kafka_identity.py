"""Which cluster answers is asked for each new connection, and whoever is another is told apart before it counts."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from broker.log.kafka_identity import Identity
from schemas.errors import Corrupt

pytestmark = pytest.mark.asyncio


class Client:
    """Of a cluster with this id."""

    def __init__(self, cluster: str) -> None:
        self.cluster_id = cluster
        self.asked = 0
        self._conns: dict[Any, object] = {"a": object()}

    def get_random_node(self) -> int | None:
        return 1 if self._conns else None

    async def send(self, _: int, __: object) -> SimpleNamespace:
        self.asked += 1
        return SimpleNamespace(cluster_id=self.cluster_id)


async def refused(identity: Identity, client: Any) -> str:
    with pytest.raises(Corrupt) as raised:
        await identity.check(client)
    return raised.value.code


async def test_the_first_that_is_met_is_expected_from_then_on() -> None:
    identity, ours, theirs = Identity(), Client("one"), Client("two")
    await identity.check(ours)  # type: ignore[arg-type]

    assert "log.other-cluster" == await refused(identity, theirs)


async def test_what_the_database_remembers_counts_before_anybody_is_met() -> None:
    identity = Identity()
    identity.expect("one")
    identity.expect(None)

    assert "log.other-cluster" == await refused(identity, Client("two"))


async def test_it_is_asked_once_for_the_same_connections_and_again_for_a_new_one() -> None:
    identity, client = Identity(), Client("one")
    for _ in range(3):
        await identity.check(client)  # type: ignore[arg-type]
    assert 1 == client.asked

    client._conns["a"], client.cluster_id = object(), "two"

    assert "log.other-cluster" == await refused(identity, client)
    assert "log.other-cluster" == await refused(identity, client), "a refused one was taken for known"


async def test_who_knows_no_node_cannot_be_asked() -> None:
    client = Client("one")
    client._conns.clear()
    with pytest.raises(NodeNotReadyError):
        await Identity().check(client)  # type: ignore[arg-type]
