"""Whose cluster it is is asked over each connection before anything else, and whoever is another gets no question."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError, RequestTimedOutError

from broker.log.kafka_identity import Identity
from schemas.errors import Corrupt, Unavailable

pytestmark = pytest.mark.asyncio


class Connection:
    """To a node of a cluster with this id; None: one that does not answer."""

    def __init__(self, cluster: str | None, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.cluster_id = cluster
        self.meanwhile = meanwhile
        self.asked = 0
        self.closed = False

    def close(self) -> None:
        self.closed = True

    async def send(self, _: object) -> SimpleNamespace:
        self.asked += 1
        self.meanwhile()
        if self.cluster_id is None:
            raise TimeoutError
        return SimpleNamespace(cluster_id=self.cluster_id)


class Client:
    """A client that has these, by node."""

    ready: Any

    def __init__(self, *connections: Connection) -> None:
        self.connections = dict(enumerate(connections))

    async def _get_conn(self, node: int, *, group: object) -> Connection | None:
        return self.connections.get(node)


def guarded(identity: Identity, *connections: Connection) -> Client:
    client = Client(*connections)
    identity.guard(client)
    return client


async def refused(identity: Identity, connection: Connection) -> str:
    client = guarded(identity, connection)
    with pytest.raises(Corrupt) as raised, identity.watched():
        await client.ready(0)
    return raised.value.code


async def test_the_first_that_is_met_is_expected_from_then_on() -> None:
    identity = Identity()
    assert await guarded(identity, Connection("one")).ready(0)

    assert "log.other-cluster" == await refused(identity, Connection("two"))


async def test_what_the_database_remembers_counts_before_anybody_is_met() -> None:
    identity = Identity()
    identity.expect("one")
    identity.expect(None)

    assert "log.other-cluster" == await refused(identity, Connection("two"))


async def test_each_connection_is_asked_once_and_a_new_one_again() -> None:
    identity, first, second = Identity(), Connection("one"), Connection("one")
    client = guarded(identity, first, second)
    for _ in range(3):
        assert [True, True, False] == [await client.ready(node) for node in range(3)]
    assert (1, 1) == (first.asked, second.asked)

    client.connections[1] = other = Connection("two")
    for _ in range(2):
        with pytest.raises(KafkaError):
            await client.ready(1)
    assert (2, True) == (other.asked, other.closed), "a refused one was taken for known, or kept"


async def test_another_that_was_met_is_told_though_its_connection_is_gone_and_ours_live() -> None:
    """A client fetches ahead: long before anybody looks at what came, and who sent it may have left."""
    identity, ours = Identity(), Connection("one")
    client = guarded(identity, ours, Connection("two"))
    assert await client.ready(0)
    with pytest.raises(KafkaError):
        await client.ready(1)
    client.connections[1] = Connection("one")
    assert await client.ready(1)

    with pytest.raises(Corrupt, match=r"log\.other-cluster"), identity.watched():
        pass
    with identity.watched():
        assert await client.ready(0)


async def test_it_is_told_rather_than_what_followed_from_it() -> None:
    identity = Identity()
    identity.expect("one")
    with pytest.raises(KafkaError):
        await guarded(identity, Connection("two")).ready(0)

    with pytest.raises(Corrupt, match=r"log\.other-cluster"), identity.watched():
        raise Unavailable("kafka.timeout")
    with pytest.raises(Unavailable), identity.watched():
        raise Unavailable("kafka.timeout")


async def test_one_that_took_the_place_of_another_meanwhile_is_asked_too() -> None:
    identity = Identity()
    identity.expect("one")
    client = guarded(identity)
    client.connections[0] = Connection("one", lambda: client.connections.update({0: Connection("two")}))

    with pytest.raises(KafkaError):
        await client.ready(0)


async def test_one_that_does_not_say_is_left_and_asked_for_again() -> None:
    identity, silent = Identity(), Connection(None)
    client = guarded(identity, silent)

    with pytest.raises(RequestTimedOutError):
        await client.ready(0)
    assert silent.closed
    identity.check()
