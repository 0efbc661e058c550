"""Signing in with FranceConnect: who comes in, and every way in which somebody else does not."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwt
from joserfc.jwk import OctKey

from broker.access.franceconnect import ATTEMPT_MS
from broker.access.identity_tokens import AGE_MS, APART_MS, SKEW_MS, Door
from broker.lab.franceconnect.people import Person
from broker.lab.franceconnect.provider import CODE_MS, Provider, Registered
from broker.lab.franceconnect.tokens import signed, text
from broker.services.citizens import signing_in
from schemas.assurance import Assurance
from schemas.errors import Refused, Unavailable
from tests.franceconnect import BACK, OURS, Doors, doors, saying
from tests.world import World

pytestmark = pytest.mark.asyncio


async def refusal(them: Doors, person: str = "elise", **more: Any) -> Refused:
    """How a whole sign-in is refused."""
    with pytest.raises(Refused) as caught:
        await them.enter(person, **more)
    return caught.value


class TestWhoComesIn:
    async def test_with_their_facts_at_the_level_of_the_door(self, here: World) -> None:
        them = doors(here)

        came = await them.enter("maiwenn", returns_to="/espace/demenager")

        citizen = await signing_in.current(here.home, came.token)
        assert ("Kerouédan", ("Maïwenn", "Anne"), "29232") == (
            citizen.identity.family_name,
            citizen.identity.given_names,
            citizen.identity.birthplace,
        )
        assert (Assurance.LOW, "/espace/demenager", False) == (citizen.assurance, came.returns_to, came.renamed)

    @pytest.mark.parametrize("least", [Assurance.SUBSTANTIAL, Assurance.HIGH])
    async def test_for_more_by_franceconnect_plus(self, here: World, least: Assurance) -> None:
        them = doors(here)

        assert least == (await them.enter("maiwenn", least=least)).citizen.assurance
        assert "/fc/api/v2/token" not in them.outbound.asked

    async def test_two_clients_one_account(self, here: World) -> None:
        them = doors(here)
        low = await them.enter("maiwenn")
        sure = await them.enter("maiwenn", least=Assurance.SUBSTANTIAL, replaces=low.token)

        assert low.citizen.subject == sure.citizen.subject
        person = them.fc.people["maiwenn"]
        subs = {one.sub(Registered("x", frozenset()), person) for one in (them.fc, them.plus)}
        assert 2 == len(subs)
        with pytest.raises(Refused, match="signed-out"):  # the step up is another session, and the first one is over
            await signing_in.current(here.home, low.token)
        assert [sure.citizen.session] == [one.id for one in await signing_in.sessions(here.home, sure.citizen)]

    async def test_by_the_plus_alone_where_there_is_no_other(self, here: World) -> None:
        them = doors(here, only=(Door.PLUS,))

        assert Assurance.SUBSTANTIAL == (await them.enter()).citizen.assurance

    async def test_who_was_born_abroad_and_knows_no_day(self, here: World) -> None:
        citizen = (await doors(here).enter("tomas")).citizen

        assert ("", "99139") == (citizen.identity.birthplace, citizen.identity.birthcountry)

    async def test_with_an_agent_of_aidants_connect_beside_them(self, here: World) -> None:
        came = await doors(here).enter("jeanne")

        helper = (await signing_in.current(here.home, came.token)).helper
        assert helper is not None
        assert ("aidants-connect", {"LOGEMENT", "SOCIAL_SANTE"}) == (helper.agent, set(helper.scopes))
        assert [True] == [one.helped for one in await signing_in.sessions(here.home, came.citizen)]

    async def test_proven_by_a_key_and_not_by_a_secret(self, here: World) -> None:
        await doors(here, by_key=True).enter()

    @pytest.mark.parametrize("kind", ["ec", "rsa"])
    async def test_with_facts_that_are_encrypted_for_us(self, here: World, kind: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)

        await doors(here, encryption=key).enter("maiwenn", least=Assurance.HIGH)

    async def test_after_the_provider_has_changed_its_key(self, here: World) -> None:
        them = doors(here)
        await them.enter()
        them.fc.rotate()
        here.clock.pass_(APART_MS)

        await them.enter()

        assert 2 == them.outbound.asked.count("/fc/api/v2/jwks")

    async def test_asks_for_what_franceconnect_demands(self, here: World) -> None:
        them = doors(here)
        asked = dict(parse_qsl(urlsplit((await them.begun()).url).query))

        assert ("code", "eidas1", BACK) == (asked["response_type"], asked["acr_values"], asked["redirect_uri"])
        assert 22 <= len(asked["nonce"])
        assert {"openid", "identite_pivot"} <= set(asked["scope"].split())

    @pytest.mark.parametrize(
        "place",
        [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/espace?x=1",
            "",
            "/" + "a" * 300,
            "javascript:1",
        ],
    )
    async def test_and_goes_nowhere_but_to_our_own_pages(self, here: World, place: str) -> None:
        assert signing_in.HOME == (await doors(here).enter(returns_to=place)).returns_to


def renamed(them: Doors, family_name: str) -> None:
    """FranceConnect knows Maïwenn by another family name from now on."""
    claims = dict(them.fc.people["maiwenn"].claims) | {"family_name": family_name}
    them.fc.people["maiwenn"] = Person("maiwenn", tuple(claims.items()))


class TestAnotherName:
    async def test_a_name_that_changed_is_another_until_somebody_has_joined_them(self, here: World) -> None:
        them = doors(here)
        before = await them.enter("maiwenn")
        renamed(them, "Durand")

        after = await them.enter("maiwenn")
        again = await them.enter("maiwenn")

        assert (False, True, True) == (before.renamed, after.renamed, again.renamed)
        assert before.citizen.subject != after.citizen.subject
        assert "Durand" == after.citizen.identity.family_name
        assert [before.citizen.session] == [one.id for one in await signing_in.sessions(here.home, before.citizen)]

    async def test_while_a_link_acts_both_are_one_account_and_its_end_parts_them_in_sessions_that_stand(
        self, here: World
    ) -> None:
        them = doors(here)
        before = await them.enter("maiwenn")
        renamed(them, "Durand")
        after = await them.enter("maiwenn")
        link = await here.home.linking.ask(
            before.citizen.subject, after.citizen.subject, evidence="Decret 2026-1", asked_by="operators"
        )
        await here.home.linking.confirm(link.id)
        here.clock.pass_(here.home.settings.link_delay_hours * 3_600_000)

        new = await them.enter("maiwenn")
        old = await them.enter("maiwenn", least=Assurance.SUBSTANTIAL)  # that door knows the old name
        assert (False, "Durand", "Kerouédan") == (
            new.renamed,
            new.citizen.identity.family_name,
            old.citizen.identity.family_name,
        )
        both = {new.citizen.session, old.citizen.session}
        for one in (new, old):
            assert both == {shown.id for shown in await signing_in.sessions(here.home, one.citizen)}

        await here.home.linking.end(link.id)

        for one in (new, old):
            shown = await signing_in.sessions(here.home, one.citizen)
            assert [one.citizen.session] == [each.id for each in shown]
        with pytest.raises(Refused, match="session-unknown"):
            await signing_in.end(here.home, new.citizen, old.citizen.session)

    async def test_another_spelling_of_the_same_name_is_nobody_else(self, here: World) -> None:
        them = doors(here)
        before = await them.enter("maiwenn")
        renamed(them, "KEROUEDAN")

        after = await them.enter("maiwenn")

        assert (before.citizen.subject, False) == (after.citizen.subject, after.renamed)


class TestAnotherBrowser:
    async def test_an_answer_that_was_planted_in_it(self, here: World) -> None:
        them = doors(here)
        theirs, mine = await them.begun(), await them.begun()
        answer = await them.click(theirs.url, "yann")

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, mine.attempt, answer)

        assert ("franceconnect.attempt", "state") == (caught.value.code, caught.value.details["wrong"])
        await signing_in.finish(here.home, theirs.attempt, answer)  # and whose it is still comes in

    async def test_a_code_that_was_planted_with_our_own_state(self, here: World) -> None:
        them = doors(here)
        theirs, mine = await them.begun(), await them.begun()
        answer = await them.click(theirs.url, "yann")
        state = dict(parse_qsl(urlsplit(mine.url).query))["state"]

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, mine.attempt, answer | {"state": state})

        assert ("franceconnect.token", "nonce") == (caught.value.code, caught.value.details["wrong"])

    @pytest.mark.parametrize("cookie", ["", "a", "é", "AQ", "A" * 4000])
    async def test_no_cookie_of_ours(self, here: World, cookie: str) -> None:
        them = doors(here)
        answer = await them.click((await them.begun()).url, "yann")

        with pytest.raises(Refused, match=r"franceconnect\.attempt"):
            await signing_in.finish(here.home, cookie, answer)

    async def test_a_cookie_with_one_bit_changed(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")
        raw = bytearray(urlsafe_b64decode(begun.attempt + "=" * (-len(begun.attempt) % 4)))
        for place in (0, 1, 20, len(raw) - 1):
            changed = bytearray(raw)
            changed[place] ^= 1
            with pytest.raises(Refused, match=r"franceconnect\.attempt"):
                await signing_in.finish(here.home, text(bytes(changed)), answer)

    async def test_the_cookie_tells_nothing_that_can_be_read(self, here: World) -> None:
        begun = await doors(here).begun(returns_to="/espace/demenager")
        asked = dict(parse_qsl(urlsplit(begun.url).query))

        raw = urlsafe_b64decode(begun.attempt + "=" * (-len(begun.attempt) % 4))

        for told in (asked["state"], asked["nonce"], "demenager", "eidas1"):
            assert told.encode() not in raw

    async def test_a_session_that_was_planted_before_the_sign_in(self, here: World) -> None:
        them = doors(here)
        planted = await them.enter("yann")

        came = await them.enter("elise", replaces=planted.token)

        assert planted.token != came.token
        with pytest.raises(Refused, match="signed-out"):
            await signing_in.current(here.home, planted.token)
        assert came.citizen == await signing_in.current(here.home, came.token)

    async def test_another_providers_answer(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, begun.attempt, answer | {"iss": them.plus.issuer})

        assert "iss" == caught.value.details["wrong"]


class TestTwiceOrLate:
    async def test_the_same_answer_twice(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")
        await signing_in.finish(here.home, begun.attempt, answer)

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, begun.attempt, answer)

        assert ("franceconnect.attempt", "used") == (caught.value.code, caught.value.details["wrong"])
        assert 1 == them.outbound.asked.count("/fc/api/v2/token")

    async def test_ten_minutes_to_the_millisecond(self, here: World) -> None:
        them = doors(here)
        begun, late = await them.begun(), await them.begun()
        here.clock.pass_(ATTEMPT_MS - 1)
        await signing_in.finish(here.home, begun.attempt, await them.click(begun.url, "elise"))
        here.clock.pass_(1)

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, late.attempt, await them.click(late.url, "elise"))

        assert "late" == caught.value.details["wrong"]

    async def test_a_code_of_half_a_minute_ago(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")
        here.clock.pass_(CODE_MS)

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, begun.attempt, answer)

        assert ("franceconnect.refused", "invalid_grant") == (caught.value.code, caught.value.details["error"])

    async def test_after_a_kill_between_the_attempt_and_the_session_the_citizen_begins_again(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")
        them.outbound.away = True
        with pytest.raises(Unavailable):
            await signing_in.finish(here.home, begun.attempt, answer)
        them.outbound.away = False

        with pytest.raises(Refused, match=r"franceconnect\.attempt"):
            await signing_in.finish(here.home, begun.attempt, answer)
        await them.enter()


class TestTheToken:
    @pytest.mark.parametrize(
        ("wrong", "change"),
        [
            ("iss", lambda one, told: told.update(iss="https://evil.example")),
            ("aud", lambda one, told: told.update(aud="portal-at-fc")),
            ("aud", lambda one, told: told.update(aud=["ours-at-fc", "portal-at-fc"])),
            ("aud", lambda one, told: told.update(azp="portal-at-fc")),
            ("aud", lambda one, told: told.pop("aud")),
            ("exp", lambda one, told: told.update(exp=one.clock() // 1000 - 1)),
            ("exp", lambda one, told: told.update(exp="never")),
            ("exp", lambda one, told: told.pop("exp")),
            ("iat", lambda one, told: told.update(iat=(one.clock() + SKEW_MS) // 1000 + 1)),
            ("iat", lambda one, told: told.update(iat=(one.clock() - AGE_MS) // 1000 - 1)),
            ("iat", lambda one, told: told.update(iat=True)),
            ("nonce", lambda one, told: told.update(nonce="another-nonce-of-22-signs")),
            ("nonce", lambda one, told: told.pop("nonce")),
            ("sub", lambda one, told: told.update(sub="")),
        ],
    )
    async def test_with_one_claim_that_is_wrong(
        self, here: World, wrong: str, change: Callable[[Provider, dict[str, Any]], None]
    ) -> None:
        found = await refusal(doors(here, fc=saying("id", change)))

        assert ("franceconnect.token", wrong) == (found.code, found.details["wrong"])

    @pytest.mark.parametrize("acr", ["eidas2", "eidas0", "", None, 1, ["eidas1"], "eidas3"])
    async def test_of_franceconnect_with_a_level_that_it_does_not_have(self, here: World, acr: object) -> None:
        found = await refusal(doors(here, fc=saying("id", lambda one, told: told.update(acr=acr))))

        assert "franceconnect.level" == found.code

    async def test_of_a_level_below_what_was_asked(self, here: World) -> None:
        them = doors(here, plus=saying("id", lambda one, told: told.update(acr="eidas2")))
        found = await refusal(them, "maiwenn", least=Assurance.HIGH)

        assert ("franceconnect.level", "eidas3", "eidas2") == (found.code, found.details["asked"], found.details["got"])
        assert Assurance.SUBSTANTIAL == (await them.enter("maiwenn", least=Assurance.SUBSTANTIAL)).citizen.assurance

    async def test_of_a_level_above_is_taken_as_what_it_is(self, here: World) -> None:
        them = doors(here, plus=saying("id", lambda one, told: told.update(acr="eidas3")))

        assert Assurance.HIGH == (await them.enter("maiwenn", least=Assurance.SUBSTANTIAL)).citizen.assurance

    @pytest.mark.parametrize(
        ("wrong", "change"),
        [
            ("userinfo-iss", lambda one, told: told.update(iss="https://evil.example")),
            ("userinfo-aud", lambda one, told: told.update(aud="portal-at-fc")),
            ("userinfo-sub", lambda one, told: told.update(sub="somebody-else")),
            ("userinfo-sub", lambda one, told: told.pop("sub")),
            ("userinfo-exp", lambda one, told: told.update(exp=one.clock() // 1000)),
            ("rep_scope", lambda one, told: told.update(rep_scope=7)),
        ],
    )
    async def test_with_facts_that_are_not_of_it(
        self, here: World, wrong: str, change: Callable[[Provider, dict[str, Any]], None]
    ) -> None:
        found = await refusal(doors(here, fc=saying("user", change)))

        assert ("franceconnect.token", wrong) == (found.code, found.details["wrong"])

    @pytest.mark.parametrize("name", ["family_name", "given_name", "birthdate", "gender", "birthcountry"])
    async def test_with_facts_that_are_not_whole(self, here: World, name: str) -> None:
        def without(_: Provider, told: dict[str, Any]) -> None:
            told.pop(name)
            if name == "given_name":
                told.pop("given_name_array")

        found = await refusal(doors(here, fc=saying("user", without)))

        assert ("franceconnect.identity", name) == (found.code, found.details["wrong"])

    async def test_with_a_name_that_no_registry_writes(self, here: World) -> None:
        found = await refusal(doors(here, fc=saying("user", lambda one, told: told.update(family_name="Мартин"))))

        assert "identity.alphabet" == found.code
        assert "Мартин" not in str(found)


def forged(sign: Callable[[Provider, dict[str, Any]], str]) -> type[Provider]:
    """A provider whose tokens are signed otherwise."""

    class Forged(Provider):
        def sign(self, claims: Any, client: Registered) -> str:
            return sign(self, dict(claims))

    return Forged


def _none(one: Provider, claims: dict[str, Any]) -> str:
    head = {"alg": "none", "kid": one.kid}
    return ".".join(text(json.dumps(part).encode()) for part in (head, claims)) + "."


def _shared(one: Provider, claims: dict[str, Any]) -> str:
    """With the public key as a shared secret (RFC 8725, 2.1)."""
    key = OctKey.import_key(json.dumps(one.jwks()["keys"][0]).encode())
    return jwt.encode({"alg": "HS256", "kid": one.kid}, claims, key, algorithms=["HS256"])


def _stranger(one: Provider, claims: dict[str, Any]) -> str:
    return signed(claims, ec.generate_private_key(ec.SECP256R1()), one.kid)


def _unknown(one: Provider, claims: dict[str, Any]) -> str:
    return signed(claims, ec.generate_private_key(ec.SECP256R1()), "nobodys")


def _nameless(one: Provider, claims: dict[str, Any]) -> str:
    return _none(one, claims).replace(text(json.dumps({"alg": "none", "kid": one.kid}).encode()), "e30")


class TestTheSignature:
    @pytest.mark.parametrize(
        ("sign", "wrong"),
        [
            (_none, "signature"),
            (_shared, "signature"),
            (_stranger, "signature"),
            (_unknown, "key"),
            (_nameless, "signature"),
            (lambda one, claims: "", "form"),
            (lambda one, claims: "a.b", "form"),
            (lambda one, claims: "a.b.c.d.e", "encrypted"),
            (lambda one, claims: signed(claims, one.key, one.kid)[:-4] + "AAAA", "signature"),
        ],
    )
    async def test_that_is_none(self, here: World, sign: Callable[[Provider, dict[str, Any]], str], wrong: str) -> None:
        found = await refusal(doors(here, fc=forged(sign)))

        assert ("franceconnect.token", wrong) == (found.code, found.details["wrong"])

    async def test_an_unknown_key_makes_us_ask_again_only_now_and_then(self, here: World) -> None:
        them = doors(here, fc=forged(_unknown))
        for _ in range(5):
            await refusal(them)
        asked = them.outbound.asked.count("/fc/api/v2/jwks")
        here.clock.pass_(APART_MS)
        await refusal(them)

        assert (1, 2) == (asked, them.outbound.asked.count("/fc/api/v2/jwks"))

    async def test_rs256_is_not_for_franceconnect_plus(self) -> None:
        assert ("ES256",) == Door.PLUS.signs_with
        assert ("ES256", "RS256") == Door.FRANCECONNECT.signs_with


class TestTheProvider:
    async def test_who_stops_there_is_told_so(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()

        with pytest.raises(Refused, match=r"franceconnect\.cancelled"):
            await signing_in.finish(here.home, begun.attempt, await them.click(begun.url, None))

    async def test_away_before_and_after(self, here: World) -> None:
        them = doors(here)
        them.outbound.away = True
        with pytest.raises(Unavailable):
            await them.begun()
        them.outbound.away = False
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")
        them.outbound.away = True
        with pytest.raises(Unavailable):
            await signing_in.finish(here.home, begun.attempt, answer)

    async def test_that_calls_itself_otherwise(self, here: World) -> None:
        them = doors(here)
        them.fc.issuer = "https://evil.example"

        with pytest.raises(Refused, match=r"franceconnect\.provider"):
            await them.begun()

    async def test_nobody_has_set_up(self, here: World) -> None:
        with pytest.raises(Refused, match="not-configured"):
            await signing_in.begin(here.home, language="fr")

    async def test_with_a_wrong_secret(self, here: World) -> None:
        them = doors(here)
        begun = await them.begun()
        answer = await them.click(begun.url, "elise")
        them.fc._clients["ours-at-fc"] = Registered("ours-at-fc", frozenset({BACK}), secret="another")

        with pytest.raises(Refused) as caught:
            await signing_in.finish(here.home, begun.attempt, answer)

        assert ("franceconnect.refused", "invalid_client") == (caught.value.code, caught.value.details["error"])


class TestGoing:
    async def test_leads_to_the_end_of_the_session_there(self, here: World) -> None:
        them = doors(here)
        came = await them.enter()

        place = await signing_in.sign_out(here.home, came.token)

        assert place is not None
        asked = dict(parse_qsl(urlsplit(place).query))
        assert place.startswith(them.fc.issuer + "/session/end?")
        assert them.fc.logout(asked).startswith(f"{OURS}{signing_in.GOODBYE}?state=")

    async def test_leads_nowhere_when_it_is_away_and_ends_here_all_the_same(self, here: World) -> None:
        them = doors(here)
        came = await them.enter()
        here.clock.pass_(25 * 60_000)
        await signing_in.current(here.home, came.token)
        here.clock.pass_(25 * 60_000)
        await signing_in.current(here.home, came.token)
        here.clock.pass_(25 * 60_000)
        them.outbound.away = True

        assert await signing_in.sign_out(here.home, came.token) is None
        with pytest.raises(Refused, match="signed-out"):
            await signing_in.current(here.home, came.token)
