"""What an answer of Publik, or none, says about what was done: a question is asked again, of an act nobody knows."""

import ssl
from collections.abc import Callable

import httpx2
import pytest

from connectors.contract import Ground, Retry, Unknown
from connectors.publik.api import ANSWER_BYTES, Access, Api
from schemas.errors import Fault
from schemas.names import Instant
from tests.publik.desk import Bytes

pytestmark = pytest.mark.asyncio
Answer = Callable[[httpx2.Request], httpx2.Response]


def api(answer: Answer) -> Api:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="https://demarches.ville.example")
    return Api(http, Access("pont", "clé"), Ground(lambda: Instant(1_772_442_903_000), Bytes()))


async def ended(answer: Answer, method: str) -> Fault:
    here = api(answer)
    with pytest.raises(Fault) as fault:
        await (here.read("/api/formdefs/") if method == "GET" else here.act("/api/formdefs/x/submit", {}))
    await here.close()
    return fault.value


@pytest.mark.parametrize(
    ("error", "act"),
    [
        (httpx2.ConnectError, Retry),  # it was not sent
        (httpx2.ConnectTimeout, Retry),
        (httpx2.PoolTimeout, Retry),
        (httpx2.ReadTimeout, Unknown),
        (httpx2.WriteTimeout, Unknown),
        (httpx2.ReadError, Unknown),
        (httpx2.WriteError, Unknown),
        (httpx2.RemoteProtocolError, Unknown),
    ],
)
async def test_an_answer_that_never_comes_is_no_answer(error: type[httpx2.TransportError], act: type[Fault]) -> None:
    def fails(request: httpx2.Request) -> httpx2.Response:
        raise error("Bessière")

    for method, kind in (("GET", Retry), ("POST", act)):
        fault = await ended(fails, method)
        assert (kind, False) == (type(fault), "Bessière" in f"{fault}{fault.details}")


async def test_a_certificate_that_is_not_trusted_is_told_as_one() -> None:
    def fails(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no") from ssl.SSLCertVerificationError("expired")

    fault = await ended(fails, "POST")
    assert (Retry, "publik.certificate") == (type(fault), fault.code)


BODIES = [
    b"",
    b"<html>",
    b"null",
    b'"text"',
    b'{"err": 1}',
    b'{"err": "1"}',
    b'{"err": []}',
    b'{"err": null}',
    b"\xff\xfe",
    b"[" * 5_000,
    b" " * (ANSWER_BYTES + 1),
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("status", [200, 201, 302, 500, 503])
async def test_a_body_that_says_nothing_good_is_no_answer(status: int, body: bytes) -> None:
    for method, kind in (("GET", Retry), ("POST", Unknown)):
        fault = await ended(lambda request: httpx2.Response(status, content=body), method)
        assert (kind, "publik.answer", {"status": status}) == (type(fault), fault.code, fault.details)


async def test_a_redirect_takes_no_signature_elsewhere() -> None:
    asked: list[str] = []

    def elsewhere(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(307, headers={"location": "https://elsewhere.example/"})

    await ended(elsewhere, "POST")
    assert ["demarches.ville.example"] == asked


async def test_how_long_publik_asks_to_be_left_alone_is_passed_on() -> None:
    fault = await ended(lambda request: httpx2.Response(429, headers={"retry-after": "7"}), "POST")
    assert (Retry, 7_000) == (type(fault), fault.details["after_ms"])


@pytest.mark.parametrize(("header", "code"), [("Mon, 02 Mar 2026 09:14:03 GMT", "clock"), ("yesterday", "not-let-in")])
async def test_a_refused_signature_is_the_clock_s_only_where_publik_s_own_clock_says_so(header: str, code: str) -> None:
    fault = await ended(lambda request: httpx2.Response(403, headers={"date": header}), "GET")
    assert f"publik.{code}" == fault.code


async def test_neither_key_nor_query_stands_in_what_is_shown() -> None:
    assert "clé" not in f"{Access('pont', 'clé')!r}{vars(api(lambda request: httpx2.Response(200)))}"
