"""The game is not blind: a defence that is taken away is seen by the same adversary, far beyond chance."""

from pathlib import Path

import pytest

from tests.game import adversary
from tests.game.judging import bounds, by_chance
from tests.game.planting import LEAKS
from tests.game.playing import CAST, board

pytestmark = pytest.mark.asyncio

ROUNDS = 200


@pytest.mark.long
@pytest.mark.proof
@pytest.mark.parametrize("leak", LEAKS)
async def test_a_planted_leak_is_won_by_who_can_use_it_and_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    plant, exchange, winner, blind = LEAKS[leak]
    async with board(tmp_path) as made:
        plant(monkeypatch, made)
        rounds = await made.play([exchange], ROUNDS, 3)
    won = adversary.wins(rounds, winner)
    print(f"{leak:28} {winner:18} {won:4}, {[adversary.wins(rounds, party) for party in CAST]} of {ROUNDS}")
    assert won > bounds(ROUNDS)[1], (leak, winner, won)
    assert not blind or by_chance(adversary.wins(rounds, blind), ROUNDS)


async def test_chance_is_what_a_fair_coin_may_do_but_once_in_a_million() -> None:
    assert (423, 577) == bounds(1_000)
    assert (0, 20) == bounds(20)
    assert (1, 20) == bounds(21)
