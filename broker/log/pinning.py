"""Pinning: which log a home has: the Kafka cluster that its offsets belong to, once it has one.

Refuses: the log in the database, once the home's log lives on Kafka: what was appended there nobody would read.
Keeps: written once, at the first start on Kafka or by the move, and never changed.
"""

from typing import Final

from sqlalchemy import select

from broker.ports import Log
from broker.store.engine import Store, Transaction
from broker.store.tables import meta
from schemas.errors import Refused

CLUSTER: Final = "kafka-cluster"


PINNED: Final = select(meta.c.value).where(meta.c.name == CLUSTER)
"""The id of the home's Kafka cluster; no row for a home that never had one."""


async def pinned(tx: Transaction) -> str | None:
    """The id of the home's Kafka cluster; None for a home that never had one."""
    found: str | None = (await tx.execute(PINNED)).scalar()
    return found


async def check(store: Store, log: Log) -> None:
    """Raises Refused `log.moved`. Raises Unavailable.

    Whether it is the right cluster is asked where a process begins, and whenever it has to connect anew.
    """
    async with store.read() as tx:
        cluster = await pinned(tx)
    if log.for_others:
        log.expect(cluster)
    elif cluster is not None:
        raise Refused("log.moved", "/log")
