"""Our own provider is as strict as FranceConnect's documents say; and what it lets through, two other programs do."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import oidc_provider_mock
import pytest

from broker.access.identity_tokens import Door
from broker.lab.franceconnect.app import PATHS, app
from broker.lab.franceconnect.demo import demo
from broker.lab.franceconnect.provider import CODE_MS, TOKEN_MS, Provider, Registered, Wrong
from broker.outbound import Outbound
from broker.services.citizens import signing_in
from broker.setup.opening import system_clock
from schemas.assurance import Assurance
from schemas.errors import Refused
from tests.franceconnect import BACK, CLIENTS, OURS, SECRET, Reaching, clicked
from tests.served import served
from tests.world import Clock, Entropy, World

ASKED = {
    "response_type": "code",
    "client_id": "ours",
    "redirect_uri": BACK,
    "scope": "openid identite_pivot",
    "acr_values": "eidas1",
    "state": "a-state",
    "nonce": "n" * 22,
}
PROOF = {"client_id": "ours", "client_secret": SECRET}


@pytest.fixture
def clock() -> Clock:
    """Stands still until it is moved."""
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Provider:
    """FranceConnect, with one client."""
    ours = Registered("ours", frozenset({BACK}), frozenset({OURS + signing_in.GOODBYE}), secret=SECRET)
    other = Registered("other", frozenset({BACK}), secret="other")
    return Provider(Door.FRANCECONNECT, "https://fc.example", [ours, other], clock=clock, entropy=Entropy())


def code(provider: Provider, person: str = "elise") -> dict[str, str]:
    """What the token endpoint is asked with, after somebody was chosen."""
    back = dict(parse_qsl(urlsplit(provider.choose(provider.authorize(ASKED), person)).query))
    return {"grant_type": "authorization_code", "code": back["code"], "redirect_uri": BACK, **PROOF}


def wrong(work: Callable[[], object]) -> tuple[str, str, int]:
    """How it is refused."""
    with pytest.raises(Wrong) as caught:
        work()
    return caught.value.error, caught.value.about, caught.value.status


class TestAuthorize:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("acr_values", None),
            ("acr_values", "eidas2"),
            ("acr_values", "eidas1 eidas2"),
            ("nonce", None),
            ("nonce", "n" * 21),
            ("state", None),
            ("scope", "identite_pivot"),
            ("response_type", "token"),
            ("prompt", "none"),
        ],
    )
    def test_refuses_what_is_missing_or_wrong(self, provider: Provider, name: str, value: str | None) -> None:
        asked = {key: told for key, told in ({**ASKED, name: value}).items() if told is not None}

        assert ("invalid_request", name, 400) == wrong(lambda: provider.authorize(asked))

    def test_refuses_a_stranger_and_a_redirect_that_is_not_registered(self, provider: Provider) -> None:
        assert "client_id" == wrong(lambda: provider.authorize({**ASKED, "client_id": "nobody"}))[1]
        assert "redirect_uri" == wrong(lambda: provider.authorize({**ASKED, "redirect_uri": BACK + "/"}))[1]

    def test_a_sign_in_is_answered_once(self, provider: Provider) -> None:
        number = provider.authorize(ASKED)
        provider.choose(number, None)

        assert "sign-in" == wrong(lambda: provider.choose(number, "elise"))[1]

    def test_nobody_is_known_for_more_than_they_can_show(self, clock: Clock) -> None:
        ours = Registered("ours", frozenset({BACK}), secret=SECRET)
        plus = Provider(Door.PLUS, "https://fc.example", [ours], clock=clock, entropy=Entropy())
        number = plus.authorize({**ASKED, "acr_values": "eidas2"})

        assert "person" == wrong(lambda: plus.choose(number, "yann"))[1]
        assert "acr_values" == wrong(lambda: plus.authorize(ASKED))[1]


class TestToken:
    def test_refuses_basic(self, provider: Provider) -> None:
        asked = code(provider)

        assert ("invalid_client", "basic", 401) == wrong(lambda: provider.token(asked, "Basic b3Vyczp4"))
        provider.token(asked)

    def test_refuses_a_code_after_half_a_minute_or_twice(self, provider: Provider, clock: Clock) -> None:
        in_time, late = code(provider), code(provider)
        clock.pass_(CODE_MS - 1)
        provider.token(in_time)
        assert "code" == wrong(lambda: provider.token(in_time))[1]
        clock.pass_(1)

        assert "code" == wrong(lambda: provider.token(late))[1]

    @pytest.mark.parametrize(
        ("about", "change"),
        [
            ("client_secret", {"client_secret": "guessed"}),
            ("client_secret", {"client_secret": ""}),
            ("client_id", {"client_id": "nobody"}),
            ("code", {"client_id": "other", "client_secret": "other"}),
            ("grant_type", {"grant_type": "refresh_token"}),
            ("redirect_uri", {"redirect_uri": BACK + "x"}),
        ],
    )
    def test_refuses_whoever_it_was_not_for(self, provider: Provider, about: str, change: dict[str, str]) -> None:
        assert about == wrong(lambda: provider.token({**code(provider), **change}))[1]

    def test_facts_are_told_for_a_minute_and_signed(self, provider: Provider, clock: Clock) -> None:
        bearer = f"Bearer {provider.token(code(provider))['access_token']}"
        clock.pass_(TOKEN_MS - 1)
        assert 2 == provider.userinfo(bearer).count(".")
        clock.pass_(1)

        assert 401 == wrong(lambda: provider.userinfo(bearer))[2]
        assert 401 == wrong(lambda: provider.userinfo(None))[2]

    def test_a_sub_is_pairwise(self, provider: Provider) -> None:
        person = provider.people["elise"]
        subs = {provider.sub(Registered(name, frozenset()), person) for name in ("ours", "other")}

        assert 2 == len(subs)


class TestLogout:
    def test_needs_the_token_and_a_place_that_is_registered(self, provider: Provider) -> None:
        token = provider.token(code(provider))["id_token"]
        place = OURS + signing_in.GOODBYE

        assert f"{place}?state=s" == provider.logout(
            {"id_token_hint": token, "post_logout_redirect_uri": place, "state": "s"}
        )
        assert "id_token_hint" == wrong(lambda: provider.logout({"post_logout_redirect_uri": place}))[1]
        evil = {"id_token_hint": token, "post_logout_redirect_uri": "https://evil.example"}
        assert "post_logout_redirect_uri" == wrong(lambda: provider.logout(evil))[1]


@pytest.mark.asyncio
class TestOverTheNetwork:
    """With the client that the broker really has, from loopback to loopback."""

    async def test_somebody_comes_in_and_goes(self, here: World) -> None:
        providers: dict[Door, Provider] = {}
        with served(app(providers_of(providers, here))) as base:
            provider = providers[Door.FRANCECONNECT]
            provider.issuer = base + PATHS[Door.FRANCECONNECT]
            known(here, provider.issuer)
            begun = await signing_in.begin(here.home, language="fr")
            async with httpx2.AsyncClient() as browser:
                shown = (await browser.get(begun.url)).text
                (number,) = re.findall(r'name="number" value="([^"]+)"', shown)
                chosen = {"number": number, "person": "maiwenn"}
                moved = await browser.post(f"{provider.issuer}/choose", data=chosen)
                answer = dict(parse_qsl(urlsplit(moved.headers["location"]).query))
                came = await signing_in.finish(here.home, begun.attempt, answer)
                place = await signing_in.sign_out(here.home, came.token)
                assert place is not None
                gone = await browser.get(place)

        assert "Kerouédan" == came.citizen.identity.family_name
        assert gone.headers["location"].startswith(OURS + signing_in.GOODBYE)
        assert "n'est pas FranceConnect" in shown


def providers_of(into: dict[Door, Provider], here: World) -> dict[Door, Provider]:
    """FranceConnect alone; its issuer is said once it is served."""
    ours = Registered(
        CLIENTS[Door.FRANCECONNECT], frozenset({BACK}), frozenset({OURS + signing_in.GOODBYE}), secret=SECRET
    )
    into[Door.FRANCECONNECT] = Provider(Door.FRANCECONNECT, "", [ours], clock=here.clock, entropy=Entropy())
    return into


def known(here: World, issuer: str) -> None:
    """The home is a client of this provider, and may call it on this machine."""
    told = here.home.settings.model_dump() | {
        "citizen_url": OURS,
        "franceconnect_issuer": issuer,
        "franceconnect_client_id": CLIENTS[Door.FRANCECONNECT],
        "franceconnect_client_secret": SECRET,
    }
    here.home.settings = type(here.home.settings)(**told)
    here.home.outbound.close()
    here.home.outbound = Outbound([urlsplit(issuer).netloc])


@pytest.mark.asyncio
@pytest.mark.parametrize("least", [Assurance.LOW, Assurance.HIGH])
async def test_the_demo_tells_a_home_all_that_it_needs(here: World, least: Assurance) -> None:
    base = "http://127.0.0.1:8471"
    application, told = demo(base, OURS, clock=here.clock, entropy=here.home.entropy)
    here.home.settings = type(here.home.settings)(**here.home.settings.model_dump() | told)
    here.home.outbound = Reaching(application)

    begun = await signing_in.begin(here.home, language="fr", least=least)
    answer = await clicked(application, begun.url, "maiwenn")

    assert least == (await signing_in.finish(here.home, begun.attempt, answer)).citizen.assurance
    assert ("127.0.0.1:8471",) == here.home.settings.outbound_allowed


@pytest.fixture
def independent() -> Iterator[Callable[[str | None], str]]:
    """Starts a provider that we did not write, on loopback, with one user, and tells its issuer."""
    with ExitStack() as stack:

        def started(acr: str | None) -> str:
            claims: dict[str, object] = {"family_name": "Martin"} | ({} if acr is None else {"acr": acr})
            user = oidc_provider_mock.User(sub="elise", claims=claims)
            server = stack.enter_context(oidc_provider_mock.run_server_in_thread(user_claims=[user]))
            return f"http://localhost:{server.server_port}"

        yield started


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own libraries, in its own threads
class TestAnIndependentProvider:
    """`oidc-provider-mock`: the code flow against code that we did not write.

    Shown with it: discovery, the address to which the browser goes, state, the code, `client_secret_post`, and the
    signature of an ID token by its published key (RS256), with its claims. It ignores `acr_values` and tells plain
    userinfo: so it is no FranceConnect, and nobody comes in by it. Which of our checks says so is asserted.
    """

    @pytest.mark.parametrize(
        ("acr", "code", "wrong"),
        [
            (None, "franceconnect.level", "-"),  # its ID token verified, and tells no level
            ("eidas1", "franceconnect.token", "userinfo-form"),  # told by hand: then its facts are not signed
        ],
    )
    async def test_its_code_is_redeemed_and_its_token_verified_and_nobody_comes_in(
        self, here: World, independent: Callable[[str | None], str], acr: str | None, code: str, wrong: str
    ) -> None:
        here.clock.now = system_clock()  # it tells its own time
        known(here, independent(acr))
        begun = await signing_in.begin(here.home, language="fr")
        async with httpx2.AsyncClient() as browser:
            moved = await browser.post(begun.url, data={"sub": "elise", "action": "authorize"})
        answer = dict(parse_qsl(urlsplit(moved.headers["location"]).query))

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, begun.attempt, answer)

        assert (code, wrong) == (caught.value.code, caught.value.details.get("wrong", caught.value.details.get("got")))

    async def test_its_refusal_is_told_as_one(self, here: World, independent: Callable[[str | None], str]) -> None:
        known(here, independent(None))
        begun = await signing_in.begin(here.home, language="fr")
        state = dict(parse_qsl(urlsplit(begun.url).query))["state"]

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, begun.attempt, {"state": state, "code": "guessed"})

        assert "franceconnect.refused" == caught.value.code
        assert urlencode({"state": state}) in begun.url
