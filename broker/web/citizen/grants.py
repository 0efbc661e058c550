"""Grants: one consent or choice of the citizen: what it allows, pausing, resuming, narrowing and ending it, its proof.

Refuses: another's, as what never was; a change of a version that is not the newest: the page then shows the newest.
Keeps: what each change means stands before it, in the exact words that are recorded; an end always counts. The same
sent twice is done once.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Response

from broker.services.citizens import choices, history
from broker.services.citizens.words import NEXT
from broker.web.citizen.rights import PLACE
from broker.web.citizen.told import download, id_of, told
from broker.web.citizen.visit import Visit, page
from schemas.errors import Refused
from schemas.names import GrantId

routes = APIRouter()
ONE: Final = f"{PLACE}/accord"
ACTIONS: Final[Mapping[str, str]] = {"suspendre": "pause", "reprendre": "resume", "reduire": "narrow", "arreter": "end"}
"""The word in the address -> the action (`granted.ACTIONS`)."""
DONE: Final[Mapping[str, str]] = {
    "suspendre": "paused",
    "reprendre": "resumed",
    "reduire": "narrowed",
    "arreter": "ended",
    "donner": "given",
    "une-fois": "given-once",
}
_CHANGED: Final = "citizens.changed-meanwhile"


async def one(visit: Visit) -> Response:
    """One of them, with its history."""
    found = await choices.one(visit.home, visit.who, _grant(visit))
    done = DONE.get(visit.asked("fait"))
    means = None if done is None else NEXT[done]
    steps = {action: word for word, action in ACTIONS.items()}
    return visit.page("rights/grant.html", **told(visit), place=PLACE, one=ONE, grant=found, means=means, steps=steps)


async def asking(visit: Visit) -> Response:
    """Before a change: what it means."""
    return await _ask(visit)


async def change(visit: Visit) -> Response:
    """Do it. Another window's change in between is shown, and nothing is done."""
    word, of = _word(visit), _grant(visit)
    try:
        await _act(visit, ACTIONS[word], of)
    except Refused as fault:
        if fault.code == _CHANGED:
            return await _ask(visit, changed=True)
        if fault.code == "grant.no-fields":
            return await _ask(visit, empty=True)
        raise
    # Crash here: it is done and told in the ledger; sent again, the page says how it stands now.
    return visit.go(f"{ONE}/{visit.request.path_params['grant']}?fait={word}")


async def proof(visit: Visit) -> Response:
    """The signed receipt of the newest version, as a file."""
    text = await history.receipt(visit.home, visit.who, _grant(visit))
    return download(text.encode(), "application/json", "recu-autorisation.json")


async def _ask(visit: Visit, *, changed: bool = False, empty: bool = False) -> Response:
    word = _word(visit)
    found = await choices.one(visit.home, visit.who, _grant(visit))
    text = next((each for each in found["actions"] if each["action"] == ACTIONS[word]), None)
    status = 409 if changed else 422 if empty else 200
    values: dict[str, Any] = {"changed": changed, "empty": empty, "word": word, "action": text, "kept": _kept(visit)}
    return visit.page("rights/changing.html", status, **told(visit), place=PLACE, one=ONE, grant=found, **values)


async def _act(visit: Visit, action: str, of: GrantId) -> None:
    if action == "end":
        await choices.end(visit.home, visit.who, of)
    elif action == "narrow":
        kept = _kept(visit)
        if not kept:
            raise Refused("grant.no-fields", "/fields")
        await choices.narrow(visit.home, visit.who, of, _version(visit), frozenset(kept))
    elif action == "pause":
        await choices.pause(visit.home, visit.who, of, _version(visit))
    else:
        await choices.resume(visit.home, visit.who, of, _version(visit))


def _kept(visit: Visit) -> list[str]:
    return visit.form.get("garder", [])


def _version(visit: Visit) -> int:
    """The version that was shown; what is none is no version that there is."""
    told_ = visit.sent("version")
    return int(told_) if told_.isascii() and told_.isdigit() and len(told_) < 10 else 0


def _word(visit: Visit) -> str:
    word = str(visit.request.path_params["mot"])
    if word not in ACTIONS:
        raise Refused("api.not-found")
    return word


def _grant(visit: Visit) -> GrantId:
    return id_of(visit, "grant", GrantId.parse, Refused("consents.unknown-grant", "/grant"))


page(routes, f"{ONE}/{{grant}}", one)
page(routes, f"{ONE}/{{grant}}/recu", proof)
page(routes, f"{ONE}/{{grant}}/{{mot}}", asking)
page(routes, f"{ONE}/{{grant}}/{{mot}}", change, "POST")
