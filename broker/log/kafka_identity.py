"""Identity: is this still the Kafka cluster that our offsets belong to?

Refuses: to go on where another cluster answers at the same address, with a topic of the same name: its offsets mean
other records, and what is acknowledged there nobody would read.
Keeps: asked whenever a client has got a new connection, after what came over it and before anybody acts on that; a
connection that lives leads to the node to which it led. Not asked twice of the same connections: it costs nothing
while nothing breaks.
"""

from typing import Any
from weakref import WeakKeyDictionary

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import Corrupt


class Identity:
    """Of one process's log: the id that is expected, or else the first that was met."""

    def __init__(self) -> None:
        self._expected: str | None = None
        self._known: WeakKeyDictionary[AIOKafkaClient, tuple[Any, ...]] = WeakKeyDictionary()

    def expect(self, cluster: str | None) -> None:
        """The id that the home's database remembers; None for one that has none yet."""
        if cluster is not None:
            self._expected = cluster

    async def check(self, client: AIOKafkaClient) -> None:
        """Before what came over this client counts. Raises Corrupt `log.other-cluster`; raises KafkaError."""
        if self._known.get(client) == tuple(client._conns.values()):
            return
        node = client.get_random_node()
        if node is None:
            raise NodeNotReadyError
        met = (await client.send(node, MetadataRequest([]))).cluster_id
        self.expect(self._expected or met)
        if met != self._expected:
            raise Corrupt("log.other-cluster")
        self._known[client] = tuple(client._conns.values())
