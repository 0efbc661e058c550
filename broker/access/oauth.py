"""OAuth: an administration proves who it is with a key of its own and gets an access token for ten minutes.

    assertion, signed by the client's key ──redeem──► access token, signed by us ──verify──► who, for what

A client's key is pinned here by the operator, or published at an address that the operator follows (`keysets`).

Refuses: an assertion that does not prove who it says (`assertions`), or that was used before; a token that we did not
sign for us.
Keeps: an assertion counts once, in every process, whatever becomes of a row; an access token is verified without the
database. What is pinned, for which scopes, is in the ledger.
Source: RFC 6749, 4.4 (client_credentials), RFC 7638 (thumbprints), RFC 9068 (at+jwt), RFC 8705, section 3 (tokens bound
to a certificate).

Issuer and audience are the broker's own name, a URN: no host name that a request brings along can change them.
A key that is revoked gets no token from then on; what it got before ends within ten minutes.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from sqlalchemy import Row, select

from broker.access import keysets
from broker.access.assertions import ASSERTION_BYTES, TYPE, Named, Proven, decoded, prove
from broker.access.credentials import Credential, Scope, scopes_of
from broker.access.jwks import Key, public_key, thumbprint
from broker.access.revoking import revoke
from broker.directory import reading
from broker.ended import Endings
from broker.keys.pair import Pair
from broker.ledger.recorder import Recorder
from broker.observability.crashpoints import mark
from broker.ports import Entropy
from broker.store.access_tables import client_keys
from broker.store.engine import Transaction
from broker.store.rows.digests import row_digest
from broker.store.rows.seals import RowSigner
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import Instant, Kid, PartyId, instant_of
from schemas.text import is_unicode

TOKEN_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A pinned public key, for which scopes."""

    kid: Kid
    party: PartyId
    scopes: frozenset[Scope]
    added_at: Instant
    revoked_at: Instant | None

    @property
    def name(self) -> str:
        """What an assertion's `kid` calls it: the thumbprint as RFC 7638, section 3.1 writes it."""
        return urlsafe_b64encode(bytes(self.kid)).decode().rstrip("=")


class OAuth:
    """The authorization server, inside the caller's transaction; `key` signs access tokens."""

    def __init__(
        self,
        recorder: Recorder,
        signer: RowSigner,
        entropy: Entropy,
        endings: Endings,
        *,
        broker: PartyId,
        key: Pair,
    ) -> None:
        self._recorder = recorder
        self._signer = signer
        self._rows = signer.verifier
        self._entropy = entropy
        self._endings = endings
        self._broker = broker
        self._key = key

    @cached_property
    def _signing(self) -> OKPKey:
        return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(self._key.private.to_raw()))

    @cached_property
    def _checking(self) -> OKPKey:
        return OKPKey.import_key(Ed25519PublicKey.from_public_bytes(self._key.public))

    async def pin(self, tx: Transaction, party: PartyId, jwk: bytes, scopes: Iterable[Scope], at: Instant) -> ClientKey:
        """Trust a public key (a JWK, Ed25519 or P-256) to speak for a party.

        Raises Refused: `oauth.key`, `oauth.key-exists`, `credentials.no-scope`, `directory.unknown-party`.
        """
        wanted = frozenset(scopes)
        if not wanted:
            raise Refused("credentials.no-scope", "/scopes")
        key = public_key(jwk)
        await reading.party(tx, self._rows, party)
        kid = thumbprint(key)
        row = {
            "kid": kid,
            "party": party,
            "jwk": json.dumps(key.as_dict(private=False), sort_keys=True),
            "scopes": json.dumps(sorted(scope.value for scope in wanted)),
            "added_at": at,
            "revoked_at": None,
        }
        if not await self._signer.insert(tx, client_keys, row):
            raise Refused("oauth.key-exists", "/key", kid=kid.hex())
        mark("oauth.pinned")
        # Crash here: the transaction is gone; the key is pinned again.
        self._recorder.record(tx, FactKind.KEY_ADDED, at, recipient=party, detail=row_digest("client_keys", row))
        return ClientKey(kid, party, wanted, at, None)

    async def unpin(self, tx: Transaction, kid: Kid, at: Instant) -> ClientKey:
        """Trust a key no more. Raises Refused: `oauth.unknown-key`, `oauth.already-revoked`."""
        row = await revoke(
            tx,
            self._recorder,
            self._signer,
            client_keys,
            client_keys.c.kid == kid,
            at=at,
            unknown=Refused("oauth.unknown-key", "/kid"),
            before=Refused("oauth.already-revoked", "/kid"),
        )
        return replace(_client_key(row), revoked_at=at)

    async def keys(self, tx: Transaction, party: PartyId | None = None) -> list[ClientKey]:
        """Every pinned key, or a party's; revoked ones too."""
        mine = [] if party is None else [client_keys.c.party == party]
        rows = await tx.execute(select(client_keys).where(*mine).order_by(client_keys.c.added_at, client_keys.c.kid))
        return [_client_key(row) for row in self._rows.valid(client_keys.name, rows)]

    async def named(self, tx: Transaction, assertion: str) -> Named:
        """The key that an assertion's header names: a pinned one by its thumbprint, else one that its `iss` publishes.

        Raises Refused `oauth.assertion`.
        """
        try:
            if len(assertion) > ASSERTION_BYTES:
                raise Refused("oauth.assertion")
            parts = jws.extract_compact(assertion.encode("ascii"))
            kid = parts.headers()["kid"]
            if not isinstance(kid, str) or not is_unicode(kid):
                raise Refused("oauth.assertion")
            row = await self._row(tx, named_thumbprint(kid))
            if row is None:
                return await self._followed(tx, PartyId(json.loads(parts.payload)["iss"]), kid)
        except (JoseError, Refused, KeyError, ValueError, TypeError, AttributeError, RecursionError):
            raise Refused("oauth.assertion") from None
        if row.revoked_at is not None or (await tx.endings()).ended(client_keys.name, bytes(row.kid)):
            raise Refused("oauth.assertion")
        return Named(PartyId(row.party), scopes_of(row.scopes), kid, public_key(row.jwk))

    async def _followed(self, tx: Transaction, party: PartyId, kid: str) -> Named:
        """Only where the operator follows an address of that party: what the assertion says leads to no other."""
        followed = await keysets.standing(tx, self._rows, party)
        if followed is None:
            raise Refused("oauth.assertion")
        return Named(party, followed.scopes, kid, followed)

    def prove(self, named: Named, key: Key | None, assertion: str, scopes: Sequence[str], at: Instant) -> Proven:
        """`assertions.prove`, for an assertion that is meant for us."""
        return prove(named, key, assertion, scopes, audience=self._broker, at=at)

    async def redeem(
        self, tx: Transaction, proven: Proven, at: Instant, certificate: str | None = None
    ) -> tuple[str, str]:
        """An access token for what was proven, and its scopes. `certificate`: the thumbprint of the client's, which the
        token is bound to. Raises Refused: `oauth.replayed`; `oauth.assertion` when the key was unpinned since, or its
        address is followed no more.
        """
        await self._check_still(tx, proven)
        await self._spend(proven, at)
        seconds = at // 1000
        token: dict[str, Any] = {
            "iss": self._broker,
            "aud": self._broker,
            "sub": proven.party,
            "client_id": proven.party,
            "scope": proven.scope,
            "iat": seconds,
            "exp": seconds + TOKEN_SECONDS,
            "jti": self._entropy(16).hex(),
        }
        if certificate is not None:
            token["cnf"] = {"x5t#S256": certificate}
        return jwt.encode({"alg": "Ed25519", "typ": TYPE}, token, self._signing, algorithms=["Ed25519"]), proven.scope

    def verify(self, token: str, at: Instant, certificate: str | None = None) -> Credential:
        """Whose access token this is; `certificate`: the thumbprint of the one that came with it.

        Raises Refused `oauth.token`, `oauth.expired`, `oauth.bound`.
        """
        try:
            header, claims = decoded(token, self._checking, ("Ed25519",))
            mine = (claims["iss"], claims["aud"]) == (self._broker, self._broker)
            if header.get("typ") != TYPE or not mine:
                raise Refused("oauth.token")
            bound = claims["cnf"]["x5t#S256"] if "cnf" in claims else None
            credential = Credential(
                id=bytes.fromhex(claims["jti"])[:8],
                party=PartyId(claims["sub"]),
                scopes=frozenset(Scope(scope) for scope in claims["scope"].split()),
                issued_at=Instant(claims["iat"] * 1000),
                expires_at=Instant(claims["exp"] * 1000),
                revoked_at=None,
            )
        except (Refused, KeyError, ValueError, TypeError, AttributeError):
            raise Refused("oauth.token") from None
        if at >= credential.expires_at:
            raise Refused("oauth.expired")
        if bound is not None and not (certificate is not None and compare_digest(str(bound), certificate)):
            raise Refused("oauth.bound")
        return credential

    async def _spend(self, proven: Proven, at: Instant) -> None:
        """An assertion counts once; it is remembered for as long as it could count, and not in the database: who writes
        there, or puts a backup back, would have it count again.
        """
        if not await self._endings.spend(sha256(proven.party.encode() + proven.jti).digest(), proven.until, at):
            raise Refused("oauth.replayed")
        mark("oauth.spent")
        # Crash here: it is spent and nobody has a token; the client asks again with a new assertion.

    async def _row(self, tx: Transaction, kid: bytes) -> Row[Any] | None:
        """The pinned key that counts. Raises Refused `oauth.assertion` for one that must not be forgotten: edited so
        that it does not count, or unpinned and its row deleted. Else its key, published as well, would count.
        """
        there = (await tx.execute(select(client_keys).where(client_keys.c.kid == kid))).one_or_none()
        row = self._rows.one(client_keys.name, there)
        if (row is None and there is not None) or (await tx.endings()).ended(client_keys.name, kid):
            raise Refused("oauth.assertion")
        return row

    async def _check_still(self, tx: Transaction, proven: Proven) -> None:
        """Whether the key still counts: nobody holds a lock while a published key is asked for. Raises
        `oauth.assertion`.

        A key that an operator has revoked counts nowhere, published or not.
        """
        row = await self._row(tx, proven.kid)
        revoked = row is not None and row.revoked_at is not None
        if revoked or (row is None and proven.followed is None):
            raise Refused("oauth.assertion")
        if proven.followed is not None and proven.followed != await keysets.standing(tx, self._rows, proven.party):
            raise Refused("oauth.assertion")


def _client_key(row: Row[Any]) -> ClientKey:
    return ClientKey(
        kid=Kid(row.kid),
        party=PartyId(row.party),
        scopes=scopes_of(row.scopes),
        added_at=Instant(row.added_at),
        revoked_at=instant_of(row.revoked_at),
    )


def named_thumbprint(kid: str) -> bytes:
    """What a name would be as a thumbprint; nobody's when it is none."""
    try:
        return urlsafe_b64decode(f"{kid}=")
    except ValueError:
        return b""
