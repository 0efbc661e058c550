"""The kit itself: without an insider everybody gets what is theirs, nobody is alarmed; and the table is no refuge."""

from pathlib import Path

import pytest

from tests.insider.open import OPEN
from tests.insider.watch import Watch
from tests.world import CAF, FAMILY, MOVED, PORTAL

FOLDER = Path(__file__).parent


@pytest.mark.asyncio
@pytest.mark.databases
async def test_without_an_attack_the_rightful_party_gets_its_value_and_nothing_is_found(watch: Watch) -> None:
    await watch.here.give(CAF, MOVED, FAMILY, ["subject"])
    watch.restart()
    made = await watch.here.home.desk.declare(PORTAL, MOVED, watch.here.moved())
    watch.allow(CAF, made.declaration_id, "subject")

    await watch.lets(watch.here.home.router.route())
    await watch.takes(CAF)
    await watch.lets(watch.here.home.ledger.sequence_unfinished())

    assert (1, 1, set()) == (watch.rightly, await watch.released(), watch.gained)
    assert (False, False, False) == (watch.noticed, watch.alarmed(), await watch.found())


@pytest.mark.parametrize("attack", OPEN)
def test_every_open_attack_has_its_test(attack: str) -> None:
    told = "".join(file.read_text("utf-8") for file in FOLDER.glob("test_*.py"))

    whole, (kind, _, detail) = attack.removesuffix(", with its delivery"), attack.partition(": ")
    assert f'"{whole}"' in told or (f'"{kind}: {{' in told and f'"{detail}"' in told)
