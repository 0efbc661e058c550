"""What every page of a citizen has: its headers, language, form guard and errors in plain words."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import APIRouter

from broker.web.citizen import assets
from broker.web.citizen.visit import Visit, here_only, page, tidy
from schemas.errors import Refused, Unavailable
from tests.web.citizens import HOST, Browser, browser
from tests.world import World

pytestmark = pytest.mark.asyncio
OPEN = ("/espace", "/espace/accessibilite", "/espace/donnees")


@pytest_asyncio.fixture
async def elise(here: World) -> AsyncIterator[Browser]:
    """A browser; nobody is signed in yet. Two routes serve the tests: what was sent, and a fault of the program."""
    async with browser(here) as made:
        routes = APIRouter(prefix="/espace")

        async def form(visit: Visit) -> object:
            return visit.page("error.html", title=visit.sent("mot"), remedy="", trace="")

        async def broken(visit: Visit) -> object:
            raise RuntimeError("secret")

        async def surely(visit: Visit) -> object:
            raise Refused("citizens.level-too-low", needed="substantial", has="low")

        async def away(visit: Visit) -> object:
            raise Unavailable("api.busy", limit=1)

        page(routes, "/sur", surely)  # type: ignore[arg-type]
        page(routes, "/absent", away, signed_in=False)  # type: ignore[arg-type]
        page(routes, "/essai", form)  # type: ignore[arg-type]
        page(routes, "/essai", form, "POST")  # type: ignore[arg-type]
        page(routes, "/casse", broken, signed_in=False)  # type: ignore[arg-type]
        made.app.include_router(routes)
        yield made


@pytest.mark.parametrize("path", OPEN)
async def test_a_page_runs_no_foreign_code_is_in_no_frame_and_in_no_cache(elise: Browser, path: str) -> None:
    answer = await elise.get(path)

    policy = answer.headers["content-security-policy"]
    assert 200 == answer.status_code
    assert "no-store" == answer.headers["cache-control"]
    assert "same-origin" == answer.headers["referrer-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert "onclick" not in answer.text


@pytest.mark.parametrize("path", OPEN)
async def test_the_first_load_is_below_100_kilobytes(elise: Browser, path: str) -> None:
    answer = await elise.get(path)
    files = sum(len(each.content) for each in assets.by_name().values() if each.name in answer.text)

    assert 100_000 > len(answer.content) + files


async def test_a_file_is_kept_for_ever_under_the_name_of_its_content(elise: Browser) -> None:
    name = assets.name_of("style.css")
    answer = await elise.get(f"/espace/fichiers/{name}")

    assert (200, assets.FOREVER) == (answer.status_code, answer.headers["cache-control"])
    assert 404 == (await elise.get("/espace/fichiers/style.0000000000000000.css")).status_code


async def test_the_language_is_the_browsers_until_another_one_is_chosen(elise: Browser) -> None:
    english = await elise.get("/espace", headers={"accept-language": "de, en;q=0.5"})
    assert '<html lang="en">' in english.text
    assert '<html lang="fr">' in (await elise.get("/espace", headers={"accept-language": "de"})).text

    chosen = await elise.get("/espace/langue?vers=en&suite=/espace/donnees")

    assert (303, "/espace/donnees") == (chosen.status_code, chosen.headers["location"])
    assert '<html lang="en">' in (await elise.get("/espace", headers={"accept-language": "fr"})).text
    unknown = await elise.get("/espace/langue?vers=<b>&suite=/espace")
    assert "set-cookie" not in unknown.headers


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/espace",
        "//evil.example/espace",
        "/\\evil.example",
        "/espace/../v1",
        "/espace/..",
        "/espace/./x",
        "/espace/.evil.example",
        "/espace//evil.example",
        "/espacex",
        "javascript:alert(1)",
        "",
        "/v1/status",
        "/espace/\nx",
    ],
)
async def test_nobody_is_led_away_from_here(elise: Browser, place: str) -> None:
    assert "/espace" == here_only(place)
    answer = await elise.client.get("/espace/langue", params={"vers": "fr", "suite": place})
    assert "/espace" == answer.headers["location"]


async def test_who_is_not_signed_in_is_led_to_where_they_can_and_back(elise: Browser) -> None:
    answer = await elise.get("/espace/essai")

    assert (303, "/espace/connexion?suite=/espace/essai") == (answer.status_code, answer.headers["location"])


async def test_a_form_of_ones_own_page_is_taken(elise: Browser) -> None:
    await elise.sign_in()
    token = elise.token("/espace/essai")
    answer = await elise.post("/espace/essai", {"jeton": token, "mot": "bonjour"})

    assert 200 == answer.status_code
    assert "bonjour" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": HOST},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"{HOST}.evil.example"},
        {},
    ],
)
async def test_a_form_of_another_page_is_refused_in_plain_words(elise: Browser, headers: dict[str, str]) -> None:
    await elise.sign_in()
    data = {"jeton": elise.token("/espace/essai"), "mot": "bonjour"}
    answer = await elise.client.post("/espace/essai", data=data, headers=headers)

    assert 403 == answer.status_code
    assert "Cette demande ne vient pas de votre page" in answer.text
    assert "bonjour" not in answer.text


async def test_an_old_browser_says_its_origin_alone(elise: Browser) -> None:
    await elise.sign_in()
    data = {"jeton": elise.token("/espace/essai"), "mot": "bonjour"}

    assert 200 == (await elise.client.post("/espace/essai", data=data, headers={"origin": HOST})).status_code


@pytest.mark.parametrize("token", ["", "x", "é", "0" * 43])
async def test_a_form_without_its_token_is_refused(elise: Browser, token: str) -> None:
    await elise.sign_in()
    assert 403 == (await elise.post("/espace/essai", {"jeton": token})).status_code


async def test_a_token_is_good_for_its_form_and_its_session_alone(elise: Browser) -> None:
    await elise.sign_in()
    assert 403 == (await elise.post("/espace/essai", {"jeton": elise.token("/espace/deconnexion")})).status_code
    assert 403 == (await elise.post("/espace/essai", {"jeton": elise.token("/espace/essai", "t" * 43)})).status_code


async def test_a_session_that_ended_under_a_form_gives_back_what_was_typed(elise: Browser) -> None:
    await elise.sign_in()
    token = elise.token("/espace/essai")
    elise.here.clock.pass_(31 * 60_000)
    answer = await elise.post("/espace/essai", {"jeton": token, "mot": "12 rue <b>des</b> Lilas"})

    assert 401 == answer.status_code
    assert "12 rue &lt;b&gt;des&lt;/b&gt; Lilas" in answer.text
    assert "/espace/connexion?suite=/espace/essai" in answer.text
    assert token not in answer.text


@pytest.mark.parametrize(("path", "method", "status"), [("/espace/rien", "GET", 404), ("/espace/donnees", "POST", 405)])
async def test_what_is_nowhere_is_a_page_that_says_what_to_do(
    elise: Browser, path: str, method: str, status: int
) -> None:
    answer = await elise.client.request(method, path)

    assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    assert "Revenir à l'accueil" in answer.text


async def test_a_fault_of_ours_is_a_page_without_its_words(elise: Browser) -> None:
    answer = await elise.get("/espace/casse", headers={"accept-language": "en"})

    assert 500 == answer.status_code
    assert "Something went wrong on our side" in answer.text
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


async def test_a_form_that_never_ends_is_refused(elise: Browser) -> None:
    await elise.sign_in()
    answer = await elise.post("/espace/essai", {"mot": "x" * 70_000})

    assert 413 == answer.status_code
    assert "Le texte envoyé est trop long" in answer.text


@pytest.mark.parametrize("body", [b"mot=%ff", "mot=é".encode(), b"&".join([b"a=1"] * 300)])
async def test_a_form_that_is_none_is_refused(elise: Browser, body: bytes) -> None:
    await elise.sign_in()
    headers = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}

    assert 400 == (await elise.client.post("/espace/essai", content=body, headers=headers)).status_code


async def test_the_cookies_are_of_this_host_alone_and_hold_nothing(elise: Browser) -> None:
    answer = await elise.get("/espace")

    told = answer.headers["set-cookie"]
    assert told.startswith("__Host-visite=")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= {each.strip() for each in told.split(";")}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Élise\t\n  Martin ", "Élise Martin"),
        ("E\u0301lise", "Élise"),
        ("a\u202eb\u0000c\u200fd", "abcd"),
        ("👩‍👧 ok", "👩👧 ok"),
        ("x" * 5000, "x" * 2000),
    ],
)
async def test_what_nobody_types_is_dropped(typed: str, kept: str) -> None:
    assert kept == tidy(typed)


async def test_the_title_names_the_page_and_nobody(elise: Browser) -> None:
    await elise.sign_in()
    for path in OPEN:
        text = (await elise.get(path)).text
        title = text[text.index("<title>") : text.index("</title>")]
        assert "Martin" not in title
        assert elise.session not in text


async def test_who_is_not_known_surely_enough_is_told_how_to_be(elise: Browser) -> None:
    await elise.sign_in()
    answer = await elise.get("/espace/sur")

    assert 403 == answer.status_code
    assert "S'identifier avec FranceConnect+" in answer.text
    assert 'name="niveau" value="substantial"' in answer.text
    assert 'name="suite" value="/espace/sur"' in answer.text


async def test_where_something_is_away_a_page_says_so_and_when_to_come_again(elise: Browser) -> None:
    answer = await elise.get("/espace/absent")

    assert (503, "5") == (answer.status_code, answer.headers["retry-after"])
    assert "Le service est indisponible pour le moment" in answer.text
