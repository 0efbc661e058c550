"""Citizen checks: sessions, identifiers of providers and codes are as the broker wrote them: a row that was slipped in
or edited would let somebody in as another, or more surely than they were known.
"""

from collections.abc import AsyncIterator

from sqlalchemy import select

from broker.maintenance.checks.finding import Finding
from broker.maintenance.checks.snapshot import Snapshot
from broker.store.citizen_tables import citizen_accounts, citizen_codes, citizen_sessions
from broker.store.rows.macs import RowMacs

_PAGE = 1000
_WRONG = "the broker did not write this row as it is"


async def check(tx: Snapshot, macs: RowMacs) -> AsyncIterator[Finding]:
    """Each row's MAC."""
    for row in await tx.rows(citizen_sessions):
        if not macs.holds(citizen_sessions.name, row._mapping):
            yield Finding("sessions.mac", f"citizen_sessions/{bytes(row.id).hex()}", _WRONG)
    async for page in tx.pages(select(citizen_accounts), _PAGE):
        for row in page:
            if not macs.holds(citizen_accounts.name, row._mapping):
                yield Finding("accounts.mac", f"citizen_accounts/{bytes(row.alias).hex()}", _WRONG)
    for row in await tx.rows(citizen_codes):
        if not macs.holds(citizen_codes.name, row._mapping):
            yield Finding("codes.mac", f"citizen_codes/{bytes(row.locator).hex()}", _WRONG)
