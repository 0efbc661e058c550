"""Giving: allowing an administration something: of which kind, which administration, which information; then the exact
text; then it is done.

Refuses: what no approved subscription asks for; agreement to another text than the one that would count now, which is
shown instead.
Keeps: nothing is allowed before the page with the exact text, its SHA-256 and its end was sent. Addresses name types,
subscriptions and fields of the public catalogue, and nobody.
"""

from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Response

from broker.services.citizens import choices
from broker.services.citizens.choices import Wish
from broker.web.citizen.grants import ONE
from broker.web.citizen.rights import PLACE
from broker.web.citizen.told import told
from broker.web.citizen.visit import Visit, page
from schemas.errors import Refused
from schemas.names import EventType, PartyId, Purpose, from_rfc3339

routes = APIRouter()
GIVE: Final = f"{PLACE}/autoriser"
_OTHER: Final = "citizens.other-text"


async def kinds(visit: Visit) -> Response:
    """Of which kind of declaration."""
    found: list[dict[str, Any]] = []
    for event in visit.home.catalogue.newest:
        if (await choices.offers(visit.home, visit.who, event.event_type, limit=1))["offers"]:
            found.append({"type": event.event_type, "label": {**event.label}})
    return visit.page("rights/kinds.html", **told(visit), place=PLACE, give=GIVE, kinds=found)


async def who(visit: Visit) -> Response:
    """Which administration, of those that ask for this kind."""
    found = await _offers(visit)
    return visit.page("rights/who.html", **told(visit), place=PLACE, give=GIVE, offers=found)


async def what(visit: Visit) -> Response:
    """Which information, and whether once."""
    return visit.page("rights/what.html", **told(visit), place=PLACE, give=GIVE, offer=await _offer(visit), empty=False)


async def check(visit: Visit) -> Response:
    """The exact text, before it is agreed to."""
    return await _checked(visit, await _offer(visit), _asked_fields(visit), visit.asked("fois") == "une")


async def give(visit: Visit) -> Response:
    """Allow it. Sent twice, it is one; where the text has changed since, the new one is shown."""
    offer = await _offer(visit)
    fields, once = frozenset(visit.form.get("champs", [])), visit.sent("fois") == "une"
    until = from_rfc3339(visit.sent("fin"))
    wish = _wish(offer, fields, once=once)
    try:
        found = await choices.give(visit.home, visit.who, replace(wish, until=until), visit.sent("empreinte"))
    except Refused as fault:
        if fault.code in (_OTHER, "citizens.until"):
            return await _checked(visit, offer, fields, once, changed=True)
        raise
    # Crash here: it stands; sent again, it is found, and is not given twice.
    return visit.go(f"{ONE}/{found['grant']['id']}?fait={'une-fois' if once else 'donner'}")


async def _checked(
    visit: Visit, offer: dict[str, Any], fields: frozenset[str], once: bool, *, changed: bool = False
) -> Response:
    if not fields:
        return visit.page("rights/what.html", 422, **told(visit), place=PLACE, give=GIVE, offer=offer, empty=True)
    shown = await choices.preview(visit.home, visit.who, _wish(offer, fields, once=once))
    named = [one for one in offer["fields"] if one["name"] in fields]
    values: dict[str, Any] = {"shown": shown, "fields": named, "once": once, "changed": changed}
    status = 409 if changed else 200
    return visit.page("rights/check.html", status, **told(visit), place=PLACE, give=GIVE, offer=offer, **values)


async def _offers(visit: Visit) -> list[dict[str, Any]]:
    kind = EventType(str(visit.request.path_params["type"]))
    found: list[dict[str, Any]] = []
    after: bytes | None = None
    while True:
        part = await choices.offers(visit.home, visit.who, kind, after=after)
        found += part["offers"]
        if part["next"] is None:
            return found
        after = bytes.fromhex(part["next"].replace("-", ""))


async def _offer(visit: Visit) -> dict[str, Any]:
    for one in await _offers(visit):
        if one["id"] == visit.request.path_params["offre"]:
            return one
    raise Refused("citizens.not-offered", "/recipient")


def _asked_fields(visit: Visit) -> frozenset[str]:
    return frozenset(visit.request.query_params.getlist("champs")[:200])


def _wish(offer: dict[str, Any], fields: frozenset[str], *, once: bool) -> Wish:
    return Wish(
        recipient=PartyId(offer["recipient"]["party"]),
        event_type=EventType(offer["event_type"]),
        purpose=Purpose(offer["purpose"]),
        fields=fields,
        once=once,
        by_choice="consent" not in offer["bases"],
    )


page(routes, GIVE, kinds)
page(routes, f"{GIVE}/{{type}}", who)
page(routes, f"{GIVE}/{{type}}/{{offre}}", what)
page(routes, f"{GIVE}/{{type}}/{{offre}}/relire", check)
page(routes, f"{GIVE}/{{type}}/{{offre}}/relire", give, "POST")
