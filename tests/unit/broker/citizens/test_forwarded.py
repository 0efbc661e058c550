"""A portal hands over what FranceConnect has signed for it: its own word, or another token, opens nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from broker.access.forwarded import NONCE_MS
from broker.access.identity_tokens import AGE_MS
from broker.lab.franceconnect.provider import Provider
from broker.services.citizens import signing_in
from broker.services.citizens.signing_in import SignedIn
from schemas.assurance import Assurance
from schemas.errors import Refused
from tests.franceconnect import PORTALS, PORTALS_BACK, Doors, doors, saying
from tests.world import CAF, PORTAL, World

pytestmark = pytest.mark.asyncio
KEY = b"token-id"


def at_portal(provider: Provider, nonce: str, person: str = "elise", client: str = PORTALS) -> dict[str, str]:
    """What the portal's own sign-in brings it."""
    redirect = PORTALS_BACK if client == PORTALS else "https://unefois.example/espace/connexion/retour"
    asked = {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": redirect,
        "scope": "openid identite_pivot",
        "acr_values": min(provider.door.levels),
        "state": "the-portals-own",
        "nonce": nonce,
    }
    back = provider.choose(provider.authorize(asked), person)
    code = back.partition("code=")[2].partition("&")[0]
    secret = "portal" if client == PORTALS else "a-secret-of-the-client"
    proof = {"client_id": client, "client_secret": secret}
    got = provider.token({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, **proof})
    return {"id_token": got["id_token"], "userinfo": provider.userinfo(f"Bearer {got['access_token']}")}


async def enter(them: Doors, nonce: str, tokens: dict[str, str], credential: bytes = KEY) -> SignedIn:
    """The portal brings it."""
    home = them.here.home
    return await signing_in.forwarded(home, PORTAL, credential, nonce=nonce, language="fr", **tokens)


async def refusal(them: Doors, nonce: str, tokens: dict[str, str], credential: bytes = KEY) -> tuple[str, object]:
    """How it is refused."""
    with pytest.raises(Refused) as caught:
        await enter(them, nonce, tokens, credential)
    return caught.value.code, caught.value.details.get("wrong")


async def test_who_signed_in_there_is_signed_in_here_for_this_portal_alone(here: World) -> None:
    them = doors(here)
    nonce, until = signing_in.nonce(here.home, PORTAL, KEY)

    came = await enter(them, nonce, at_portal(them.fc, nonce))

    assert here.clock() + NONCE_MS == until
    citizen = await signing_in.current(here.home, came.token, credential=KEY)
    assert (PORTAL, "Martin", Assurance.LOW) == (citizen.portal, citizen.identity.family_name, citizen.assurance)
    with pytest.raises(Refused, match="signed-out"):
        await signing_in.current(here.home, came.token)
    assert await signing_in.sign_out(here.home, came.token, credential=KEY) is None


async def test_it_is_the_same_account_as_on_our_own_pages(here: World) -> None:
    them = doors(here)
    ours = await them.enter("elise")
    nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)

    came = await enter(them, nonce, at_portal(them.fc, nonce))

    assert ours.citizen.subject == came.citizen.subject
    shown = await signing_in.sessions(here.home, ours.citizen)  # and the citizen sees it, and can end it
    assert {None, PORTAL} == {one.portal for one in shown}
    await signing_in.end(here.home, ours.citizen, came.citizen.session)
    with pytest.raises(Refused, match="signed-out"):
        await signing_in.current(here.home, came.token, credential=KEY)


async def test_at_franceconnect_plus_for_more(here: World) -> None:
    them = doors(here)
    nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)

    assert Assurance.SUBSTANTIAL == (await enter(them, nonce, at_portal(them.plus, nonce))).citizen.assurance


class TestTheNonce:
    async def test_counts_once(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        tokens = at_portal(them.fc, nonce)
        await enter(them, nonce, tokens)

        assert "citizens.nonce" == (await refusal(them, nonce, tokens))[0]
        assert "citizens.nonce" == (await refusal(them, nonce, at_portal(them.fc, nonce, "yann")))[0]

    async def test_is_not_used_up_by_what_was_refused(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        await refusal(them, nonce, at_portal(them.fc, "another-nonce-of-22-signs"))

        await enter(them, nonce, at_portal(them.fc, nonce))

    async def test_is_over_after_a_quarter_of_an_hour_to_the_millisecond(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        here.clock.pass_(NONCE_MS)

        assert "citizens.nonce" == (await refusal(them, nonce, at_portal(them.fc, nonce)))[0]

    async def test_is_for_one_portal_and_one_credential(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        tokens = at_portal(them.fc, nonce)

        assert "citizens.nonce" == (await refusal(them, nonce, tokens, b"another!"))[0]
        with pytest.raises(Refused, match="no-client"):
            await signing_in.forwarded(here.home, CAF, KEY, nonce=nonce, language="fr", **tokens)
        with pytest.raises(Refused, match="no-client"):
            signing_in.nonce(here.home, CAF, KEY)

    @pytest.mark.parametrize("made", ["", "é", "A" * 54, "the-portals-own-nonce-which-we-never-gave", "A" * 100_000])
    async def test_that_we_never_gave(self, here: World, made: str) -> None:
        them = doors(here)

        assert "citizens.nonce" == (await refusal(them, made, {"id_token": "a.b.c", "userinfo": "a.b.c"}))[0]

    async def test_with_its_end_moved(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        moved = ("B" if nonce[0] == "A" else "A") + nonce[1:]

        assert "citizens.nonce" == (await refusal(them, moved, at_portal(them.fc, moved)))[0]


class TestThePortal:
    async def test_cannot_keep_a_token_for_later(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        tokens = at_portal(them.fc, nonce)
        here.clock.pass_(AGE_MS)

        assert ("franceconnect.token", "exp") == await refusal(them, nonce, tokens)

    async def test_cannot_use_a_token_of_ours_or_of_anybody_else(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        tokens = at_portal(them.fc, nonce, client="ours-at-fc")

        assert ("franceconnect.token", "aud") == await refusal(them, nonce, tokens)

    async def test_cannot_put_anothers_facts_beside_a_token(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        tokens = at_portal(them.fc, nonce) | {"userinfo": at_portal(them.fc, nonce, "yann")["userinfo"]}

        assert ("franceconnect.token", "userinfo-sub") == await refusal(them, nonce, tokens)

    async def test_cannot_use_facts_as_a_token(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        facts = at_portal(them.fc, nonce)["userinfo"]

        assert "franceconnect.token" == (await refusal(them, nonce, {"id_token": facts, "userinfo": facts}))[0]

    async def test_cannot_bring_a_token_without_our_nonce(self, here: World) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)

        found = await refusal(them, nonce, at_portal(them.fc, "the-portals-own-nonce-of-42-characters-long"))
        assert ("franceconnect.token", "nonce") == found

    @pytest.mark.parametrize(
        ("wrong", "change"),
        [
            ("iss", lambda one, told: told.update(iss="https://evil.example")),
            ("signature", lambda one, told: told.update(iss=one.issuer.replace("/fc/", "/fcplus/"))),
        ],
    )
    async def test_cannot_choose_who_has_signed(
        self, here: World, wrong: str, change: Callable[[Provider, dict[str, Any]], None]
    ) -> None:
        them = doors(here, fc=saying("id", change))
        them.plus.kid = them.fc.kid
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)

        assert ("franceconnect.token", wrong) == await refusal(them, nonce, at_portal(them.fc, nonce))

    @pytest.mark.parametrize("token", ["", "a", "a.b.c", "a.b.c.d.e", "é.é.é", "e30.e30.", "." * 100_000])
    async def test_cannot_bring_nonsense(self, here: World, token: str) -> None:
        them = doors(here)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)

        assert "franceconnect.token" == (await refusal(them, nonce, {"id_token": token, "userinfo": token}))[0]

    async def test_signs_in_no_more_than_it_may_in_an_hour_and_another_is_not_held_up(self, here: World) -> None:
        them = doors(here, per_hour=2)
        for _ in range(2):
            nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
            await enter(them, nonce, at_portal(them.fc, nonce))
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)

        with pytest.raises(Refused) as caught:
            await enter(them, nonce, at_portal(them.fc, nonce))

        left = 3_600_000
        assert ("citizens.portal-limit", -(-left // 1000)) == (caught.value.code, caught.value.details["after"])
        await them.enter("yann")  # our own pages have no such limit
        here.clock.pass_(left)
        nonce, _ = signing_in.nonce(here.home, PORTAL, KEY)
        await enter(them, nonce, at_portal(them.fc, nonce))
