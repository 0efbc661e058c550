"""Correcting: she mistyped the number of the house; whoever heard the mistake hears the correction, and nobody else.

Refuses: nothing.
Keeps: who got what is read from the ledger, what it changed from the agencies' own systems.
"""

from broker.cli.demo import cast, systems
from broker.cli.demo.acts.declaring import Declared
from broker.cli.demo.acts.delivering import applied_by
from broker.cli.demo.cast import ADMINISTRATIONS
from broker.cli.demo.stage import Stage
from broker.flow.arrived import Accepted
from schemas.names import Reason


async def correct(stage: Stage, declared: Declared) -> Accepted:
    """Declare the correction, deliver it, compare who got it with who got the original."""
    home = stage.home
    original = declared.accepted.declaration_id
    accepted = await home.desk.declare(cast.PORTAL, cast.ADDRESS, cast.move("17"), corrects=original)
    await home.router.route()
    await stage.deliver()
    shown = {each.key: systems.held(stage, each.key).get("new_address", "") for each in ADMINISTRATIONS}
    stage.telling.table(
        (stage.words("allow.who"), stage.words("correct.now")),
        [(each.name[stage.words.language], shown[each.key]) for each in ADMINISTRATIONS if shown[each.key]],
    )
    first, second = await applied_by(stage, original), await applied_by(stage, accepted.declaration_id)
    stage.claim("correct.same", held=first == second and len(first) == 5, count=len(second))
    track = await home.tracking.track(accepted.declaration_id)
    left_out = {step.recipient: step.reason for step in track.steps if step.reason is not None}
    expected = {cast.by_key("energy").party: Reason.NOT_ORIGINAL_RECIPIENT}
    stage.claim("correct.nobody_else", held=left_out == expected, evidence=Reason.NOT_ORIGINAL_RECIPIENT.value)
    right = {key for key, address in shown.items() if "17" in address}
    stage.claim("correct.everywhere", held=right == {"rennes", "family", "health", "tax"}, count=len(right))
    moves = systems.rows(stage, "rennes")
    residences = systems.rows(stage, "tax")
    stage.claim("correct.rows", held=len(moves) == 1 and residences[-1]["rectifie"] is not None)
    return accepted
