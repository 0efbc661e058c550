"""The game is not blind: a defence that is taken away is seen by the same adversary, far beyond chance."""

import os
from pathlib import Path

import pytest

from tests.game import adversary
from tests.game.judging import bounds, by_chance
from tests.game.planting import LEAKS
from tests.game.playing import CAST, board

pytestmark = pytest.mark.asyncio

PROOF = os.environ.get("UNEFOIS_PROOF") == "1"
ROUNDS = 200 if PROOF else 60
SURE = 200 if PROOF else 24
"""Where a guess is confirmed there is nothing to learn first."""


@pytest.mark.proof
@pytest.mark.parametrize("leak", LEAKS)
async def test_a_planted_leak_is_won_by_who_can_use_it_and_by_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    plant, exchange, winner, blind = LEAKS[leak]
    count = SURE if blind else ROUNDS
    async with board(tmp_path) as made:
        plant(monkeypatch, made)
        rounds = await made.play([exchange], count, 3)
    won = adversary.wins(rounds, winner)
    print(f"{leak:28} {winner:18} {won:4}, {[adversary.wins(rounds, party) for party in CAST]} of {count}")
    assert won > bounds(count)[1], (leak, winner, won)
    assert not blind or by_chance(adversary.wins(rounds, blind), count)


async def test_chance_is_what_a_fair_coin_may_do_but_once_in_a_million() -> None:
    assert (423, 577) == bounds(1_000)
    assert (0, 20) == bounds(20)
    assert (1, 20) == bounds(21)
