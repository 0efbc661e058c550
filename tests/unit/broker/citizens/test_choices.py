"""What a citizen allows: under the text and of the version that were shown, and ended whenever they say so."""

import asyncio
import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from broker.citizens.citizen import Helper
from broker.services.citizens import choices, history
from broker.services.citizens.choices import Wish
from consent import basis
from consent.basis import LONGEST_YEARS
from schemas.errors import Refused
from schemas.names import GrantId, Instant, Purpose, from_rfc3339
from tests.unit.broker.citizens.people import citizen
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, RENNES, YANN, World

pytestmark = pytest.mark.asyncio
WISH = Wish(recipient=CAF, event_type=MOVED, purpose=FAMILY, fields=frozenset({"subject", "new_address"}))


async def given(here: World, wish: Wish = WISH, **who: Any) -> dict[str, Any]:
    """What is answered to somebody who has read the text and agrees."""
    me = citizen(here, **who)
    shown = await choices.preview(here.home, me, wish)
    agreed = replace(wish, until=from_rfc3339(shown["until"]))
    return await choices.give(here.home, me, agreed, shown["text_sha256"])


def id_of(told: dict[str, Any]) -> GrantId:
    """The grant of an answer."""
    return GrantId(bytes.fromhex(told["grant"]["id"].replace("-", "")))


async def refusal(work: Any) -> tuple[str, str]:
    """Code and pointer of what it is refused with."""
    with pytest.raises(Refused) as fault:
        await work
    return fault.value.code, fault.value.pointer


async def test_what_is_offered_is_what_approved_administrations_ask_for_and_a_consent_can_allow(here: World) -> None:
    told = await choices.offers(here.home, citizen(here), MOVED)
    by_party = {one["recipient"]["party"]: one for one in told["offers"]}

    assert {CAF, CPAM, RENNES} == set(by_party)
    assert "consent" in by_party[CAF]["bases"]
    assert [] == by_party[CAF]["grants"]
    made = await given(here)
    again = await choices.offers(here.home, citizen(here), MOVED)
    assert [made["grant"]["id"]] == {one["recipient"]["party"]: one for one in again["offers"]}[CAF]["grants"]
    assert (
        []
        == {
            one["recipient"]["party"]: one
            for one in (await choices.offers(here.home, citizen(here, YANN), MOVED))["offers"]
        }[CAF]["grants"]
    )


async def test_offers_come_in_pages_that_together_are_all_of_them(here: World) -> None:
    me, found, after = citizen(here), [], None
    for _ in range(3):
        page = await choices.offers(here.home, me, MOVED, after=after, limit=1)
        found += [one["recipient"]["party"] for one in page["offers"]]
        after = None if page["next"] is None else bytes.fromhex(page["next"].replace("-", ""))

    assert after is None
    assert {CAF, CPAM, RENNES} == set(found)


async def test_a_commune_that_does_not_hear_of_a_place_is_not_offered_for_it(here: World) -> None:
    told = await choices.offers(here.home, citizen(here), MOVED, territories=["29019"])

    assert {CAF, CPAM} == {one["recipient"]["party"] for one in told["offers"]}


@pytest.mark.parametrize("language", ["fr", "en"])
async def test_the_grant_holds_the_digest_of_the_very_text_that_was_shown(here: World, language: Any) -> None:
    shown = await choices.preview(here.home, citizen(here, language=language), WISH)
    told = await given(here, language=language)

    assert sha256(shown["text"].encode()).hexdigest() == told["grant"]["text_sha256"] == shown["text_sha256"]
    assert shown["text"] == told["text"]
    assert json.loads(told["receipt"])
    (grant,) = await choices.mine(here.home, citizen(here, language=language))
    assert shown["text"] == grant["text"]


async def test_who_agrees_to_another_text_than_the_one_that_counts_agrees_to_nothing(here: World) -> None:
    me = citizen(here)
    shown = await choices.preview(here.home, me, WISH)
    agreed = replace(WISH, until=from_rfc3339(shown["until"]))

    for wish in (
        replace(agreed, fields=frozenset({"subject"})),
        replace(agreed, until=Instant(here.clock() + DAY)),
        replace(agreed, once=True),
    ):
        assert ("citizens.other-text", "/text_sha256") == await refusal(
            choices.give(here.home, me, wish, shown["text_sha256"])
        )
    assert ("citizens.other-text", "/text_sha256") == await refusal(
        choices.give(here.home, citizen(here, language="en"), agreed, shown["text_sha256"])
    )
    assert [] == await choices.mine(here.home, me)


async def test_what_nobody_asks_for_cannot_be_allowed(here: World) -> None:
    me = citizen(here)
    for wish, pointer in (
        (replace(WISH, fields=frozenset({"subject", "phone"})), "/fields"),
        (replace(WISH, purpose=HEALTH), "/recipient"),
        (replace(WISH, purpose=Purpose("no-purpose")), "/recipient"),
    ):
        assert ("citizens.not-offered", pointer) == await refusal(choices.preview(here.home, me, wish))
    late = Instant(basis.longest_end(here.clock()) + 1)
    for until in (here.clock(), late):
        assert ("citizens.until", "/until") == await refusal(choices.preview(here.home, me, replace(WISH, until=until)))
    assert LONGEST_YEARS == 2


async def test_the_same_allowed_twice_is_one_grant_also_where_both_come_at_once(here: World) -> None:
    first = await given(here)
    second = await given(here)
    both = await asyncio.gather(given(here, person=YANN), given(here, person=YANN))

    assert (False, True) == (first["repeated"], second["repeated"])
    assert first["grant"]["id"] == second["grant"]["id"]
    assert [False, True] == sorted(one["repeated"] for one in both)
    assert 1 == len({one["grant"]["id"] for one in both})


async def test_two_browsers_on_one_consent_the_second_is_told_that_it_has_changed(here: World) -> None:
    grant, me = id_of(await given(here)), citizen(here)

    paused = await choices.pause(here.home, me, grant, 1)
    assert ("paused", 2) == (paused["grant"]["status"], paused["grant"]["version"])
    assert "pause" in paused["next"]["fr"]
    for work in (
        choices.pause(here.home, me, grant, 1),
        choices.narrow(here.home, me, grant, 1, frozenset({"subject"})),
        choices.resume(here.home, me, grant, 1),
    ):
        assert ("citizens.changed-meanwhile", "/version") == await refusal(work)
    resumed = await choices.resume(here.home, me, grant, 2)
    narrowed = await choices.narrow(here.home, me, grant, 3, frozenset({"subject"}))
    assert (3, 4) == (resumed["grant"]["version"], narrowed["grant"]["version"])
    assert ["subject"] == [one["name"] for one in narrowed["grant"]["fields"]]
    await here.step()


async def test_an_end_counts_whichever_version_was_read_and_said_again_it_is_over(here: World) -> None:
    grant, me = id_of(await given(here)), citizen(here)
    await choices.pause(here.home, me, grant, 1)

    ended, again = await choices.end(here.home, me, grant), await choices.end(here.home, me, grant)

    assert ("revoked", False, "revoked", True) == (
        ended["grant"]["status"],
        ended["repeated"],
        again["grant"]["status"],
        again["repeated"],
    )
    assert [] == await choices.mine(here.home, me)
    assert ["revoked"] == [one["status"] for one in await choices.mine(here.home, me, ended=True)]
    assert 3 == len((await choices.one(here.home, me, grant))["versions"])


async def test_every_change_says_what_was_shown_and_holds_its_digest(here: World) -> None:
    grant, me = id_of(await given(here)), citizen(here)
    actions = {one["action"]: one for one in (await choices.one(here.home, me, grant))["actions"]}
    assert {"pause", "narrow", "end"} == set(actions)

    told = await choices.pause(here.home, me, grant, 1)
    assert actions["pause"]["text_sha256"] == told["text_sha256"] == sha256(told["text"].encode()).hexdigest()


async def test_end_all_ends_what_is_the_citizens_own_and_leaves_what_is_the_laws(here: World) -> None:
    await given(here)
    await given(here, replace(WISH, recipient=CPAM, purpose=HEALTH))
    await given(here, person=YANN)
    law = await here.give(
        RENNES, MOVED, Purpose("local-services"), ("subject",), basis=basis.law("CGCT, art. L2121-29")
    )

    ended = await choices.end_all(here.home, citizen(here))

    assert 2 == len(ended)
    assert [law.grant.id.hex()] == [one["id"].replace("-", "") for one in await choices.mine(here.home, citizen(here))]
    assert [] == (await choices.mine(here.home, citizen(here)))[0]["actions"]
    assert 1 == len(await choices.mine(here.home, citizen(here, YANN)))
    assert [] == await choices.end_all(here.home, citizen(here))
    await here.step()


async def test_another_persons_grant_is_as_unknown_as_one_that_never_was(here: World) -> None:
    grant, never = id_of(await given(here)), GrantId(bytes(16))
    yann = citizen(here, YANN)

    for of in (grant, never):
        for work in (
            choices.one(here.home, yann, of),
            choices.pause(here.home, yann, of, 1),
            choices.resume(here.home, yann, of, 1),
            choices.narrow(here.home, yann, of, 1, frozenset({"subject"})),
            choices.end(here.home, yann, of),
            history.receipt(here.home, yann, of),
        ):
            assert ("consents.unknown-grant", "/grant") == await refusal(work)
    assert "active" == (await choices.one(here.home, citizen(here), grant))["status"]


async def test_who_helped_is_in_the_grant_and_is_no_name(here: World) -> None:
    helper = Helper("agent-7", frozenset({"LOGEMENT"}))

    told = await given(here, helper=helper)

    assert ("agent-7", "online") == (told["grant"]["given_by"], told["grant"]["channel"])


async def test_what_is_paused_waits_and_goes_out_when_it_is_resumed(here: World) -> None:
    grant, me = id_of(await given(here)), citizen(here)
    await choices.pause(here.home, me, grant, 1)
    await here.declare(MOVED, here.moved())
    assert [] == await here.take(CAF)

    await choices.resume(here.home, me, grant, 2)

    assert 1 == len(await here.take(CAF))
    await here.step()
