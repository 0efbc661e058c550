"""Operators: the accounts of the broker's own people: added, changed and ended, inside the caller's transaction.

    row (signed) + record in the journal of endings ──► Account      each alone lets nobody in

Refuses: a name that somebody had; a key or a sign-in that somebody has; to take the last account that may run things.
Keeps: the journal says, outside the database, which version of an account counts and what it is: a row that was put
back, or slipped in, is nobody's account, and rows that were deleted do not make this a home without accounts. Each
change has its ledger entry, whose `detail` is SHA-256 of the row; it is sealed, for the public is not told who works
here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select

from broker.access.roles import Role
from broker.ended import FOREVER, Ended, Ending
from broker.ledger.acting import TABLE
from broker.ledger.recorder import Recorder
from broker.observability.observe import RowName, logger
from broker.store.engine import Transaction
from broker.store.operator_tables import operators
from broker.store.rows.digests import COLUMNS, row_digest
from broker.store.rows.layouts import covered
from broker.store.rows.seals import RowSigner
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, OperatorName, instant_of
from schemas.signing import Algorithm, check_public

LOCK: Final = b"operators"
TEXT_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class Login:
    """How an account signs in with OpenID Connect: its issuer's address, and the `sub` of its ID tokens there."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Account:
    """One account as it counts, or counted last."""

    name: OperatorName
    roles: frozenset[Role]
    public: bytes | None
    login: Login | None
    version: int
    added_at: Instant
    changed_at: Instant
    ended_at: Instant | None

    def told(self) -> dict[str, Any]:
        """What the ledger's entry commits to, bytes in hexadecimal."""
        row = row_of(self)
        return {name: _spelled(row[name]) for name in COLUMNS[TABLE, 1]}


def row_of(account: Account) -> dict[str, Any]:
    """As the table has it."""
    return {
        "id": account.name,
        "roles": json.dumps(sorted(role.value for role in account.roles)),
        "public": account.public,
        "issuer": None if account.login is None else account.login.issuer,
        "subject": None if account.login is None else account.login.subject,
        "version": account.version,
        "added_at": account.added_at,
        "changed_at": account.changed_at,
        "ended_at": account.ended_at,
    }


def account_of(row: Mapping[Any, Any]) -> Account:
    """Of a row that counts, or of what the journal says."""
    login = None if row["issuer"] is None else Login(row["issuer"], row["subject"])
    public = row["public"]
    return Account(
        name=OperatorName(row["id"]),
        roles=frozenset(Role(one) for one in json.loads(row["roles"])),
        public=bytes.fromhex(public) if isinstance(public, str) else public,
        login=login,
        version=row["version"],
        added_at=Instant(row["added_at"]),
        changed_at=Instant(row["changed_at"]),
        ended_at=instant_of(row["ended_at"]),
    )


def account_digest(told: Mapping[str, Any]) -> bytes:
    """What the ledger commits to, of an account as `Account.told` gives it. Raises KeyError, ValueError, TypeError."""
    public = told["public"]
    return row_digest(TABLE, {**told, "public": None if public is None else bytes.fromhex(public)})


def of_journal(ended: Ended) -> list[Account]:
    """Every account that the journal of endings tells of, also where there is no database; those that ended, too."""
    return sorted((account_of(ending.told) for ending in ended.of(TABLE)), key=lambda one: one.name)


class Operators:
    """The only writer of the accounts, inside the caller's transaction."""

    def __init__(self, recorder: Recorder, signer: RowSigner) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier

    async def add(
        self,
        tx: Transaction,
        name: OperatorName,
        roles: frozenset[Role],
        *,
        public: bytes | None,
        login: Login | None,
        at: Instant,
    ) -> Account:
        """An account with a key, with a sign-in, or with both.

        Raises Refused: `operators.no-key`, `operators.name-taken`, `operators.key-taken`, `operators.login-taken`,
        `operators.first`, `operators.text`, `signing.*`.
        """
        await tx.lock_exclusive([LOCK])
        ended = await tx.endings()
        if ended.newest(TABLE, name.encode()) is not None:
            raise Refused("operators.name-taken", "/name", name=name)
        new = Account(name, roles, public, login, 1, at, at, None)
        living = [one for one in of_journal(ended) if one.ended_at is None]
        _check(new, living)
        if not living and Role.OPERATOR not in roles:
            raise Refused("operators.first", "/roles")
        tx.end(_ending(new))
        await self._write(tx, None, new)
        self._record(tx, FactKind.OPERATOR_ADDED, new, at)
        return new

    async def change(
        self,
        tx: Transaction,
        name: OperatorName,
        *,
        roles: frozenset[Role] | None = None,
        public: bytes | None = None,
        login: Login | None = None,
        at: Instant,
    ) -> Account:
        """Other roles, another key, another sign-in; what is None stays as it is.

        Raises Refused: `operators.unknown`, `operators.ended`, `operators.last`, and as `add`.
        """
        await tx.lock_exclusive([LOCK])
        now = await self._living(tx, name)
        new = Account(
            name=name,
            roles=now.roles if roles is None else roles,
            public=public or now.public,
            login=login or now.login,
            version=now.version + 1,
            added_at=now.added_at,
            changed_at=at,
            ended_at=None,
        )
        others = await self._others(tx, name)
        _check(new, others)
        _check_last(new, others)
        tx.end(_ending(new))
        await self._write(tx, await self._row(tx, name), new)
        self._record(tx, FactKind.OPERATOR_CHANGED, new, at)
        return new

    async def end(self, tx: Transaction, name: OperatorName, at: Instant) -> Account:
        """Let somebody do nothing any more, from now on. Raises Refused `operators.unknown`, `operators.ended`,
        `operators.last`.
        """
        await tx.lock_exclusive([LOCK])
        now = await self._living(tx, name)
        _check_last(None, await self._others(tx, name))
        over = Account(name, now.roles, now.public, now.login, now.version, now.added_at, now.changed_at, at)
        tx.end(_ending(over))
        await self._write(tx, await self._row(tx, name), over)
        self._record(tx, FactKind.OPERATOR_ENDED, over, at)
        return over

    async def all(self, tx: Transaction) -> list[Account]:
        """Every account, those that have ended too: what the journal says of each whose row agrees."""
        ended = await tx.endings()
        rows = self._rows.valid(TABLE, await tx.execute(select(operators).order_by(operators.c.id)))
        return [one for row in rows if (one := _agreed(row, ended)) is not None]

    async def living(self, tx: Transaction) -> list[Account]:
        """Those that have not ended."""
        return [one for one in await self.all(tx) if one.ended_at is None]

    async def complete(self, tx: Transaction, ending: Ending, at: Instant) -> bool:
        """Write what the journal says into the row, with its entries. Whether there was anything to do."""
        await tx.lock_exclusive([LOCK])
        told = account_of(ending.told)
        there = await self._row(tx, told.name)
        known = None if there is None else self._rows.one(TABLE, there)
        before = None if known is None else account_of(known._mapping)
        if before == told:
            return False
        await self._write(tx, there, told)
        if before is None:
            self._record(tx, FactKind.OPERATOR_ADDED, told, at)
        elif before.version != told.version:
            self._record(tx, FactKind.OPERATOR_CHANGED, told, at)
        if told.ended_at is not None:
            self._record(tx, FactKind.OPERATOR_ENDED, told, at)
        # Crash here: the transaction is gone; the next start does it.
        return True

    async def _living(self, tx: Transaction, name: OperatorName) -> Account:
        found = next((one for one in of_journal(await tx.endings()) if one.name == name), None)
        if found is None:
            raise Refused("operators.unknown", "/name", name=name)
        if found.ended_at is not None:
            raise Refused("operators.ended", "/name", name=name)
        return found

    async def _others(self, tx: Transaction, name: OperatorName) -> list[Account]:
        told = of_journal(await tx.endings())
        return [one for one in told if one.ended_at is None and one.name != name]

    async def _row(self, tx: Transaction, name: OperatorName) -> Row[Any] | None:
        return (await tx.execute(select(operators).where(operators.c.id == name))).one_or_none()

    async def _write(self, tx: Transaction, there: Row[Any] | None, account: Account) -> None:
        """A row that does not count is written over: the journal says what is right."""
        row = row_of(account)
        if there is None and await self._signer.insert(tx, operators, row):
            return
        place = there if there is not None else await self._row(tx, account.name)
        if place is None:
            raise Refused("operators.name-taken", "/name", name=account.name)
        await self._signer.renew(tx, operators, place, covered(TABLE, place._mapping) | row)

    def _record(self, tx: Transaction, kind: FactKind, account: Account, at: Instant) -> None:
        self._recorder.record(tx, kind, at, detail=row_digest(TABLE, row_of(account)))


def _ending(account: Account) -> Ending:
    row = row_of(account)
    at, least = (account.changed_at, account.version) if account.ended_at is None else (account.ended_at, FOREVER)
    return Ending.of(TABLE, account.name.encode(), at=at, least=least, **row)


def _agreed(row: Row[Any], ended: Ended) -> Account | None:
    """The account of a row that counts, where the journal says the same."""
    told = ended.newest(TABLE, str(row.id).encode())
    account = account_of(row._mapping)
    if told is not None and account_of(told.told) == account:
        return account
    logger().error(
        "endings.row-contradicts",
        _ended_at=None if told is None else told.at,
        row=RowName.of(TABLE, str(row.id).encode()),
    )
    return None


def _check(new: Account, others: Iterable[Account]) -> None:
    if new.public is None and new.login is None:
        raise Refused("operators.no-key", "/key")
    if new.public is not None:
        check_public(Algorithm.ED25519, new.public)
    if new.login is not None and not all(
        0 < len(one) <= TEXT_CHARACTERS for one in (new.login.issuer, new.login.subject)
    ):
        raise Refused("operators.text", "/subject", limit=TEXT_CHARACTERS)
    for one in others:
        if new.public is not None and one.public == new.public:
            raise Refused("operators.key-taken", "/key", name=one.name)
        if new.login is not None and one.login == new.login:
            raise Refused("operators.login-taken", "/subject", name=one.name)


def _check_last(new: Account | None, others: Iterable[Account]) -> None:
    left = [*others, *([] if new is None else [new])]
    if not any(Role.OPERATOR in one.roles for one in left):
        raise Refused("operators.last", "/name")


def _spelled(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
