"""Route x caller x object, made from the routes of the pages: one that is in no row here fails."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute
from httpx2 import Response
from sqlalchemy import func, select

from broker.flow.desk import pivot_of
from broker.services.citizens import choices, forms, households
from broker.services.citizens.households import Person
from broker.store.tables import metadata
from broker.web.citizen import assets, guard
from broker.web.citizen.app import ROUTES
from schemas.assurance import Assurance
from tests.unit.broker.citizens.people import move
from tests.web.citizens import COOKIE, Browser, browser
from tests.web.story import lived
from tests.world import CAF, ELISE, MOVED, YANN, world

pytestmark = pytest.mark.asyncio(loop_scope="module")
MOVE: Final = "/espace/demenager"
RIGHTS: Final = "/espace/autorisations"
ONE: Final = "/espace/demarches/{declaration}"
GIVE: Final = f"{RIGHTS}/autoriser/{{type}}/{{offre}}"
MINE: Final = frozenset({"declaration", "household", "grant", "id", "session"})
"""Parts of an address, or fields of a form, that name what is somebody's own."""
NONE: Final = (str(UUID(int=7)), "nothing")
"""What never was, and what is no id."""
ZOE: Final = ELISE | {"given_names": ["Zoé"]}
STEPS: Final = ("qui", "date", "depart", "arrivee", "adresse", "logement", "contact")


@dataclass(frozen=True, slots=True)
class Row:
    """One route. `status`: for whom it is about; `open`: for everybody; `sure`: needs to be known substantially;
    `sends`: the fields of its form; `query`: of its address; `yann`: it is about him.
    """

    status: int = 200
    open: bool = False
    sure: bool = False
    sends: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    yann: bool = False


TABLE: Final[Mapping[tuple[str, str], Row]] = {
    # for everybody
    ("GET", "/espace"): Row(open=True),
    ("GET", "/espace/connexion"): Row(303, open=True),  # who is signed in is led on
    ("POST", "/espace/connexion/code"): Row(422, open=True, sends={"code": "AAAAAA-AAAAAA"}),
    ("POST", "/espace/connexion/franceconnect"): Row(422, open=True),  # nobody has set it up here
    ("GET", "/espace/connexion/retour"): Row(422, open=True),
    ("GET", "/espace/connexion/fin"): Row(open=True),
    ("GET", "/espace/verifier"): Row(open=True),
    ("GET", "/espace/accessibilite"): Row(open=True),
    ("GET", "/espace/donnees"): Row(open=True),
    ("GET", "/espace/langue"): Row(303, open=True),
    ("GET", "/espace/fichiers/{name}"): Row(open=True),
    # looking
    ("GET", "/espace/sessions"): Row(),
    ("GET", "/espace/demarches"): Row(),
    ("GET", ONE): Row(),
    ("GET", f"{ONE}/accuse"): Row(),
    ("GET", f"{ONE}/numero"): Row(303, query=f"?pour={CAF}"),  # nobody asks for one
    ("GET", f"{ONE}/annuler"): Row(),
    ("GET", f"{ONE}/arreter"): Row(303),  # nothing waits
    ("GET", f"{ONE}/corriger"): Row(),
    ("GET", RIGHTS): Row(),
    ("GET", f"{RIGHTS}/loi/{{rule}}"): Row(),
    ("GET", f"{RIGHTS}/loi/{{rule}}/opposition"): Row(),
    ("GET", f"{RIGHTS}/tout-arreter"): Row(),
    ("GET", f"{RIGHTS}/accord/{{grant}}"): Row(),
    ("GET", f"{RIGHTS}/accord/{{grant}}/recu"): Row(),
    ("GET", f"{RIGHTS}/accord/{{grant}}/{{mot}}"): Row(),
    ("GET", f"{RIGHTS}/autoriser"): Row(),
    ("GET", f"{RIGHTS}/autoriser/{{type}}"): Row(),
    ("GET", GIVE): Row(),
    ("GET", f"{GIVE}/relire"): Row(query="?champs=subject&fois=une"),
    ("GET", "/espace/historique"): Row(),
    ("GET", "/espace/historique/recu/{id}/{fait}"): Row(),
    ("GET", "/espace/mes-donnees"): Row(),
    ("GET", "/espace/mes-donnees/telecharger"): Row(303),
    ("GET", "/espace/mes-donnees/effacer"): Row(),
    # moving
    ("GET", MOVE): Row(),
    ("POST", f"{MOVE}/commencer"): Row(303),
    **{("GET", f"{MOVE}/{step}"): Row() for step in STEPS},
    **{("POST", f"{MOVE}/{step}"): Row(303) for step in STEPS},
    ("GET", f"{MOVE}/foyer"): Row(),
    ("POST", f"{MOVE}/foyer"): Row(303),
    ("GET", f"{MOVE}/foyer/personne"): Row(),
    ("POST", f"{MOVE}/foyer/personne"): Row(303),
    ("POST", f"{MOVE}/foyer/retirer"): Row(303, sends={"numero": "0"}),
    ("POST", f"{MOVE}/code"): Row(),
    ("POST", f"{MOVE}/reprendre"): Row(422, sends={"code": "AAAAAA-AAAAAA"}),
    ("GET", f"{MOVE}/verifier"): Row(303),  # to the first page that is open
    ("POST", f"{MOVE}/verifier"): Row(303),
    ("GET", f"{MOVE}/envoye"): Row(303),
    ("GET", f"{MOVE}/rejoindre/{{household}}"): Row(yann=True),
    ("POST", f"{MOVE}/rejoindre/{{household}}/refuser"): Row(422, yann=True, sends={"code": "AAAAAAAAAAAAAAAA"}),
    ("POST", f"{MOVE}/rejoindre/{{household}}"): Row(303, yann=True, sends={"code": "AAAAAAAAAAAAAAAA"}),
    ("POST", f"{MOVE}/abandonner"): Row(303),
    # changing
    ("POST", f"{ONE}/numero"): Row(303, sends={"pour": CAF, "nom": "numéro", "numero": "1"}),
    ("POST", f"{ONE}/numero/envoyer"): Row(303, sends={"pour": CAF, "nom": "numéro", "numero": "1"}),
    ("POST", f"{RIGHTS}/loi/{{rule}}/opposition"): Row(303, sends={"quoi": "objecter"}),
    ("POST", f"{GIVE}/relire"): Row(409, sends={"champs": "subject", "empreinte": "00" * 32, "fois": "une"}),
    ("POST", f"{RIGHTS}/accord/{{grant}}/{{mot}}"): Row(303, sends={"version": "1"}),
    ("POST", f"{RIGHTS}/tout-arreter"): Row(303),
    ("POST", f"{ONE}/corriger"): Row(303),
    ("POST", f"{ONE}/arreter"): Row(422),  # nothing waits
    ("POST", f"{ONE}/annuler"): Row(303, sends={"raison": "mistake"}),
    ("POST", "/espace/mes-donnees/telecharger"): Row(sure=True),
    ("POST", "/espace/mes-donnees/effacer"): Row(409, sure=True),  # something is still on its way
    ("POST", "/espace/sessions/fermer"): Row(303, sends={"session": "{session}"}),
    ("POST", "/espace/sessions/fermer-les-autres"): Row(303),
    ("POST", "/espace/deconnexion"): Row(303),
}
"""What is done stands last."""


@dataclass(frozen=True, slots=True)
class Town:
    """Élise's last month, before a browser. `own`: what stands in an address, of hers. Each test signs in by itself."""

    browser: Browser
    own: Mapping[str, str]

    async def elise(self) -> str:
        """She signs in, surely enough for everything; returns the token of her session."""
        await self.browser.sign_in(assurance=Assurance.SUBSTANTIAL)
        return self.browser.session

    def place(self, path: str, **other: str) -> str:
        """A path with its parts filled in: Élise's, or others."""
        filled = {**self.own, **other}
        return re.sub(r"\{(\w+)\}", lambda found: filled[found[1]], path)

    async def ask(self, method: str, path: str, row: Row, *, token: bool = True, **other: str) -> Response:
        """As a browser does that is on our own page."""
        place = self.place(path, **other)
        if method == "GET":
            return await self.browser.get(place + row.query)
        fields = {name: self.place(value, **other) for name, value in row.sends.items()}
        session = self.browser.client.cookies.get(COOKIE, self.browser.client.cookies.get("__Host-visite", ""))
        made = {"jeton": guard.token(session, place) if token else ""}
        return await self.browser.post(place, {**made, **fields})

    async def counts(self) -> dict[str, int]:
        """Rows of every table, but that somebody asked for the directory."""
        async with self.browser.here.home.store.read() as tx:
            return {
                name: int((await tx.execute(select(func.count()).select_from(one))).scalar_one())
                for name, one in metadata.tables.items()
                if name != "directory_notes"
            }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """She named Yann in a form of a household, and has another session."""
    async with world(tmp_path_factory.mktemp("town")) as here, browser(here) as made:
        story = await lived(here)
        elise = await made.sign_in()
        offers = (await choices.offers(here.home, elise, MOVED))["offers"]
        others, form_id = [Person(pivot_of(YANN))], forms.begin(here.home)
        opened = await households.declare_household(here.home, elise, move(here), others, form_id)
        grant = str(UUID(bytes=bytes(story.grant)))
        own = {
            "declaration": story.declared,
            "household": opened["household"],
            "grant": grant,
            "id": grant,
            "session": elise.session.hex(),
            "rule": str(UUID(bytes=bytes(story.objectable))),
            "type": MOVED,
            "offre": next(one["id"] for one in offers if one["recipient"]["party"] == CAF),
            "mot": "suspendre",
            "fait": "granted",
            "name": assets.name_of("style.css"),
        }
        yield Town(made, own)


def about(path: str, row: Row) -> set[str]:
    """Which parts of a request name what is somebody's own."""
    return MINE & set(re.findall(r"\{(\w+)\}", path + "".join(map(str, row.sends.values()))))


def routed() -> Iterator[tuple[str, str]]:
    """Method and path of every route of the pages, in the order in which they are asked here."""
    for router in ROUTES:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield from ((method, route.path) for method in sorted(route.methods - {"HEAD"}))


async def test_every_route_of_the_pages_is_in_a_row() -> None:
    assert sorted(TABLE) == sorted(routed())


async def test_whoever_is_not_signed_in_gets_to_the_open_pages_alone_and_changes_nothing(town: Town) -> None:
    """Nobody; with a session that was ended."""
    over = await town.elise()
    await town.ask("POST", "/espace/deconnexion", Row())
    before = await town.counts()
    for token in (None, over):
        for (method, path), row in TABLE.items():
            town.browser.client.cookies.clear()
            if token is not None:
                town.browser.client.cookies.set(COOKIE, token, domain="unefois.example")
            answer = await town.ask(method, path, row)
            if row.open:
                assert answer.status_code < 500, path
                assert "suite=" not in answer.headers.get("location", ""), path
            elif method == "POST":
                assert 401 == answer.status_code, path
            else:
                place = f"/espace/connexion?suite={town.place(path)}"
                assert (303, place) == (answer.status_code, answer.headers["location"]), path
    assert before == await town.counts()


async def test_a_form_of_another_page_or_without_its_token_does_nothing_anywhere(town: Town) -> None:
    await town.elise()
    before = await town.counts()
    for (method, path), row in TABLE.items():
        if method == "POST" and (not row.open):
            foreign = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
            sent = {"jeton": town.browser.token(town.place(path))}
            answer = await town.browser.client.post(town.place(path), data=sent, headers=foreign)
            assert 403 == answer.status_code, path
            assert 403 == (await town.ask(method, path, row, token=False)).status_code, path
    assert before == await town.counts()


async def test_what_needs_a_surer_sign_in_is_refused_to_any_other(town: Town) -> None:
    await town.browser.sign_in()
    before = await town.counts()
    sure = {key: row for key, row in TABLE.items() if row.sure}
    assert sure
    for (method, path), row in sure.items():
        answer = await town.ask(method, path, row)
        assert (403, True) == (answer.status_code, "FranceConnect+" in answer.text), path
    assert before == await town.counts()


async def test_anothers_object_gives_the_page_of_what_never_was_and_nothing_changes(town: Town) -> None:
    await town.browser.sign_in(ZOE, assurance=Assurance.SUBSTANTIAL)
    await town.ask("POST", f"{MOVE}/rejoindre/{{household}}", Row(sends={"code": "x"}), **dict.fromkeys(MINE, NONE[0]))
    before = await town.counts()
    theirs = {key: row for key, row in TABLE.items() if about(key[1], row)}
    assert {name for (_, path), row in theirs.items() for name in about(path, row)} == MINE
    for (method, path), row in theirs.items():
        hers = plain(await town.ask(method, path, row), [town.own[name] for name in MINE])
        never, none = [plain(await town.ask(method, path, row, **dict.fromkeys(MINE, one)), [one]) for one in NONE]
        assert hers == never, path
        assert none == never or ("household" in path and 404 == none[0]), path
        assert 400 <= hers[0] < 500 or "household" in path, path
    assert before == await town.counts()


def plain(answer: Response, ids: Iterable[str]) -> tuple[int, str, str]:
    """Status, where it leads and what it shows, without what is drawn anew or was in the address."""
    shown = re.sub(r'name="jeton" value="[^"]*"|<code>[0-9a-f]{32}</code>', "", answer.text)
    found = answer.headers.get("location", "")
    for one in ids:
        shown, found = shown.replace(one, "…"), found.replace(one, "…")
    return answer.status_code, found, shown


async def test_everybody_does_with_their_own_what_the_table_says(town: Town) -> None:
    await town.browser.sign_in(YANN)
    tokens = {True: town.browser.session, False: await town.elise()}
    told = {}
    for (method, path), row in TABLE.items():
        town.browser.client.cookies.set(COOKIE, tokens[row.yann], domain="unefois.example")
        answer = await town.ask(method, path, row)
        told[method, path] = answer.status_code
        if "fichiers" not in path:
            assert "no-store" == answer.headers["cache-control"], path
        assert "Martin" not in answer.headers.get("location", ""), path
    assert {key: row.status for key, row in TABLE.items()} == told
