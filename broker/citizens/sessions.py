"""Sessions: a citizen who has signed in, until they sign out, are away for a while, or some hours have passed.

    open ──► token, 32 bytes, to the browser or portal ──find──► Citizen ──end──► no row, and the journal of endings

    id       16 bytes: names the session, opens nothing     digest   SHA-256 of label and token: how its row is found
    sealed   the six facts, the helper, the ID token, under HKDF(token): without the token nobody reads them

Refuses: a token that is none, that has ended, that nobody used for IDLE_MS, that is older than its kind may be; a
portal's token from anybody but the credential that opened it, and one of our pages from any portal.
Keeps: a row that was edited, copied or put back opens nothing: it carries the machine's MAC, the sealed bytes are bound
to its id and person, and an end is in the journal of endings before it is committed. A new sign-in never goes on under
an old token. What a session was is nowhere once it has ended.
Source: OWASP Session Management Cheat Sheet; docs/adr/0056-citizens-sign-in.md.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, delete, select, update

from broker.citizens.citizen import Citizen
from broker.citizens.sealed import Private, key_from, seal, unseal
from broker.ended import Ending
from broker.observability.crashpoints import mark
from broker.ports import Entropy
from broker.store.citizen_tables import citizen_sessions
from broker.store.engine import Transaction
from broker.store.rows.macs import RowMacs
from schemas.assurance import Assurance
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import Channel, Instant, PartyId, SubjectRef

TOKEN_BYTES: Final = 32
ID_BYTES: Final = 16
IDLE_MS: Final = 30 * 60_000
LONGEST_MS: Final = 12 * 3_600_000
PORTAL_MS: Final = 30 * 60_000
"""A portal's session, used or not."""
TOUCH_MS: Final = 60_000
"""How exactly it is known when a session was last used: a request writes at most so often."""
MOST: Final = 20
"""Sessions of one citizen at once; whoever opens another one ends the oldest."""

TABLE: Final = citizen_sessions.name
_FOUND_BY: Final = b"unefois/citizen-session/v1\x00"
_SEALED_UNDER: Final = b"unefois/citizen-session-seal/v1\x00"


class Way(Enum):
    """How somebody has shown who they are."""

    FRANCECONNECT = "franceconnect"
    FRANCECONNECT_PLUS = "franceconnect-plus"
    CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Who signs in, and how. `portal` and `credential`: of the administration whose portal asks, both or neither."""

    subject: SubjectRef
    private: Private = field(repr=False)
    way: Way
    assurance: Assurance
    language: Language
    portal: PartyId | None = None
    credential: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """A session that stands. `id_token`: the provider's, for signing out there; `stale`: `touch` is due."""

    citizen: Citizen
    way: Way
    id_token: str | None = field(repr=False)
    seen_at: Instant
    stale: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A session, as its citizen sees it in the list of theirs. `portal` None: our own pages."""

    id: bytes
    way: Way
    assurance: Assurance
    portal: PartyId | None
    helped: bool
    opened_at: Instant
    seen_at: Instant
    expires_at: Instant


class Sessions:
    """The only writer of its table. The caller begins the transaction."""

    def __init__(self, macs: RowMacs, entropy: Entropy) -> None:
        self._macs = macs
        self._entropy = entropy

    async def open(self, tx: Transaction, new: Opening, at: Instant) -> tuple[str, Citizen]:
        """A session of its own: its token (43 characters), which is given once, and who it is."""
        await tx.lock_exclusive([_person_lock(new.subject)])
        raw, session = self._entropy(TOKEN_BYTES), self._entropy(ID_BYTES)
        lasts = LONGEST_MS if new.portal is None else PORTAL_MS
        row = {
            "id": session,
            "digest": _digest(raw),
            "subject": new.subject,
            "way": new.way.value,
            "assurance": new.assurance.value,
            "language": new.language,
            "portal": new.portal,
            "credential": new.credential,
            "helped": int(new.private.helper is not None),
            "sealed": seal(_key(raw), new.private, _bound(session, new.subject), self._entropy),
            "opened_at": at,
            "seen_at": at,
            "expires_at": Instant(at + lasts),
        }
        await self._make_room(tx, new.subject, at)
        await tx.execute(citizen_sessions.insert().values(self._macs.made(TABLE, row)))
        mark("citizens.opened")
        # Crash here: nobody is signed in, and nobody has the token; the citizen signs in again.
        return urlsafe_b64encode(raw).decode().rstrip("="), _citizen(row, new.private)

    async def find(self, tx: Transaction, token: str, at: Instant, credential: bytes | None = None) -> Found:
        """Whose a token is. `credential`: of the portal that brings it; None: our own pages ask.

        Raises Refused: `citizens.signed-out` (none of ours, ended, another's), `citizens.session-over` (idle, too old).
        """
        raw = _raw(token)
        asked = select(citizen_sessions).where(citizen_sessions.c.digest == _digest(raw))
        rows = self._macs.valid(TABLE, await tx.execute(asked))
        if not rows or (await tx.endings()).ended(TABLE, rows[0].id) or rows[0].credential != credential:
            raise Refused("citizens.signed-out")
        row = rows[0]
        if _over(row, at):
            raise Refused("citizens.session-over", minutes=IDLE_MS // 60_000)
        private = unseal(_key(raw), row.sealed, _bound(row.id, row.subject))
        stale = at - row.seen_at >= TOUCH_MS
        return Found(_citizen(row._mapping, private), Way(row.way), private.id_token, Instant(row.seen_at), stale)

    async def touch(self, tx: Transaction, found: Found, at: Instant) -> None:
        """It was used now. One that was touched or ended meanwhile stays as it is."""
        mine = (citizen_sessions.c.id == found.citizen.session, citizen_sessions.c.seen_at == found.seen_at)
        for row in self._macs.valid(TABLE, await tx.execute(select(citizen_sessions).where(*mine))):
            changed = self._macs.made(TABLE, {**row._mapping, "seen_at": at})
            await tx.execute(update(citizen_sessions).where(*mine).values(seen_at=at, mac=changed["mac"]))
        mark("citizens.touched")
        # Crash here: it counts as not used since before; the next request touches it.

    async def rotate(self, tx: Transaction, found: Found, new: Opening, at: Instant) -> tuple[str, Citizen]:
        """Another session in place of one: the old token opens nothing once this is committed."""
        opened = await self.open(tx, new, at)
        await self.end(tx, found.citizen.session, at)
        return opened

    async def end(self, tx: Transaction, session: bytes, at: Instant) -> None:
        """It opens nothing from now on."""
        await tx.lock_exclusive([_lock(session)])
        tx.end(Ending.of(TABLE, session, at=at))
        await tx.execute(delete(citizen_sessions).where(citizen_sessions.c.id == session))
        mark("citizens.ended")
        # Crash here: nothing has ended; or, if the journal of endings has it, the session is over whatever its row
        # says, and the next start takes the row away.

    async def end_own(self, tx: Transaction, session: bytes, subjects: Collection[SubjectRef], at: Instant) -> None:
        """End one of a citizen's own. Raises Refused `citizens.session-unknown`, for another person's too."""
        if session not in [one.id for one in await self.of(tx, subjects, at)]:
            raise Refused("citizens.session-unknown")
        await self.end(tx, session, at)

    async def end_all(
        self, tx: Transaction, subjects: Collection[SubjectRef], at: Instant, *, but: bytes | None = None
    ) -> int:
        """End every session of a citizen, `but` the one that asks for it. Returns how many."""
        chosen = [one.id for one in await self._rows(tx, subjects) if one.id != but]
        for session in chosen:
            await self.end(tx, session, at)
        return len(chosen)

    async def of(self, tx: Transaction, subjects: Collection[SubjectRef], at: Instant) -> list[Shown]:
        """A citizen's sessions that stand, the newest first. `subjects`: every reference of theirs."""
        ended = await tx.endings()
        rows = [row for row in await self._rows(tx, subjects) if not ended.ended(TABLE, row.id) and not _over(row, at)]
        return [_shown(row) for row in sorted(rows, key=lambda one: (-one.opened_at, one.id))]

    async def complete(self, tx: Transaction, ending: Ending) -> bool:
        """Take the row away of a session that the journal of endings has ended. Whether there was one."""
        gone = await tx.execute(delete(citizen_sessions).where(citizen_sessions.c.id == ending.key))
        return gone.rowcount > 0

    async def _make_room(self, tx: Transaction, subject: SubjectRef, at: Instant) -> None:
        standing = await self.of(tx, [subject], at)
        for one in standing[MOST - 1 :]:
            await self.end(tx, one.id, at)

    async def _rows(self, tx: Transaction, subjects: Collection[SubjectRef]) -> list[Row[Any]]:
        mine = citizen_sessions.c.subject.in_(sorted(subjects))
        return self._macs.valid(TABLE, await tx.execute(select(citizen_sessions).where(mine)))


def _citizen(row: Any, private: Private) -> Citizen:
    portal = row["portal"]
    return Citizen(
        session=row["id"],
        subject=SubjectRef(row["subject"]),
        identity=private.identity,
        assurance=Assurance(row["assurance"]),
        channel=Channel.ONLINE,
        language=row["language"],
        signed_in_at=Instant(row["opened_at"]),
        expires_at=Instant(row["expires_at"]),
        portal=None if portal is None else PartyId(portal),
        helper=private.helper,
    )


def _shown(row: Row[Any]) -> Shown:
    return Shown(
        id=row.id,
        way=Way(row.way),
        assurance=Assurance(row.assurance),
        portal=None if row.portal is None else PartyId(row.portal),
        helped=bool(row.helped),
        opened_at=Instant(row.opened_at),
        seen_at=Instant(row.seen_at),
        expires_at=Instant(row.expires_at),
    )


def _over(row: Row[Any], at: Instant) -> bool:
    return bool(row.expires_at <= at or row.seen_at + IDLE_MS <= at)


def _raw(token: str) -> bytes:
    """Raises Refused `citizens.signed-out` for what no token of ours looks like."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=")
    except ValueError:
        raise Refused("citizens.signed-out") from None
    if len(token) != 43 or len(raw) != TOKEN_BYTES:
        raise Refused("citizens.signed-out")
    return raw


def _digest(raw: bytes) -> bytes:
    return sha256(_FOUND_BY + raw).digest()


def _key(raw: bytes) -> bytes:
    return key_from(raw, _SEALED_UNDER)


def _bound(session: bytes, subject: bytes) -> bytes:
    return _SEALED_UNDER + session + subject


def _lock(session: bytes) -> bytes:
    return b"citizen-session/" + session


def _person_lock(subject: bytes) -> bytes:
    return b"citizen-sessions/" + subject
