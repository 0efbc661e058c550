"""Identity: is this still the Kafka cluster that our offsets belong to?

Refuses: to go on where another cluster answers at the same address, with a topic of the same name: its offsets mean
other records, and what is acknowledged there nobody would read.
Keeps: each connection of a guarded client is asked once, before anything else is asked over it: so nothing comes from
another cluster, not even over a connection that is closed again before anybody looks; a connection that lives leads to
the node to which it led. So it costs nothing while nothing breaks. The client's knowledge of nodes and leaders
(metadata) alone may come from elsewhere: what is then asked of those nodes goes over their own connections.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakSet

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import IncompatibleBrokerVersion, RequestTimedOutError
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import Corrupt

_USUAL: Final = ConnectionGroup.DEFAULT


class _Another(IncompatibleBrokerVersion):  # type: ignore[misc]
    """Of this family because it is the only one that no part of the client tries again for ever."""


class Identity:
    """Of one process's log: the id that is expected, or else the first that was met."""

    def __init__(self) -> None:
        self.expected: str | None = None
        """Its id, once anybody has said it."""
        self._known: WeakSet[AIOKafkaConnection] = WeakSet()
        self._met_another = False

    def expect(self, cluster: str | None) -> None:
        """The id that the home's database remembers; None for one that has none yet."""
        if cluster is not None:
            self.expected = cluster

    def guard(self, client: AIOKafkaClient) -> None:
        """Before the client is started: from then on its connections are asked before they are used.

        `ready` is what the client calls before each request but those for metadata; it raises KafkaError.
        """

        async def ready(node: Any, *, group: Any = _USUAL) -> bool:
            # Until it is one that we know: while we asked, somebody else may have put another in its place.
            while (connection := await client._get_conn(node, group=group)) is not None:
                if connection in self._known:
                    return True
                await self._ask(connection)
            return False

        client.ready = ready

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Corrupt `log.other-cluster`, whatever else is wrong in the block, where another cluster was met."""
        try:
            yield
        except Exception:
            self.check()
            raise
        self.check()

    def check(self) -> None:
        """Raises Corrupt `log.other-cluster` where another cluster was met since the last call."""
        met, self._met_another = self._met_another, False
        if met:
            raise Corrupt("log.other-cluster")

    async def _ask(self, connection: AIOKafkaConnection) -> None:
        try:
            met = (await connection.send(MetadataRequest([]))).cluster_id
        except TimeoutError:
            connection.close()
            raise RequestTimedOutError from None
        self.expect(self.expected or met)
        if met != self.expected:
            self._met_another = True
            connection.close()  # the next one may lead home again
            raise _Another
        self._known.add(connection)
