"""History: who opened what about the citizen, when, why; who was refused; who looked; and the proof of each.

Refuses: another's, as what never was.
Keeps: what is told is what the ledger holds; a proof downloads as a file, and is checked elsewhere (`checking`).
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Response

from broker.services.citizens import history
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.told import download, id_of, told
from broker.web.citizen.visit import Visit, page
from schemas import receipt
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import DeclarationId

routes = APIRouter()
PLACE: Final = f"{PREFIX}/historique"
WHAT: Final[Mapping[str, str]] = {
    "ouvert": history.OPENED,
    "refuse": history.WITHHELD,
    "consulte": history.LOOKED,
    "autorise": history.CONSENTS,
    "declare": history.DECLARED,
    "represente": history.ACTING,
}
"""The word in the address -> what is asked for."""


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


SAID: Final[Mapping[str, str]] = {
    "received": _("Votre déclaration est arrivée."),
    "corrected": _("Votre correction est arrivée."),
    "released": _("Cette administration a pu lire ces informations."),
    "applied": _("Elle a enregistré votre changement."),
    "rejected": _("Elle a refusé votre changement."),
    "answered": _("Elle a répondu sans l'enregistrer."),
    "withheld": _("Rien ne lui a été transmis."),
    "viewed": _("Votre dossier a été consulté."),
    "granted": _("Vous avez donné cette autorisation."),
    "changed": _("Vous avez changé cette autorisation."),
    "revoked": _("Vous avez mis fin à cette autorisation."),
    "expired": _("Cette autorisation est arrivée à sa fin."),
    "objected": _("Vous vous êtes opposé à cette loi."),
    "objection_withdrawn": _("Vous avez retiré votre opposition."),
    "retracted": _("Cette déclaration a été reprise."),
    "disclosed": _("Un auditeur a pu lire le registre de cette période."),
}
"""What a kind of fact means to the citizen; the ledger's own words for every other."""
BY_LAW: Final[Mapping[str, str]] = {
    "granted": _("Une loi prévoit que cette administration reçoive ces informations."),
    "changed": _("Ce que cette loi fait savoir a changé."),
    "revoked": _("Cette administration ne reçoit plus rien par cette loi."),
    "expired": _("Cette loi a cessé de s'appliquer."),
}
"""The same of what rests on a law."""
_OUTCOMES: Final = frozenset({FactKind.APPLIED.value, FactKind.REJECTED.value, FactKind.ANSWERED.value})


async def entries(visit: Visit) -> Response:
    """One page of it, the newest first."""
    word = visit.asked("quoi") if visit.asked("quoi") in WHAT else ""
    found = await history.events(visit.home, visit.who, what=WHAT.get(word), after=_after(visit))
    return visit.page(
        "history/entries.html",
        **told(visit),
        place=PLACE,
        word=word,
        events=[{**one, **_more(visit, one)} for one in found["events"]],
        next=found["next"],
        closed=found["closed"],
        first=not visit.asked("apres"),
    )


async def proof(visit: Visit) -> Response:
    """The ledger's receipt of one fact, as a file."""
    of = id_of(visit, "id", DeclarationId.parse, Refused("proofs.unknown-id", "/id"))
    kinds = {one.value: one for one in FactKind}
    kind = kinds.get(str(visit.request.path_params["fait"]))
    if kind is None:
        raise Refused("proofs.unknown-id", "/id")
    text = await history.proof(visit.home, visit.who, of, kind)
    return download(text.encode(), "text/plain; charset=utf-8", f"recu-{kind.value.replace('_', '-')}.txt")


def _after(visit: Visit) -> bytes | None:
    asked = visit.asked("apres")
    if not asked:
        return None
    try:
        return bytes.fromhex(asked)
    except ValueError:
        raise Refused("citizens.history-after", "/after") from None


def _more(visit: Visit, one: Mapping[str, Any]) -> dict[str, Any]:
    """What happened in a sentence, on which ground, and where its proof is; the outcome has a proof of its own."""
    meanings = receipt.wording()["meanings"]
    language = visit.words.language

    basis, _, article = (one["basis"] or "").partition(":")

    def said(kind: str) -> str:
        known = {**SAID, **(BY_LAW if basis == "law" else {})}
        return visit.words.say(known[kind]) if kind in known else f"{meanings[kind][language].capitalize()}."

    of = one["delivery"] or one["declaration"] or one["grant"]
    proofs = [one["kind"]] if of and one["entry"] else []
    if one["delivery"] and one["outcome"] in _OUTCOMES:
        proofs.append(one["outcome"])
    return {
        "happened": said(one["kind"]),
        "ended": None if one["outcome"] is None else said(one["outcome"]),
        "ground": basis,
        "article": article,
        "proofs": [{"of": of, "kind": each, "text": meanings[each][language]} for each in proofs],
    }


page(routes, PLACE, entries)
page(routes, f"{PLACE}/recu/{{id}}/{{fait}}", proof)
