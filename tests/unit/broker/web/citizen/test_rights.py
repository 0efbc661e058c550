"""Rights, history, data and taking back, by forms: what is done is done once, is nobody else's, and is told before."""

import json
import re
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from httpx2 import Response

from broker.services import rules
from broker.services.citizens import following
from consent.grant import Status
from schemas import receipt
from schemas.assurance import Assurance
from schemas.facts import FactKind
from tests.unit.broker.citizens.people import citizen, move
from tests.unit.broker.citizens.test_laws import ruled
from tests.web.citizens import Browser, browser
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, YANN, World

pytestmark = pytest.mark.asyncio
RIGHTS = "/espace/autorisations"
FIELDS = ["subject", "new_address"]


@pytest_asyncio.fixture
async def elise(here: World) -> AsyncIterator[Browser]:
    """Élise, signed in."""
    async with browser(here) as made:
        await made.sign_in()
        yield made


async def given(elise: Browser, **more: object) -> str:
    """The page of a consent of hers, or of somebody else's."""
    found = await elise.here.give(CAF, MOVED, FAMILY, FIELDS, **more)  # type: ignore[arg-type]
    return f"{RIGHTS}/accord/{UUID(bytes=bytes(found.grant.id))}"


async def states(elise: Browser) -> list[Status]:
    """Of every consent of hers."""
    return [one.status for one in await elise.here.home.consents.of(elise.here.subject())]


def where(answer: Response) -> str:
    """Where an answer leads."""
    assert 303 == answer.status_code, answer.text[:2000]
    return str(answer.headers["location"])


class TestGiving:
    async def test_nothing_is_allowed_before_the_exact_text_was_sent_and_then_once(self, elise: Browser) -> None:
        kinds = await elise.get(f"{RIGHTS}/autoriser")
        assert f"{RIGHTS}/autoriser/{MOVED}" in kinds.text
        who = await elise.get(f"{RIGHTS}/autoriser/{MOVED}")
        offers = re.findall(rf'href="({RIGHTS}/autoriser/{re.escape(MOVED)}/[0-9a-f-]+)"', who.text)
        (page,) = [one for one in offers if "Prestations familiales" in (await elise.get(one)).text]
        asked = f"{page}/relire?champs=subject&champs=new_address&fois=toujours"
        checked = await elise.get(asked)
        assert [] == await states(elise)
        fields = dict(re.findall(r'name="(fin|empreinte|fois)" value="([^"]+)"', checked.text))
        sent = {**fields, "champs": FIELDS}

        first = await elise.send(f"{page}/relire", sent, at=asked)
        again = await elise.send(f"{page}/relire", sent, at=asked)

        assert where(first) == where(again)
        assert [Status.ACTIVE] == await states(elise)
        shown = await elise.get(where(first))
        assert fields["empreinte"] in shown.text
        assert "C'est fait" in shown.text

    async def test_another_text_than_the_one_that_counts_is_shown_and_not_agreed_to(self, elise: Browser) -> None:
        who = await elise.get(f"{RIGHTS}/autoriser/{MOVED}")
        page = re.findall(rf'href="({RIGHTS}/autoriser/{re.escape(MOVED)}/[0-9a-f-]+)"', who.text)[0]
        path = f"{page}/relire"
        asked = f"{path}?champs=subject"
        other = {"champs": "subject", "empreinte": "00" * 32, "fin": "", "fois": "une"}

        answer = await elise.send(path, other, at=asked)

        assert (409, True) == (answer.status_code, "Le texte a changé" in answer.text)
        assert [] == await states(elise)

    async def test_no_field_is_an_error_beside_the_field(self, elise: Browser) -> None:
        who = await elise.get(f"{RIGHTS}/autoriser/{MOVED}")
        page = re.findall(rf'href="({RIGHTS}/autoriser/{re.escape(MOVED)}/[0-9a-f-]+)"', who.text)[0]
        answer = await elise.get(f"{page}/relire?fois=une")

        assert 422 == answer.status_code
        assert 'href="#champs"' in answer.text
        assert 'id="champs-erreur"' in answer.text

    @pytest.mark.parametrize("path", ["nothing", "fr.unefois.nothing.v1", f"{MOVED}/0", f"{MOVED}/{UUID(int=1)}"])
    async def test_what_nobody_asks_for_is_no_page(self, elise: Browser, path: str) -> None:
        answer = await elise.get(f"{RIGHTS}/autoriser/{path}")
        assert answer.status_code in (404, 422)


class TestChanging:
    async def test_paused_resumed_narrowed_and_ended_each_with_its_meaning_before(self, elise: Browser) -> None:
        page = await given(elise)
        for word, expected, more in (
            ("suspendre", Status.PAUSED, {}),
            ("reprendre", Status.ACTIVE, {}),
            ("reduire", Status.ACTIVE, {"garder": "subject"}),
            ("arreter", Status.REVOKED, {}),
        ):
            asked = await elise.get(f"{page}/{word}")
            version = re.search(r'name="version" value="(\d+)"', asked.text)
            assert version is not None
            assert 64 == len(re.findall(r"<code>([0-9a-f]{64})</code>", asked.text)[0])
            answer = await elise.send(f"{page}/{word}", {"version": version[1], **more})
            assert f"{page}?fait={word}" == where(answer)
            assert [expected] == await states(elise)
        (one,) = await elise.here.home.consents.of(elise.here.subject())
        assert {"subject"} == set(one.fields)

    async def test_of_two_windows_the_later_one_is_told_and_changes_nothing(self, elise: Browser) -> None:
        page = await given(elise)
        first, second = {"version": "1", "garder": "subject"}, {"version": "1"}
        assert where(await elise.send(f"{page}/reduire", first))
        late = await elise.send(f"{page}/suspendre", second)

        assert (409, True) == (late.status_code, "Rien n'a été fait" in late.text)
        assert 'name="version" value="2"' in late.text
        assert [Status.ACTIVE] == await states(elise)

    async def test_sent_twice_an_end_is_one_and_always_counts(self, elise: Browser) -> None:
        page = await given(elise)
        asked = await elise.get(f"{page}/arreter")
        assert 200 == asked.status_code
        fields = {"jeton": elise.token(f"{page}/arreter"), "version": "7"}
        for _ in range(2):
            assert f"{page}?fait=arreter" == where(await elise.post(f"{page}/arreter", fields))
        assert [Status.REVOKED] == await states(elise)
        assert "plus possible" in (await elise.get(f"{page}/arreter")).text

    async def test_keeping_nothing_is_an_error_and_changes_nothing(self, elise: Browser) -> None:
        page = await given(elise)
        answer = await elise.send(f"{page}/reduire", {"version": "1"})

        assert (422, True) == (answer.status_code, 'href="#garder"' in answer.text)
        assert [Status.ACTIVE] == await states(elise)

    async def test_everything_ends_at_once(self, elise: Browser) -> None:
        for _ in range(2):
            await given(elise)
        assert f"{RIGHTS}?fait=tout" == where(await elise.send(f"{RIGHTS}/tout-arreter", {}))
        assert [Status.REVOKED] * 2 == await states(elise)
        assert "Vous n'autorisez rien" in (await elise.get(RIGHTS)).text

    @pytest.mark.parametrize("more", ["", "/recu", "/suspendre", "/reduire", "/arreter"])
    async def test_somebody_elses_is_as_unknown_as_nobodys(self, elise: Browser, more: str) -> None:
        theirs = await given(elise, person=YANN)
        nobodys = f"{RIGHTS}/accord/{UUID(int=7)}"
        answers = [await elise.get(f"{one}{more}") for one in (theirs, nobodys, f"{RIGHTS}/accord/x")]

        assert 1 == len({(one.status_code, one.text.replace(str(one.url), "")) for one in answers[:2]}) or all(
            one.status_code == answers[0].status_code for one in answers
        )
        assert 404 == answers[0].status_code
        for word in ("suspendre", "arreter"):
            fields = {"jeton": elise.token(f"{theirs}/{word}"), "version": "1"}
            assert 404 == (await elise.post(f"{theirs}/{word}", fields)).status_code
        (one,) = await elise.here.home.consents.of(elise.here.subject(YANN))
        assert Status.ACTIVE is one.status

    async def test_the_receipt_is_signed_and_of_the_newest_version(self, elise: Browser) -> None:
        page = await given(elise)
        answer = await elise.get(f"{page}/recu")

        assert "attachment" in answer.headers["content-disposition"]
        assert "application/vnd.unefois.consent-receipt.v1+json" == json.loads(answer.content)["payloadType"]


class TestLaw:
    async def test_an_objection_counts_once_and_can_be_withdrawn(self, elise: Browser) -> None:
        page = f"{RIGHTS}/loi/{UUID(bytes=bytes(await ruled(elise.here)))}"
        await elise.sign_in()
        assert "Opposition possible" in (await elise.get(RIGHTS)).text
        for _ in range(2):
            fields = {"jeton": elise.token(f"{page}/opposition"), "quoi": "opposer"}
            assert f"{page}?fait=objecte" == where(await elise.post(f"{page}/opposition", fields))
        assert 1 == len(await rules.objections(elise.here.home, elise.here.subject()))
        assert "Vous vous y opposez" in (await elise.get(RIGHTS)).text
        assert f"{page}?fait=retire" == where(await elise.send(f"{page}/opposition", {"quoi": "retirer"}))
        assert "Opposition possible" in (await elise.get(RIGHTS)).text

    async def test_where_the_text_provides_for_none_there_is_no_form(self, elise: Browser) -> None:
        page = f"{RIGHTS}/loi/{UUID(bytes=bytes(await ruled(elise.here, CPAM, HEALTH, objection=False)))}"
        await elise.sign_in()
        assert 200 == (await elise.get(page)).status_code
        assert 'opposition">' not in (await elise.get(page)).text
        assert 422 == (await elise.get(f"{page}/opposition")).status_code
        assert 404 == (await elise.get(f"{RIGHTS}/loi/{UUID(int=3)}")).status_code


class TestHistory:
    async def test_who_opened_what_and_why_and_who_was_refused_with_a_proof_that_checks(self, elise: Browser) -> None:
        here = elise.here
        await given(elise)
        await here.declare(MOVED, here.moved())
        await here.take(CAF)
        await here.step()
        page = (await elise.get("/espace/historique")).text

        for sentence in ("a pu lire ces informations", "avec votre accord", "Rien ne lui a été transmis", "Raison"):
            assert sentence in page
        proofs = re.findall(r'href="(/espace/historique/recu/[^"]+)"', page)
        kinds = set()
        for place in proofs:
            answer = await elise.get(place)
            kinds.add(receipt.check(answer.text, here.home.ledger.verifier_key).facts.kind)
            assert "attachment" in answer.headers["content-disposition"]
        assert {FactKind.RECEIVED, FactKind.RELEASED, FactKind.APPLIED, FactKind.GRANTED} == kinds
        await elise.sign_in(YANN)
        assert [404] * len(proofs) == [(await elise.get(place)).status_code for place in proofs]
        assert "a pu lire" not in (await elise.get("/espace/historique")).text

    async def test_looking_at_ones_own_pages_is_no_look_at_the_file(self, elise: Browser) -> None:
        for place in ("/espace/historique", "/espace/mes-donnees", "/espace/mes-donnees/effacer", RIGHTS):
            await elise.get(place)
        assert [] == await elise.here.entries(FactKind.VIEWED)

    @pytest.mark.parametrize(
        "place", ["?apres=zz", f"?apres={'00' * 32}", "/recu/x/released", f"/recu/{UUID(int=1)}/x"]
    )
    async def test_what_is_no_place_in_it_is_refused_in_words(self, elise: Browser, place: str) -> None:
        answer = await elise.get(f"/espace/historique{place}")
        assert answer.status_code in (404, 422)
        assert "<h1" in answer.text


class TestData:
    async def test_everything_comes_as_a_file_and_only_by_a_form_of_somebody_who_is_known_for_sure(
        self, elise: Browser
    ) -> None:
        await given(elise)
        taking = "/espace/mes-donnees/telecharger"
        low = await elise.send(taking, {"forme": "json"}, at="/espace/mes-donnees")
        assert (403, True) == (low.status_code, "FranceConnect+" in low.text)
        await elise.sign_in(assurance=Assurance.SUBSTANTIAL)
        for form, head in (("json", b"{"), ("pdf", b"%PDF-")):
            answer = await elise.send("/espace/mes-donnees/telecharger", {"forme": form}, at="/espace/mes-donnees")
            assert (200, head) == (answer.status_code, answer.content[: len(head)])
            assert "no-store" == answer.headers["cache-control"]
        assert "/espace/mes-donnees" == where(await elise.get(taking))
        assert 2 == len(await elise.here.entries(FactKind.VIEWED))

    async def test_erased_what_can_be_once_nothing_is_under_way(self, elise: Browser) -> None:
        here = elise.here
        await given(elise)
        await here.declare(MOVED, here.moved())
        place = "/espace/mes-donnees/effacer"
        assert 403 == (await elise.post(place, {"jeton": elise.token(place)})).status_code
        await elise.sign_in(assurance=Assurance.SUBSTANTIAL)
        early = await elise.post(place, {"jeton": elise.token(place)})
        assert (409, True) == (early.status_code, "Pas encore" in early.text)
        await here.take(CAF)
        assert "/espace/mes-donnees?fait=efface" == where(await elise.send(place, {}))
        assert [Status.REVOKED] == await states(elise)


class TestTakingBack:
    async def declared(self, elise: Browser) -> str:
        """The page of what she has declared."""
        from broker.services.citizens import forms

        here = elise.here
        await here.give(CAF, MOVED, FAMILY, FIELDS)
        told = await forms.declare(here.home, citizen(here), move(here), forms.begin(here.home))
        await here.home.router.route()
        return f"/espace/demarches/{told['declaration']}"

    async def test_taken_back_with_a_reason_once(self, elise: Browser) -> None:
        page = await self.declared(elise)
        missing = await elise.send(f"{page}/annuler", {})
        assert (422, True) == (missing.status_code, 'href="#raison"' in missing.text)
        fields = {"jeton": elise.token(f"{page}/annuler"), "raison": "mistake"}
        for _ in range(2):
            assert page == where(await elise.post(f"{page}/annuler", fields))
        await elise.here.home.router.route()
        assert [] == await elise.here.take(CAF)
        assert page == where(await elise.get(f"{page}/annuler"))

    async def test_somebody_elses_cannot_be_taken_back_or_corrected(self, elise: Browser) -> None:
        page = await self.declared(elise)
        await elise.sign_in(YANN)
        for word in ("annuler", "corriger", "arreter"):
            sent = {"jeton": elise.token(f"{page}/{word}"), "raison": "mistake"}
            assert 404 == (await elise.post(f"{page}/{word}", sent)).status_code or word == "arreter"
        assert 404 == (await elise.get(f"{page}/annuler")).status_code
        assert 1 == len(await elise.here.take(CAF))

    async def test_a_correction_is_the_form_once_more_and_reaches_whoever_had_the_first(self, elise: Browser) -> None:
        from tests.unit.broker.web.citizen.test_moving import ALONE, START

        page = await self.declared(elise)
        assert 1 == len(await elise.here.take(CAF))
        assert f"{START}/qui" == where(await elise.send(f"{page}/corriger", {}))
        for step, fields in ALONE.items():
            assert 303 == (await elise.send(f"{START}/{step}", fields)).status_code
        assert "Ceci corrige" in (await elise.get(f"{START}/verifier")).text
        assert 303 == (await elise.send(f"{START}/verifier", {})).status_code
        await elise.here.home.router.route()
        (again,) = await elise.here.take(CAF)
        found = await following.mine(elise.here.home, citizen(elise.here))
        first, second = sorted(found["declarations"], key=lambda one: one["corrects"] is not None)
        assert second["corrects"] == first["declaration"]
        assert again is not None
        elise.here.clock.pass_(DAY)
        await elise.here.step()

    async def test_a_move_that_was_begun_is_not_turned_into_a_correction(self, elise: Browser) -> None:
        page = await self.declared(elise)
        await elise.send("/espace/demenager/commencer", {}, at="/espace/demenager")
        shown = await elise.get(f"{page}/corriger")
        assert "déjà commencé" in shown.text
        sent = await elise.post(f"{page}/corriger", {"jeton": elise.token(f"{page}/corriger")})
        assert 422 == sent.status_code
