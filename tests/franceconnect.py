"""FranceConnect for tests: our own strict provider, reached without a network, and a browser that clicks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette

from broker.access.identity_tokens import Door
from broker.lab.franceconnect.app import PATHS, app
from broker.lab.franceconnect.people import Person
from broker.lab.franceconnect.provider import Asked, Provider, Registered
from broker.outbound import BODY_BYTES, SECONDS, Outbound, Reply
from broker.services.citizens import signing_in
from broker.services.citizens.signing_in import Begun, SignedIn
from schemas.errors import Unavailable
from tests.world import PORTAL, Entropy, World

BASE = "https://fc.example"
OURS = "https://unefois.example"
BACK = f"{OURS}{signing_in.CALLBACK}"
CLIENTS = {Door.FRANCECONNECT: "ours-at-fc", Door.PLUS: "ours-at-plus"}
SECRET = "a-secret-of-the-client"
PORTALS = "portal-at-fc"
PORTALS_BACK = "https://portal.example/back"


def pem(key: ec.EllipticCurvePrivateKey | Any) -> tuple[str, str]:
    """The private and the public half."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class Reaching(Outbound):
    """Calls an application as if it were an address. `away`: nobody answers; `asked`: every path that was called."""

    def __init__(self, application: Starlette) -> None:
        super().__init__()
        self._application = application
        self.away = False
        self.asked: list[str] = []

    def check(self, url: str) -> None:
        """Every address may be called."""

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        limit: int = BODY_BYTES,
        seconds: float = SECONDS,
    ) -> Reply:
        """As over the network."""
        self.asked.append(urlsplit(url).path)
        if self.away:
            raise Unavailable("outbound.away", error="ConnectError")
        transport = httpx2.ASGITransport(app=self._application)
        async with httpx2.AsyncClient(transport=transport) as client:
            reply = await client.request(method, url, headers=dict(headers or {}), content=body)
        told = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status_code, told, reply.content[:limit], whole=True)


async def clicked(application: Starlette, url: str, person: str | None) -> dict[str, str]:
    """What a browser brings back that goes there and in which this person is chosen; None: it is stopped there."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=application)) as browser:
        shown = await browser.get(url)
        assert 200 == shown.status_code, shown.text
        (number,) = re.findall(r'name="number" value="([^"]+)"', shown.text)
        place = url.partition("?")[0].removesuffix("authorize") + "choose"
        moved = await browser.post(place, data={"number": number, "person": person or ""})
    assert 303 == moved.status_code, moved.text
    return dict(parse_qsl(urlsplit(moved.headers["location"]).query))


@dataclass
class Doors:
    """Both services, and a home that is a client of both."""

    here: World
    fc: Provider
    plus: Provider
    outbound: Reaching

    async def click(self, url: str, person: str | None) -> dict[str, str]:
        """The browser goes there, somebody is chosen, and it comes back: with what."""
        return await clicked(app({Door.FRANCECONNECT: self.fc, Door.PLUS: self.plus}), url, person)

    async def begun(self, **more: Any) -> Begun:
        """A sign-in that has begun."""
        return await signing_in.begin(self.here.home, language="fr", **more)

    async def enter(self, person: str = "elise", *, replaces: str | None = None, **more: Any) -> SignedIn:
        """The whole way."""
        begun = await self.begun(**more)
        answer = await self.click(begun.url, person)
        return await signing_in.finish(self.here.home, begun.attempt, answer, replaces=replaces)


def doors(
    here: World,
    *,
    fc: type[Provider] = Provider,
    plus: type[Provider] = Provider,
    by_key: bool = False,
    encryption: Any = None,
    only: tuple[Door, ...] = tuple(Door),
    per_hour: int = 0,
) -> Doors:
    """Set a home up as a client of both. `by_key`: it proves itself with private_key_jwt; `encryption`: a private key,
    to which FranceConnect+ encrypts.
    """
    signing = pem(ec.generate_private_key(ec.SECP256R1())) if by_key else None
    opens = None if encryption is None else pem(encryption)
    made, chosen = {}, {}
    for door, kind in ((Door.FRANCECONNECT, fc), (Door.PLUS, plus)):
        ours = Registered(
            CLIENTS[door],
            frozenset({BACK}),
            frozenset({OURS + signing_in.GOODBYE}),
            secret=None if by_key else SECRET,
            key=signing[1] if signing else None,
            encrypts_to=opens[1] if opens and door is Door.PLUS else None,
        )
        portals = Registered(PORTALS, frozenset({PORTALS_BACK}), secret="portal")
        issuer = BASE + PATHS[door]
        entropy = Entropy(door.value.encode())
        made[door] = kind(door, issuer, [ours, portals], clock=here.clock, entropy=entropy)
        prefix = door.value.replace("-", "_")
        if door in only:
            chosen |= {f"{prefix}_issuer": issuer, f"{prefix}_client_id": CLIENTS[door]}
            if signing:
                chosen[f"{prefix}_client_key"] = signing[0]
            else:
                chosen[f"{prefix}_client_secret"] = SECRET
            if opens and door is Door.PLUS:
                chosen[f"{prefix}_decryption_key"] = opens[0]
    told = here.home.settings.model_dump() | {
        "citizen_url": OURS,
        "portal_clients": {PORTAL: (PORTALS,)},
        "portal_sign_ins_per_hour": per_hour,
        **chosen,
    }
    here.home.settings = type(here.home.settings)(**told)
    outbound = Reaching(app(made))
    here.home.outbound = outbound
    return Doors(here, made[Door.FRANCECONNECT], made[Door.PLUS], outbound)


def saying(where: str, change: Callable[[Provider, dict[str, Any]], None]) -> type[Provider]:
    """A provider that says something else. `where`: `id` or `user`."""

    class Saying(Provider):
        def id_claims(self, asked: Asked, person: Person) -> dict[str, Any]:
            told = super().id_claims(asked, person)
            if where == "id":
                change(self, told)
            return told

        def user_claims(self, asked: Asked, person: Person) -> dict[str, Any]:
            told = super().user_claims(asked, person)
            if where == "user":
                change(self, told)
            return told

    return Saying
