"""Credentials: the API tokens of administrations: shown once, kept as a digest, for some scopes and some time.

    unefois_<id, 16 hexadecimal digits>_<secret, 32 bytes in base64url>

Refuses: a token that was not issued here, that expired, or that was revoked; one without scopes, or without an end;
to issue or to take any where the settings forbid them.
Keeps: the secret is in no table, no log and no repr; who reads the database can ask for nothing, and who writes to it
makes no token, for each row is signed (`broker.store.rows`). Issuing and revoking have their ledger entries, whose
`detail` is SHA-256 of the row.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from sqlalchemy import Row, bindparam, select

from broker.access.revoking import revoke
from broker.directory import reading
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.observability.observe import RowName, logger
from broker.ports import Entropy
from broker.store.access_tables import api_tokens
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, PartyId, instant_of

ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
LIFETIME_MS: Final = 400 * 86_400_000
"""The longest that a token may live."""

_TOKEN: Final = re.compile(r"unefois_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODY: Final = bytes(32)


class Scope(Enum):
    """What a token may be used for."""

    PUBLISH = "publish"
    RECEIVE = "receive"
    SUBSCRIBE = "subscribe"
    READ = "read"
    KEYS = "keys"
    CITIZENS = "citizens"
    """Of an administration that has a portal of its own: for citizens who are signed in there."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One token as the table knows it: without its secret."""

    id: bytes
    party: PartyId
    scopes: frozenset[Scope]
    issued_at: Instant
    expires_at: Instant
    revoked_at: Instant | None


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token. `token` is shown to whoever asked for it, now, and to nobody later."""

    credential: Credential
    token: str = field(repr=False)


class Credentials:
    """The only writer of the tokens, inside the caller's transaction."""

    def __init__(self, recorder: Recorder, signer: RowSigner, entropy: Entropy, *, allowed: bool) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier
        self._entropy = entropy
        self._allowed = allowed

    async def issue(
        self, tx: Transaction, party: PartyId, scopes: Iterable[Scope], *, expires_at: Instant, at: Instant
    ) -> Issued:
        """A token for a party that is registered here.

        Raises Refused: `credentials.forbidden`, `credentials.no-scope`, `credentials.lifetime`,
        `directory.unknown-party`.
        """
        self._check_allowed()
        wanted = frozenset(scopes)
        if not wanted:
            raise Refused("credentials.no-scope", "/scopes")
        if not at < expires_at <= at + LIFETIME_MS:
            raise Refused("credentials.lifetime", "/expires_at", days=LIFETIME_MS // 86_400_000)
        await reading.party(tx, self._rows, party)
        token_id, secret = self._entropy(ID_BYTES), self._entropy(SECRET_BYTES)
        row = {
            "id": token_id,
            "party": party,
            "digest": sha256(secret).digest(),
            "scopes": json.dumps(sorted(scope.value for scope in wanted)),
            "issued_at": at,
            "expires_at": expires_at,
            "revoked_at": None,
        }
        if not await self._signer.insert(tx, api_tokens, row):
            raise Refused("credentials.id-taken")
        mark("credentials.issued")
        # Crash here: the transaction is gone and nobody saw the token; it is asked for again.
        self._recorder.record(tx, FactKind.KEY_ADDED, at, recipient=party, detail=row_digest("api_tokens", row))
        text = f"unefois_{token_id.hex()}_{urlsafe_b64encode(secret).decode().rstrip('=')}"
        return Issued(Credential(token_id, party, wanted, at, expires_at, None), text)

    async def revoke(self, tx: Transaction, token_id: bytes, at: Instant) -> Credential:
        """Take a token no more, from the next request on.

        Raises Refused: `credentials.unknown-id`, `credentials.already-revoked`.
        """
        row = await revoke(
            tx,
            self._recorder,
            self._signer,
            api_tokens,
            api_tokens.c.id == token_id,
            at=at,
            unknown=Refused("credentials.unknown-id", "/id"),
            before=Refused("credentials.already-revoked", "/id"),
        )
        return replace(_credential(row), revoked_at=at)

    async def list(self, tx: Transaction, party: PartyId | None = None) -> list[Credential]:
        """Every token, or a party's, oldest first; ended ones too."""
        mine = [] if party is None else [api_tokens.c.party == party]
        rows = await tx.execute(select(api_tokens).where(*mine).order_by(api_tokens.c.issued_at, api_tokens.c.id))
        return [_credential(row) for row in self._rows.valid(api_tokens.name, rows)]

    async def verify(self, tx: Transaction, told: str, at: Instant) -> Credential:
        """Whose token this is.

        Raises Refused: `credentials.forbidden`, `credentials.unknown`; and to who holds the secret also
        `credentials.revoked`, `credentials.expired`.
        """
        self._check_allowed()
        found = _TOKEN.fullmatch(told)
        if found is None:
            raise Refused("credentials.unknown")
        row = self._rows.one(api_tokens.name, await _row(tx, bytes.fromhex(found[1])))
        # Looked up by its public id, compared by its digest in constant time: how long this takes tells nothing.
        same = compare_digest(sha256(_secret(found[2])).digest(), _NOBODY if row is None else row.digest)
        if row is None or not same:
            raise Refused("credentials.unknown")
        credential = _credential(row)
        ending = (await tx.endings()).newest(api_tokens.name, credential.id)
        ended = ending is not None and ending.least > 0
        if ending is not None and ended and credential.revoked_at is None:
            logger().error(
                "endings.row-contradicts", _ended_at=ending.at, row=RowName.of(api_tokens.name, credential.id)
            )
        if ended or credential.revoked_at is not None:
            raise Refused("credentials.revoked")
        if at >= credential.expires_at:
            raise Refused("credentials.expired")
        return credential

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise Refused("credentials.forbidden")


def scopes_of(text: str) -> frozenset[Scope]:
    """The scopes of a row, as they are kept."""
    return frozenset(Scope(scope) for scope in json.loads(text))


_BY_ID: Final = select(api_tokens).where(api_tokens.c.id == bindparam("id"))


async def _row(tx: Transaction, token_id: bytes) -> Row[Any] | None:
    return (await tx.execute(_BY_ID, {"id": token_id})).one_or_none()


def _secret(text: str) -> bytes:
    """Of 43 characters, the last one's spare bits are ignored: the digest is that of the 32 bytes."""
    return urlsafe_b64decode(f"{text}=")


def _credential(row: Row[Any]) -> Credential:
    return Credential(
        id=bytes(row.id),
        party=PartyId(row.party),
        scopes=scopes_of(row.scopes),
        issued_at=Instant(row.issued_at),
        expires_at=Instant(row.expires_at),
        revoked_at=instant_of(row.revoked_at),
    )
