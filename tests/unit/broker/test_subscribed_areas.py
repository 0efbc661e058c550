"""A code of no area is refused when it is asked for, and when something that was asked for before is approved."""

import pytest

from schemas.errors import Refused
from tests.world import CPAM, MOVED, TOWN, World

pytestmark = pytest.mark.asyncio


async def test_what_was_asked_before_codes_were_checked_is_not_approved(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = here.home.entropy(16)
    with monkeypatch.context() as before:
        before.setattr("broker.flow.subscribing._check_areas", lambda territories: None)
        async with here.home.store.begin() as tx:
            await here.home.subscribing.ask(
                tx,
                of,
                recipient=CPAM,
                event_type=MOVED,
                purpose=TOWN,
                fields=frozenset({"subject"}),
                territories=frozenset({"35", "20"}),
            )

    with pytest.raises(Refused) as refused:
        async with here.home.store.begin() as tx:
            await here.home.subscribing.approve(tx, of, "CGCT, art. L2121-29", here.clock())

    assert ("areas.unknown", "/territories") == (refused.value.code, refused.value.pointer)
