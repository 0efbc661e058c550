"""An OAuth2 client of an administration, with joserfc: its key, and the assertions that it signs, right or wrong."""

import json
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey

from broker.access.assertions import Proven
from broker.access.credentials import Scope
from broker.access.keysets import KeySet
from schemas.names import PartyId
from tests.world import World


@dataclass
class Client:
    """Who asks for access tokens."""

    here: World
    party: PartyId
    key: OKPKey | ECKey = field(default_factory=lambda: OKPKey.generate_key("Ed25519"))
    made: int = 0

    @property
    def public(self) -> bytes:
        """The JWK to pin."""
        return json.dumps(self.key.as_dict(private=False)).encode()

    async def pin(self, *scopes: Scope) -> None:
        """Let the operator pin the key."""
        async with self.here.home.store.begin() as tx:
            wanted = scopes or (Scope.RECEIVE, Scope.READ)
            await self.here.home.oauth.pin(tx, self.party, self.public, wanted, self.here.clock())

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What an assertion says; a change to None leaves the claim out."""
        self.made += 1
        now = self.here.clock() // 1000
        told = {"iss": self.party, "sub": self.party, "aud": self.here.home.party, "iat": now, "exp": now + 60}
        told |= {"jti": f"{self.party}/{self.made}", **changes}
        return {name: value for name, value in told.items() if value is not None}

    def assertion(self, header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
        """A signed assertion."""
        algorithm = "Ed25519" if isinstance(self.key, OKPKey) else "ES256"
        head = {"typ": "JWT", "alg": algorithm, "kid": self.key.thumbprint(), **(header or {})}
        claims = json.dumps(self.claims(**changes)).encode()  # in ASCII: half a character can be said, too
        return jws.serialize_compact(head, claims, key or self.key, algorithms=[head["alg"]])

    async def redeem(self, assertion: str | None = None, *scopes: str) -> str:
        """An access token. Raises as the broker does."""
        proven = await self.prove(assertion, *scopes)
        async with self.here.home.store.begin() as tx:
            return (await self.here.home.oauth.redeem(tx, proven, self.here.clock()))[0]

    async def prove(self, assertion: str | None = None, *scopes: str) -> Proven:
        """The first half of it, with nothing but a look at the database."""
        told = assertion if assertion is not None else self.assertion()
        home = self.here.home
        async with home.store.read() as tx:
            named = await home.oauth.named(tx, told)
        source = named.source
        key = await home.key_sets.key(source, named.kid) if isinstance(source, KeySet) else source
        return home.oauth.prove(named, key, told, scopes, self.here.clock())
