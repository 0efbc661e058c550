"""People who act for others, in words for tests."""

from typing import Any

from broker.consents.representing import Changed
from broker.services import representations
from consent.representation import Measure
from schemas.names import PartyId
from tests.world import ELISE, YANN, World

LOU = ELISE | {"given_names": ["Lou"], "birthdate": "2016-05-02"}
"""Élise's daughter."""
TIM = ELISE | {"given_names": ["Tim"], "birthdate": "2019-01-09", "gender": "male"}
PROOF = "TJ Rennes 25/01234"


async def acts(
    here: World,
    measure: Measure = Measure.GUARDIANSHIP,
    *,
    by: dict[str, Any] = ELISE,
    by_source: PartyId | None = None,
    subject: dict[str, Any] = YANN,
    **more: Any,
) -> Changed:
    """`by` may act for `subject`."""
    told = {"representative": by, "subject": subject, "measure": measure.value, "proof": PROOF, "by": by_source, **more}
    return await representations.start(here.home, **told)


def by(here: World, declarant: dict[str, Any] = ELISE, subject: dict[str, Any] = YANN, **more: Any) -> dict[str, Any]:
    """A move that somebody declares for another."""
    return here.moved(subject, **{"declarant": declarant, "capacity": "guardian", **more})
