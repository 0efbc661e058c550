"""Who reads the public log, and holds all that one party lawfully has, cannot tell which of two worlds it lives in."""

import os
from pathlib import Path

import pytest

from tests.game import adversary, first_format
from tests.game.judging import by_chance
from tests.game.playing import CAST, Round, board
from tests.game.scenes import EXCHANGES

pytestmark = pytest.mark.asyncio

ROUNDS = int(os.environ.get("UNEFOIS_GAME_ROUNDS", "120"))
"""Of each exchange, so each party plays seven times as many; `make game` plays 1,000 of each."""
SOME = 60
"""In `make test`, ten of each exchange; a party that learns something there wins far more, too (`test_planted`)."""
TOLD = {("source", "alone")}
"""By the status API, which tells a source how many heard of each declaration of its own, and never which."""


def assert_sealed(rounds: list[Round], exchange: str) -> None:
    """By chance for every party; and in the first format every party wins every round."""
    for party in CAST:
        won = adversary.wins(rounds, party)
        print(
            f"{exchange:10} {party:32} sealed {won:4} first format {first_format.wins(rounds, party):4} {len(rounds)}"
        )
        assert len(rounds) == first_format.wins(rounds, party), (exchange, party)
        assert by_chance(won, len(rounds)) is ((party, exchange) not in TOLD), (exchange, party, won)


async def test_whatever_is_exchanged_between_two_citizens_no_party_tells_it_from_the_sealed_log(tmp_path: Path) -> None:
    exchanges = [name for name in EXCHANGES if name != "alone"]
    async with board(tmp_path) as made:
        assert_sealed(await made.play(exchanges, SOME, 1), "all")


@pytest.mark.long
@pytest.mark.proof
@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_in_many_rounds_no_party_tells_who_it_was(tmp_path: Path, exchange: str) -> None:
    async with board(tmp_path) as made:
        assert_sealed(await made.play([exchange], ROUNDS, 2), exchange)
        await made.here.step()
