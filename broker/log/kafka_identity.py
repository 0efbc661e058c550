"""Identity: is this still the Kafka cluster that our offsets belong to?

Refuses: to go on where another cluster answers at the same address, with a topic of the same name: its offsets mean
other records, and what is acknowledged there nobody would read.
Keeps: asked of each connection of a client once, after what came over it and before anybody acts on that; a connection
that lives leads to the node to which it led. So it costs nothing while nothing breaks.
"""

from weakref import WeakSet

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import Corrupt


class Identity:
    """Of one process's log: the id that is expected, or else the first that was met."""

    def __init__(self) -> None:
        self._expected: str | None = None
        self._known: WeakSet[AIOKafkaConnection] = WeakSet()

    def expect(self, cluster: str | None) -> None:
        """The id that the home's database remembers; None for one that has none yet."""
        if cluster is not None:
            self._expected = cluster

    async def check(self, client: AIOKafkaClient) -> None:
        """Before what came over this client counts. Raises Corrupt `log.other-cluster`; raises KafkaError."""
        living = [one for one in client._conns.values() if one.connected()]
        if not living:
            raise NodeNotReadyError  # it came over one that is gone: nobody can say any more from where
        for one in living:
            if one not in self._known:
                await self._ask(one)
                self._known.add(one)

    async def _ask(self, connection: AIOKafkaConnection) -> None:
        met = (await connection.send(MetadataRequest([]))).cluster_id
        self.expect(self._expected or met)
        if met != self._expected:
            raise Corrupt("log.other-cluster")
