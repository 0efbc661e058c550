"""The token endpoint: a signed assertion for an access token; in the words of RFC 6749 where it is refused."""

from typing import Any
from urllib.parse import urlencode

import pytest

from broker.access.credentials import Scope
from tests.clients import Client
from tests.unit.broker.web.agencies.calls import Caller, Served
from tests.world import CAF, CPAM

pytestmark = pytest.mark.asyncio
FORM = "application/x-www-form-urlencoded"
KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def asked(
    served: Served, *more: tuple[str, str], without: str = "", **changes: Any
) -> tuple[int, dict[str, Any]]:
    """What the endpoint answers."""
    form = {"grant_type": "client_credentials", "client_assertion_type": KIND} | changes
    told = urlencode([(name, value) for name, value in form.items() if name != without] + list(more))
    response = await served.stranger.asks("POST", "/oauth2/token", told.encode(), content_type=FORM)
    assert "no-store" == response.headers["cache-control"]
    return response.status_code, response.json()


async def test_the_token_is_good_for_its_scopes_until_it_ends(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    status, told = await asked(served, client_assertion=client.assertion(), scope="receive")
    caller = Caller(served.client, told["access_token"])

    assert (200, "Bearer", 600, "receive") == (status, told["token_type"], told["expires_in"], told["scope"])
    assert CAF == (await caller.told("GET", "/v1/status"))["party"]
    assert (403, "api.scope") == await caller.problem("GET", "/v1/directory")
    served.here.clock.pass_(600_000)
    assert (401, "oauth.expired") == await caller.problem("GET", "/v1/status")
    forged = Caller(served.client, told["access_token"][:-4] + "AAAA")
    assert (401, "oauth.token") == await forged.problem("GET", "/v1/status")


async def test_what_is_wrong_is_told_in_the_words_of_the_standard(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    good = client.assertion()
    for answer, error in (
        (await asked(served, client_assertion="x.y.z"), (401, "invalid_client")),
        (await asked(served, client_assertion=client.assertion(aud=CAF)), (401, "invalid_client")),
        (await asked(served, client_assertion=good, grant_type="password"), (400, "unsupported_grant_type")),
        (await asked(served, client_assertion=good, without="grant_type"), (400, "unsupported_grant_type")),
        (await asked(served, client_assertion=good, client_assertion_type="x"), (400, "invalid_request")),
        (await asked(served), (400, "invalid_request")),
        (await asked(served, client_assertion=good, client_secret="x"), (400, "invalid_request")),
        (await asked(served, ("client_assertion", good), client_assertion=good), (400, "invalid_request")),
        (await asked(served, client_assertion=good, scope="receive publish"), (400, "invalid_scope")),
        (await asked(served, client_assertion=good), (200, None)),
        (await asked(served, client_assertion=good), (401, "invalid_client")),
    ):
        assert error == (answer[0], answer[1].get("error")), answer


async def test_another_clients_id_beside_an_assertion_is_refused_and_ones_own_is_not(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)

    status, told = await asked(served, client_assertion=client.assertion(), client_id=CPAM)
    assert (401, "invalid_client", "oauth.client-id") == (status, told["error"], told["code"])
    assert 200 == (await asked(served, client_assertion=client.assertion(), client_id=CAF))[0]


@pytest.mark.parametrize(
    ("shown", "scheme"),
    [("Basic eDp5", "Basic"), ("Bearer x", "Bearer"), ("Digest username=x", "Digest"), ("", "Basic"), ("(", "Basic")],
)
async def test_who_shows_themselves_in_a_header_is_asked_by_its_scheme(served: Served, shown: str, scheme: str) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    told = urlencode({"grant_type": "client_credentials"})
    both = urlencode({"grant_type": "client_credentials", "client_assertion_type": KIND, "client_assertion": "x"})
    for form in (told, both):
        response = await served.stranger.asks(
            "POST", "/oauth2/token", form.encode(), content_type=FORM, authorization=shown
        )
        assert (401, "invalid_client") == (response.status_code, response.json()["error"])
        assert f'{scheme} realm="oauth2"' == response.headers["www-authenticate"]


async def test_half_a_character_in_an_assertion_is_no_fault_of_ours(served: Served) -> None:
    client = Client(served.here, CAF)
    await client.pin(Scope.RECEIVE)
    status, told = await asked(served, client_assertion=client.assertion(jti="\ud800"))
    assert (401, "invalid_client") == (status, told["error"])


async def test_only_a_form_is_read(served: Served) -> None:
    assert (415, "api.media-type") == await served.stranger.problem("POST", "/oauth2/token", {})
    assert (405, "api.method") == await served.stranger.problem("GET", "/oauth2/token")
    assert (400, "api.query-unknown") == await served.stranger.problem(
        "POST", "/oauth2/token?client_assertion=x", b"", content_type=FORM
    )
