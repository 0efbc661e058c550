"""What the broker writes into the ledger of its own accord, so that an auditor can tell what stood when."""

import pytest

from schemas.facts import FactKind
from schemas.names import Reason
from tests.world import CAF, FAMILY, MOVED, VOICE, World

pytestmark = pytest.mark.asyncio


async def test_while_a_consent_is_paused_the_facts_of_its_newest_version_say_so(here: World) -> None:
    given = await here.give(CAF, MOVED, FAMILY, ["subject", "new_address", "household"])
    consents, of = here.home.consents, given.grant.id
    await consents.pause(of, VOICE)
    await consents.narrow(of, frozenset({"subject", "new_address"}), VOICE)
    await consents.resume(of, VOICE)
    await consents.revoke(of, VOICE)

    told = await here.entries(FactKind.CHANGED, FactKind.REVOKED)
    assert [Reason.PAUSED, Reason.PAUSED, None, None] == [facts.reason for facts in told]
