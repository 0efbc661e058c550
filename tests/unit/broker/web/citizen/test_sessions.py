"""Signing in and out, and one's sessions: by FranceConnect, by a code; cancelled, away, forged."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from broker.services.citizens import codes
from tests.franceconnect import BASE, Doors, doors
from tests.web.citizens import COOKIE, Browser, browser
from tests.world import ELISE, YANN, World

pytestmark = pytest.mark.asyncio
SIGN_IN = "/espace/connexion"
BACK = f"{SIGN_IN}/retour"
TO_FC = f"{SIGN_IN}/franceconnect"


@pytest_asyncio.fixture
async def visitor(here: World) -> AsyncIterator[Browser]:
    """Nobody is signed in."""
    async with browser(here) as made:
        yield made


async def leave(visitor: Browser, suite: str = "/espace/demenager", **more: str) -> str:
    """To FranceConnect; returns the address there."""
    answer = await visitor.send(TO_FC, {"suite": suite, **more}, at=f"{SIGN_IN}?suite={suite}")
    assert 303 == answer.status_code
    return answer.headers["location"]


async def enter(visitor: Browser, them: Doors, person: str | None = "elise", **more: str) -> object:
    """The whole way; returns the last answer."""
    query = await them.click(await leave(visitor, **more), person)
    return await visitor.client.get(BACK, params=query)


class TestByFranceConnect:
    async def test_with_its_own_words_and_back_to_where_one_wanted_to_go(self, visitor: Browser) -> None:
        them = doors(visitor.here)
        page = await visitor.get(SIGN_IN)
        assert "S'identifier avec FranceConnect" in page.text
        assert "Qu'est-ce que FranceConnect ?" in page.text
        assert f"form-action 'self' {BASE}" in page.headers["content-security-policy"]

        answer = await enter(visitor, them)

        assert (303, "/espace/demenager") == (answer.status_code, answer.headers["location"])  # type: ignore[attr-defined]
        assert "Se déconnecter" in (await visitor.get("/espace")).text
        assert "__Host-attempt" not in visitor.client.cookies

    async def test_cancelled_there_one_is_back_with_every_way_in(self, visitor: Browser) -> None:
        answer = await enter(visitor, doors(visitor.here), None)

        assert 422 == answer.status_code  # type: ignore[attr-defined]
        assert 'role="alert"' in answer.text  # type: ignore[attr-defined]
        assert "S'identifier avec FranceConnect" in answer.text  # type: ignore[attr-defined]
        assert COOKIE not in visitor.client.cookies

    async def test_away_it_says_so_and_the_code_is_the_other_way(self, visitor: Browser) -> None:
        them = doors(visitor.here)
        them.outbound.away = True
        answer = await visitor.send(TO_FC, {"suite": "/espace"}, at=SIGN_IN)

        assert 503 == answer.status_code
        assert "Entrer avec ce code" in answer.text

    async def test_what_another_browser_began_is_not_ended_here(self, visitor: Browser) -> None:
        """Login CSRF: somebody is to be signed in as the attacker."""
        them = doors(visitor.here)
        query = await them.click(await leave(visitor), "elise")
        visitor.client.cookies.clear()
        answer = await visitor.client.get(BACK, params=query)

        assert 422 == answer.status_code
        assert COOKIE not in visitor.client.cookies

    async def test_it_is_ended_once(self, visitor: Browser) -> None:
        them = doors(visitor.here)
        url = await leave(visitor)
        attempt = visitor.client.cookies["__Host-attempt"]
        query = await them.click(url, "elise")
        assert 303 == (await visitor.client.get(BACK, params=query)).status_code
        visitor.client.cookies.clear()
        visitor.client.cookies.set("__Host-attempt", attempt, domain="unefois.example")

        assert 422 == (await visitor.client.get(BACK, params=query)).status_code
        assert COOKIE not in visitor.client.cookies

    @pytest.mark.parametrize("query", ["", "?code=x", "?code=x&state=y", "?state=a&state=b", "?error=access_denied"])
    async def test_what_was_not_begun_lets_nobody_in(self, visitor: Browser, query: str) -> None:
        doors(visitor.here)

        assert 422 == (await visitor.get(BACK + query)).status_code
        assert COOKIE not in visitor.client.cookies

    async def test_the_session_of_before_is_over(self, visitor: Browser) -> None:
        """Fixation: a token that somebody planted is worth nothing afterwards."""
        them = doors(visitor.here)
        await visitor.sign_in(YANN)
        planted = visitor.session
        visitor.client.cookies.clear()
        url = await leave(visitor)
        visitor.client.cookies.set(COOKIE, planted, domain="unefois.example")
        query = await them.click(url, "elise")
        await visitor.client.get(BACK, params=query)

        assert planted != visitor.session
        visitor.client.cookies.set(COOKIE, planted, domain="unefois.example")
        assert "Se déconnecter" not in (await visitor.get("/espace")).text

    async def test_whoever_signs_out_here_is_signed_out_there(self, visitor: Browser) -> None:
        await enter(visitor, doors(visitor.here))
        answer = await visitor.send("/espace/deconnexion", {}, at="/espace")

        assert urlsplit(BASE).netloc == urlsplit(answer.headers["location"]).netloc
        assert COOKIE not in visitor.client.cookies
        assert "Vous êtes déconnecté" in (await visitor.get(f"{SIGN_IN}/fin")).text


class TestByACode:
    async def test_of_a_counter_once(self, visitor: Browser) -> None:
        given = await codes.give(visitor.here.home, ELISE)
        at = f"{SIGN_IN}?suite=/espace/demarches"
        answer = await visitor.send(
            f"{SIGN_IN}/code", {"code": given.code.lower(), "suite": "/espace/demarches"}, at=at
        )

        assert (303, "/espace/demarches") == (answer.status_code, answer.headers["location"])
        visitor.client.cookies.clear()
        again = await visitor.send(f"{SIGN_IN}/code", {"code": given.code}, at=SIGN_IN)
        assert 422 == again.status_code

    @pytest.mark.parametrize("typed", ["", "x" * 1000, "🏠", "<script>alert(1)</script>", "AAAAAA-AAAAAA"])
    async def test_that_is_none_is_told_beside_its_field(self, visitor: Browser, typed: str) -> None:
        answer = await visitor.send(f"{SIGN_IN}/code", {"code": typed, "suite": "//evil.example"}, at=SIGN_IN)

        assert 422 == answer.status_code
        assert 'href="#code"' in answer.text
        assert "<script>alert" not in answer.text
        assert "evil.example" not in answer.text

    async def test_after_some_that_were_wrong_one_has_to_wait(self, visitor: Browser) -> None:
        for _ in range(5):
            await visitor.send(f"{SIGN_IN}/code", {"code": "AAAAAA-AAAAAA"}, at=SIGN_IN)
        given = await codes.give(visitor.here.home, ELISE)

        assert 303 != (await visitor.send(f"{SIGN_IN}/code", {"code": given.code}, at=SIGN_IN)).status_code


class TestOnesSessions:
    async def test_are_listed_and_ended_one_by_one_or_all_but_this(self, visitor: Browser) -> None:
        for _ in range(3):
            other = await visitor.sign_in()
        this = await visitor.sign_in()
        page = (await visitor.get("/espace/sessions")).text
        assert 4 == page.count('name="session"')
        assert "celle-ci" in page

        fields = {"session": other.session.hex()}
        await visitor.send("/espace/sessions/fermer", fields, at="/espace/sessions")
        assert 3 == (await visitor.get("/espace/sessions")).text.count('name="session"')
        await visitor.send("/espace/sessions/fermer-les-autres", {}, at="/espace/sessions")

        assert this.session.hex() in (await visitor.get("/espace/sessions")).text

    async def test_ending_this_one_signs_out(self, visitor: Browser) -> None:
        this = await visitor.sign_in()
        await visitor.send("/espace/sessions/fermer", {"session": this.session.hex()}, at="/espace/sessions")

        assert f"{SIGN_IN}?suite=/espace/sessions" == (await visitor.get("/espace/sessions")).headers["location"]

    @pytest.mark.parametrize("told", ["", "zz", "00" * 16, "00" * 500])
    async def test_one_that_is_none_is_unknown(self, visitor: Browser, told: str) -> None:
        await visitor.sign_in()
        answer = await visitor.send("/espace/sessions/fermer", {"session": told}, at="/espace/sessions")

        assert 404 == answer.status_code

    async def test_anothers_is_unknown(self, visitor: Browser) -> None:
        theirs = await visitor.sign_in(YANN)
        token = visitor.session
        await visitor.sign_in()
        fields = {"session": theirs.session.hex()}
        answer = await visitor.send("/espace/sessions/fermer", fields, at="/espace/sessions")

        assert 404 == answer.status_code
        visitor.client.cookies.set(COOKIE, token, domain="unefois.example")
        assert 200 == (await visitor.get("/espace/sessions")).status_code
