"""Witnesses: a row that says that somebody cosigned opens nothing while nobody has."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.insider.watch import Watch
from tests.witnesses import made, witnessed
from tests.world import CAF, FAMILY, MINUTE, MOVED

pytestmark = [pytest.mark.asyncio, pytest.mark.databases]


async def made_up(watch: Watch, witness: str) -> None:
    """A line that no witness wrote, for every checkpoint that there is."""
    for one in await watch.hand.rows("ledger_checkpoints"):
        row = {"size": one["size"], "witness": witness, "line": "", "at": watch.here.clock()}
        await watch.hand.insert("cosignatures", row)


async def fresh(watch: Watch, _: str) -> None:
    """The checkpoints that wait are said to be of this minute."""
    for one in await watch.hand.rows("ledger_checkpoints"):
        await watch.hand.flip("ledger_checkpoints", {"size": one["size"]}, at=watch.here.clock())


ATTACKS: dict[str, Callable[[Watch, str], Awaitable[None]]] = {
    "cosignature: made up": made_up,
    "checkpoint: said to be fresh": fresh,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_keys_stay_closed_while_no_witness_has_seen_the_ledger_whatever_rows_say(
    watch: Watch, attack: str, tmp_path: Path
) -> None:
    here = watch.here
    await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.declare(MOVED, here.moved())
    await here.step()
    await watch.begins()
    here.clock.pass_(10 * MINUTE)

    with witnessed(tmp_path / "witness", here, stale_ms=5 * MINUTE) as cosigning:
        here.home.gate._cosigning = cosigning
        await watch.takes(CAF)
        assert set() == watch.gained
        before = await watch.hand.rows("ledger_checkpoints")
        await ATTACKS[attack](watch, made(tmp_path / "witness" / "0", 0).text)
        await watch.takes(CAF)
        await watch.hand.remove("cosignatures")
        await watch.hand.put("ledger_checkpoints", before)

    await watch.judge(attack)
