"""What the sealed log does not hide, and does not claim to (README.md): the same adversary wins where worlds differ so.

Beside each stands what it does not win: the log alone never says who it was, only how many, when, and how far.
"""

from pathlib import Path

import pytest

from schemas.entry import EntryKind
from tests.game import adversary
from tests.game.judging import bounds, by_chance
from tests.game.planting import list_a_key
from tests.game.playing import CAST, WITHOUT_STATUS, board
from tests.game.scenes import FIELDS
from tests.world import CAF, CPAM, FAMILY, MINUTE, MOVED, VOICE, world

pytestmark = pytest.mark.asyncio

ROUNDS = 60
SURE = bounds(ROUNDS)[1] + 1


@pytest.mark.proof
async def test_how_many_deliveries_a_window_has_is_seen_by_everybody(tmp_path: Path) -> None:
    async with board(tmp_path) as made:
        rounds = await made.play(["more"], ROUNDS, 4)
    assert all(adversary.wins(rounds, party) >= SURE for party in CAST)


@pytest.mark.proof
async def test_a_source_that_asks_how_far_its_declaration_is_learns_how_many_heard(tmp_path: Path) -> None:
    async with board(tmp_path) as made:
        rounds = await made.play(["alone"], ROUNDS, 5)
    assert adversary.wins(rounds, "source") >= SURE
    assert all(by_chance(adversary.wins(rounds, party), ROUNDS) for party in CAST if party != "source")


@pytest.mark.proof
async def test_a_source_that_asks_how_far_learns_who_heard_where_one_recipient_is_known_to_be_away(
    tmp_path: Path,
) -> None:
    async with board(tmp_path) as made:
        made.slow = frozenset({CPAM})
        rounds = await made.play(["heard"], ROUNDS, 6)
    assert adversary.wins(rounds, "source") >= SURE
    assert all(by_chance(adversary.wins(rounds, party), ROUNDS) for party in (WITHOUT_STATUS, "portal", "citizen"))


@pytest.mark.proof
async def test_a_delivery_planned_in_a_window_of_its_own_is_followed_by_its_tag(tmp_path: Path) -> None:
    async with board(tmp_path) as made:
        rounds = await made.play(["quiet"], ROUNDS, 7)
    assert all(adversary.wins(rounds, party) >= SURE for party in ("another recipient", WITHOUT_STATUS))


async def test_deliveries_that_are_closed_in_one_window_with_one_fact_were_under_one_consent(tmp_path: Path) -> None:
    async with world(tmp_path, stepped=True) as here:
        given = await here.give(CAF, MOVED, FAMILY, FIELDS)
        for _ in range(3):
            await here.declare(MOVED, here.moved())
        here.clock.pass_(MINUTE)
        await here.home.consents.revoke(given.grant.id, VOICE)
        async with here.home.store.read() as tx:
            found = await here.home.openings.of_subject(tx, here.subject())
    newest = max(one.entry.window for one in found)
    kinds = sorted(one.entry.kind.value for one in found if one.entry.window == newest)
    assert [EntryKind.CLOSED.value] * 3 + [EntryKind.FACT.value] == kinds


@pytest.mark.proof
async def test_a_party_that_lists_a_key_between_two_acts_learns_nothing_of_them(tmp_path: Path) -> None:
    async with board(tmp_path) as made:
        made.between = lambda: list_a_key(made)
        rounds = await made.play(["alone"], ROUNDS, 8)
    assert all(one.entries[0].kind is EntryKind.OPEN for one in rounds)
    assert all(by_chance(adversary.wins(rounds, party), ROUNDS) for party in CAST if party != "source")
