"""Row checks: every row that grants power has the broker's seal. One without counts for nothing: somebody lost a right,
or somebody tried to take one; the other checks say whether the ledger knows of it.
"""

from collections.abc import AsyncIterator

from sqlalchemy import select

from broker.checks.finding import Finding
from broker.rows.layouts import LAYOUTS, written_key
from broker.rows.seals import RowVerifier
from broker.store.engine import Transaction
from broker.webhooks.endpoints import Status
from consent.tables import metadata


async def check(tx: Transaction, verifier: RowVerifier) -> AsyncIterator[Finding]:
    """Every row of every table of `layouts`. A webhook that ended has lost its seal with its end."""
    for name in LAYOUTS:
        for row in await tx.execute(select(metadata.tables[name])):
            if name == "webhooks" and row.status == Status.ENDED.value and row.seal is None:
                continue
            if not verifier.holds(name, row._mapping):
                place = f"{name}/{written_key(name, row._mapping)}"
                yield Finding(
                    "rows.unsigned", place, "the broker did not sign this row as it is: it counts for nothing"
                )
