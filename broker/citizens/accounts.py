"""Accounts: whose an identifier of a provider is, for every provider, client and level.

    issuer, client, sub ──HMAC──► alias ──► the reference of the person     found by pivot the first time

Refuses: nothing.
Keeps: a person is one account here, however many identifiers FranceConnect gives them (one for each client, another one
at FranceConnect+): the reference of their facts of today. What else is theirs, by a link, every service asks anew
(`broker.directory.kin`): so a link that ends parts two accounts at once, in a session that goes on, too. Where an alias
was known with facts that nobody has joined with today's, today's count: two references become one citizen's by a link,
slowly and in sight (docs/adr/0051), and never by a sign-in. The identifiers themselves are not kept.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Final

from sqlalchemy import delete, select

from broker.directory.kin import Kin
from broker.observability.crashpoints import mark
from broker.store.citizen_tables import citizen_accounts
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from schemas.names import Instant, SubjectRef

_LABEL: Final = b"unefois/citizen-account/v1\x00"
_ALIAS: Final = b"unefois/citizen-alias/v1\x00"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose it is. `renamed`: the same identifier was known with facts that nobody has joined with those of today."""

    subject: SubjectRef
    renamed: bool = False


class Accounts:
    """The only writer of its table. The caller begins the transaction."""

    def __init__(self, macs: RowMacs, secret: Callable[[], bytes]) -> None:
        """`secret`: reads the one that never rotates (`identity.REFERENCE`), when it is first needed."""
        self._macs = macs
        self._read = secret

    @cached_property
    def _secret(self) -> bytes:
        return hmac.digest(self._read(), _LABEL, sha256)

    def alias(self, issuer: str, client: str, sub: str) -> bytes:
        """32 bytes, from which nobody guesses an identifier."""
        told = b"".join(len(one.encode()).to_bytes(4, "big") + one.encode() for one in (issuer, client, sub))
        return hmac.digest(self._secret, _ALIAS + told, sha256)

    async def of(self, tx: Transaction, alias: bytes, today: SubjectRef, kin: Kin, at: Instant) -> Account:
        """Whose this alias is; the first time, of whoever has the facts of today. `kin`: of `today`."""
        known, mine = await self.known(tx, alias), kin.of(today)
        if known is not None:
            return Account(today, renamed=known not in mine)
        row = self._macs.made(citizen_accounts.name, {"alias": alias, "subject": today, "known_at": at})
        await tx.execute(delete(citizen_accounts).where(citizen_accounts.c.alias == alias))  # one that does not count
        await tx.insert_new(citizen_accounts, row)
        mark("citizens.known")
        # Crash here: it is not known, and the citizen signs in again.
        return Account(today)

    async def known(self, tx: Transaction, alias: bytes) -> SubjectRef | None:
        """Whose an alias was the first time; None: it never came."""
        asked = select(citizen_accounts).where(citizen_accounts.c.alias == alias)
        rows = self._macs.valid(citizen_accounts.name, await tx.execute(asked))
        return SubjectRef(rows[0].subject) if rows else None

    async def forget(self, tx: Transaction, subject: SubjectRef) -> int:
        """Take away every alias of a person, on their word. The next sign-in finds them by pivot again."""
        mine = citizen_accounts.c.subject == subject
        return (await tx.execute(delete(citizen_accounts).where(mine))).rowcount
