"""Codes: a way in without FranceConnect: twelve characters on paper, for one person, once, within three days.

    code      12 characters of ALPHABET, 60 bits at random; written ABCDEF-GHJKLM
    locator   HMAC-SHA-256(pepper, code): how its row is found; half a code finds nothing
    sealed    who it is, under Argon2id(code, salt, pepper)

Refuses: a code that is none, was used, is too old, or was never given: all of them in the same words.
Keeps: a code is used once: its use is in the journal of endings before the session is committed, so a row that is put
back gives nothing. Neither the tables, nor a backup, nor the key store holds a code, or the facts behind one.
Source: RFC 9106 (Argon2id), NIST SP 800-63B-4, section 3.1.2 (look-up secrets).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy import Row, delete, select

from broker.citizens.sealed import KEY_BYTES, Private, seal, unseal
from broker.ended import Ending
from broker.observability.crashpoints import mark
from broker.people.pivot import PivotIdentity
from broker.ports import Entropy
from broker.store.citizen_tables import citizen_codes
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from schemas.errors import Refused
from schemas.names import Instant, SubjectRef

ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""32 signs; without 0 and O, 1 and I, which are read for one another."""
CHARACTERS: Final = 12
HOURS: Final = 72
MOST: Final = 3
"""Codes of one person that may wait at once; whoever makes another one ends the oldest."""

TABLE: Final = citizen_codes.name
_SALT_BYTES: Final = 16
_PEPPER: Final = b"unefois/citizen-code/v1\x00"
_LOCATOR: Final = b"unefois/citizen-code-locator/v1\x00"
_SEAL: Final = b"unefois/citizen-code-seal/v1\x00"
_PASSES, _KIB, _LANES = 3, 65_536, 1


@dataclass(frozen=True, slots=True)
class Code:
    """What is handed over, once. `code`: as it is written on paper."""

    code: str = field(repr=False)
    expires_at: Instant


@dataclass(frozen=True, slots=True)
class Waiting:
    """A code that was found and not used yet. `sealed` opens with the code alone."""

    locator: bytes
    subject: SubjectRef
    salt: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


class Codes:
    """The only writer of its table. The caller begins the transaction."""

    def __init__(self, macs: RowMacs, entropy: Entropy, secret: Callable[[], bytes]) -> None:
        """`secret`: reads what the pepper is made of, when first needed; replaced, codes of before open nothing."""
        self._macs = macs
        self._entropy = entropy
        self._read = secret

    @cached_property
    def _pepper(self) -> bytes:
        return hmac.digest(self._read(), _PEPPER, sha256)

    def drawn(self) -> str:
        """A new code, without its dash."""
        number = int.from_bytes(self._entropy(8), "big")
        return "".join(ALPHABET[(number >> (5 * place)) % 32] for place in range(CHARACTERS))

    def locator(self, code: str) -> bytes:
        """How the row of a code is found, 32 bytes."""
        return hmac.digest(self._pepper, _LOCATOR + code.encode(), sha256)

    def sealed_for(self, code: str, subject: SubjectRef, identity: PivotIdentity) -> Waiting:
        """Seal who it is: slow on purpose (some 0.1 s, 64 MiB), so call it in a thread and outside a transaction."""
        salt, locator = self._entropy(_SALT_BYTES), self.locator(code)
        key = self._key(code, salt)
        return Waiting(locator, subject, salt, seal(key, Private(identity), _bound(locator, subject), self._entropy))

    def opened(self, code: str, waiting: Waiting) -> Private:
        """Who it is: as slow. Raises Corrupt `citizens.damaged`."""
        return unseal(self._key(code, waiting.salt), waiting.sealed, _bound(waiting.locator, waiting.subject))

    async def keep(self, tx: Transaction, made: Waiting, at: Instant) -> Instant:
        """Keep what `sealed_for` gave. Returns until when the code can be used."""
        await tx.lock_exclusive([_person_lock(made.subject)])
        await self._make_room(tx, made.subject, at)
        until = Instant(at + HOURS * 3_600_000)
        row = {
            "locator": made.locator,
            "subject": made.subject,
            "salt": made.salt,
            "sealed": made.sealed,
            "made_at": at,
            "expires_at": until,
        }
        await tx.execute(citizen_codes.insert().values(self._macs.made(TABLE, row)))
        mark("citizens.code-made")
        # Crash here: there is no code, and nobody was told one; the operator makes another.
        return until

    async def find(self, tx: Transaction, code: str, at: Instant) -> Waiting:
        """Raises Refused `citizens.code`: never given, used, too old."""
        locator = self.locator(code)
        asked = select(citizen_codes).where(citizen_codes.c.locator == locator)
        rows = self._macs.valid(TABLE, await tx.execute(asked))
        if not rows or rows[0].expires_at <= at or (await tx.endings()).ended(TABLE, locator):
            raise Refused("citizens.code")
        row = rows[0]
        return Waiting(row.locator, SubjectRef(row.subject), row.salt, row.sealed)

    async def use(self, tx: Transaction, code: str, at: Instant) -> Waiting:
        """Use it, once. Raises as `find`: somebody else was faster."""
        await tx.lock_exclusive([self.locator(code)])
        found = await self.find(tx, code, at)
        await self._end(tx, found.locator, at)
        mark("citizens.code-used")
        # Crash here: it is not used; or, if the journal of endings has it, it is, and the next start takes the row
        # away: the citizen asks for another one. Never twice.
        return found

    async def complete(self, tx: Transaction, ending: Ending) -> bool:
        """Take the row away of a code that the journal of endings has as used. Whether there was one."""
        gone = await tx.execute(delete(citizen_codes).where(citizen_codes.c.locator == ending.key))
        return gone.rowcount > 0

    async def forget(self, tx: Transaction, subject: SubjectRef, at: Instant) -> int:
        """End every code of a person that waits."""
        rows = await self._rows(tx, subject)
        for row in rows:
            await self._end(tx, row.locator, at)
        return len(rows)

    async def _make_room(self, tx: Transaction, subject: SubjectRef, at: Instant) -> None:
        rows = sorted(await self._rows(tx, subject), key=lambda one: -one.made_at)
        for row in rows[MOST - 1 :]:
            await self._end(tx, row.locator, at)

    async def _end(self, tx: Transaction, locator: bytes, at: Instant) -> None:
        tx.end(Ending.of(TABLE, locator, at=at))
        await tx.execute(delete(citizen_codes).where(citizen_codes.c.locator == locator))

    async def _rows(self, tx: Transaction, subject: SubjectRef) -> list[Row[Any]]:
        asked = select(citizen_codes).where(citizen_codes.c.subject == subject)
        return self._macs.valid(TABLE, await tx.execute(asked))

    def _key(self, code: str, salt: bytes) -> bytes:
        hashed = Argon2id(
            salt=salt, length=KEY_BYTES, iterations=_PASSES, lanes=_LANES, memory_cost=_KIB, secret=self._pepper
        )
        return hashed.derive(code.encode())


def written(code: str) -> str:
    """As it stands on paper."""
    return f"{code[:6]}-{code[6:]}"


def read(typed: str) -> str:
    """The code that somebody has typed, in whatever case, with or without dash and spaces. Raises Refused
    `citizens.code-form`: no code looks like this.
    """
    code = "".join(typed.upper().replace("-", "").split())
    if len(code) != CHARACTERS or any(sign not in ALPHABET for sign in code):
        raise Refused("citizens.code-form", "/code")
    return code


def _bound(locator: bytes, subject: bytes) -> bytes:
    return _SEAL + locator + subject


def _person_lock(subject: bytes) -> bytes:
    return b"citizen-codes/" + subject
