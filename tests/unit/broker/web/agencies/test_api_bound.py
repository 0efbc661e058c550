"""Tokens that are bound to a certificate: the proxy that the settings name is believed about it, and nobody else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker.access.credentials import Scope
from tests.clients import Client
from tests.unit.broker.web.agencies.calls import Served
from tests.unit.broker.web.agencies.test_api_tokens import FORM, KIND
from tests.world import CAF

pytestmark = pytest.mark.asyncio
PROXY, STRANGER = "10.1.2.3", "192.0.2.9"
OTHER_PROXY = "10.2.3.4"
"""Believed about addresses alone."""


@pytest.fixture
def home_settings() -> Mapping[str, Any]:
    """A broker behind a proxy."""
    return {"trusted_proxies": "10.0.0.0/8", "certificate_proxies": "10.1.0.0/16"}


def certificate(name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 7, begins, begins + timedelta(days=400))
    return made.sign(key, hashes.SHA256())


def escaped(one: x509.Certificate) -> str:
    """As nginx tells it."""
    return quote(one.public_bytes(serialization.Encoding.PEM).decode())


def structured(one: x509.Certificate) -> str:
    """As RFC 9440 has it."""
    from base64 import b64encode

    return f":{b64encode(one.public_bytes(serialization.Encoding.DER)).decode()}:"


@asynccontextmanager
async def from_(served: Served, address: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody whose connection comes from this address."""
    transport = httpx2.ASGITransport(served.app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://broker.example") as made:
        yield made


async def asked(http: httpx2.AsyncClient, client: Client, **headers: str) -> str:
    form = f"grant_type=client_credentials&client_assertion_type={KIND}&client_assertion={client.assertion()}"
    answer = await http.post("/oauth2/token", content=form, headers={"content-type": FORM, **headers})
    return str(answer.json()["access_token"])


async def shown(http: httpx2.AsyncClient, token: str, *certificates: str) -> tuple[int, str | None]:
    headers = [("authorization", f"Bearer {token}"), *(("client-cert", one) for one in certificates)]
    answer = await http.get("/v1/status", headers=headers)
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize("form", [escaped, structured])
async def test_a_token_that_was_asked_for_with_a_certificate_is_good_with_it_alone(served: Served, form: Any) -> None:
    mine, other, client = certificate("caf"), certificate("caf"), Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    async with from_(served, PROXY) as proxy, from_(served, STRANGER) as stranger:
        token = await asked(proxy, client, **{"client-cert": form(mine)})

        assert (200, None) == await shown(proxy, token, form(mine))
        refused = (401, "oauth.bound")
        assert refused == await shown(proxy, token)
        assert refused == await shown(proxy, token, form(other))
        assert refused == await shown(proxy, token, form(mine), form(mine))
        assert refused == await shown(proxy, token, "nonsense")
        assert refused == await shown(proxy, token, ":nonsense:")
        assert refused == await shown(stranger, token, form(mine))  # past the proxy, with a header of one's own


async def test_a_proxy_that_hands_on_what_clients_write_is_not_believed_about_certificates(served: Served) -> None:
    mine, client = certificate("caf"), Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    async with from_(served, PROXY) as proxy, from_(served, OTHER_PROXY) as other:
        bound = await asked(proxy, client, **{"client-cert": escaped(mine)})
        assert (401, "oauth.bound") == await shown(other, bound, escaped(mine))  # stolen, with a copy of what is public
        unbound = await asked(other, client, **{"client-cert": escaped(mine)})
        assert (200, None) == await shown(other, unbound)


async def test_without_a_trusted_proxys_word_no_token_is_bound(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    async with from_(served, PROXY) as proxy, from_(served, STRANGER) as stranger:
        for token in (
            await asked(stranger, client, **{"client-cert": escaped(certificate("caf"))}),
            await asked(proxy, client),
        ):
            assert (200, None) == await shown(stranger, token)
