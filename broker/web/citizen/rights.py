"""Rights: who may hear what about the citizen: what they allow, what a law provides for; and objecting to it.

Refuses: what the services refuse, in plain words; another's, as what never was.
Keeps: a page that changes something says before what it means the next time, with the exact text and its SHA-256; what
was done is shown after a redirect, so that nothing happens twice.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Response

from broker.services.citizens import choices, laws
from broker.services.citizens.words import NEXT
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.told import id_of, told
from broker.web.citizen.visit import Visit, page
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import RuleId

routes = APIRouter()
PLACE: Final = f"{PREFIX}/autorisations"
DONE: Final = {"objecte": "objected", "retire": "objection-withdrawn", "tout": "ended"}
"""What the address says was done, and what it means (`words.NEXT`)."""


async def overview(visit: Visit) -> Response:
    """Everything that may hear of the citizen."""
    mine = await choices.mine(visit.home, visit.who, ended=True)
    by_law = await _all_rules(visit)
    return visit.page(
        "rights/overview.html",
        **told(visit),
        place=PLACE,
        living=[one for one in mine if one["basis"] != "law" and one["status"] in ("active", "paused")],
        over=[one for one in mine if one["basis"] != "law" and one["status"] not in ("active", "paused")],
        rules=by_law,
        done=visit.asked("fait") if visit.asked("fait") in DONE else "",
        means=NEXT,
        done_means=DONE,
    )


async def law(visit: Visit) -> Response:
    """One rule by law."""
    return visit.page("rights/law.html", **told(visit), place=PLACE, rule=await _rule(visit), done=_done(visit))


async def objecting(visit: Visit) -> Response:
    """Before an objection, or before it is taken back: what it means."""
    found = await _rule(visit)
    stands = _stands(found)
    if not stands and not _may_object(found):
        raise Refused("objections.not-provided", "/rule", article=found["article"])
    means = NEXT["objection-withdrawn" if stands else "objected"]
    return visit.page("rights/objecting.html", **told(visit), place=PLACE, rule=found, stands=stands, means=means)


async def object_to(visit: Visit) -> Response:
    """Object, or take the objection back, as the form says: sent twice, it is done once."""
    of = _rule_id(visit)
    back = visit.sent("quoi") == "retirer"
    await (laws.withdraw if back else laws.object_to)(visit.home, visit.who, of)
    # Crash here: the objection stands, and the page shows it; sent again, it changes nothing.
    return visit.go(f"{PLACE}/loi/{visit.request.path_params['rule']}?fait={'retire' if back else 'objecte'}")


async def ending_all(visit: Visit) -> Response:
    """Before everything ends: what that means."""
    mine = await choices.mine(visit.home, visit.who)
    living = [one for one in mine if one["basis"] != "law"]
    return visit.page("rights/ending_all.html", **told(visit), place=PLACE, living=living, means=NEXT["ended"])


async def end_all(visit: Visit) -> Response:
    """End every consent and choice; what was ended before stays so."""
    await choices.end_all(visit.home, visit.who)
    # Crash here: some have ended, each for itself; sent again, the others do.
    return visit.go(f"{PLACE}?fait=tout")


async def _all_rules(visit: Visit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: RuleId | None = None
    while True:
        part = await laws.by_law(visit.home, visit.who, after=after)
        found += part["rules"]
        if part["next"] is None:
            return found
        after = RuleId.parse(part["next"])


async def _rule(visit: Visit) -> dict[str, Any]:
    of = _rule_id(visit)
    for one in await _all_rules(visit):
        if RuleId.parse(one["id"]) == of:
            return one
    raise Refused("rules.unknown", "/rule")


def _rule_id(visit: Visit) -> RuleId:
    return id_of(visit, "rule", RuleId.parse, Refused("rules.unknown", "/rule"))


def _stands(rule: dict[str, Any]) -> bool:
    return bool(rule["objection"] and rule["objection"]["stands"])


def _may_object(rule: dict[str, Any]) -> bool:
    return bool(rule["ground"]["objection"])


def _done(visit: Visit) -> Mapping[Language, str] | None:
    of = DONE.get(visit.asked("fait"))
    return None if of is None else NEXT[of]


page(routes, PLACE, overview)
page(routes, f"{PLACE}/loi/{{rule}}", law)
page(routes, f"{PLACE}/loi/{{rule}}/opposition", objecting)
page(routes, f"{PLACE}/loi/{{rule}}/opposition", object_to, "POST")
page(routes, f"{PLACE}/tout-arreter", ending_all)
page(routes, f"{PLACE}/tout-arreter", end_all, "POST")
