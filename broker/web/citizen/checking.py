"""Checking: the page in which anybody checks a receipt, in their own browser, by a script that talks to nobody.

Refuses: nothing; the file stays in the browser.
Keeps: the page's policy lets it open no connection and send no form. Without JavaScript it says how else a receipt is
checked.
"""

from typing import Any

from fastapi import APIRouter, Response

from broker.services.citizens import checking
from broker.web.citizen.rendering import PREFIX
from broker.web.citizen.visit import Visit, page
from schemas import receipt

routes = APIRouter()
PLACE = f"{PREFIX}/verifier"


async def check(visit: Visit) -> Response:
    """The page, with what the script needs."""
    found = await checking.means(visit.home)
    told = {
        "words": receipt.wording(),
        "directory": {"directory": found.directory, "note": found.note},
        "said": _said(visit),
    }
    return visit.page("check.html", silent=True, key=found.key, told=told)


def _said(visit: Visit) -> dict[str, Any]:
    """What the script says, in the visitor's language."""
    say = visit.words.say
    return {
        "no_file": say("Choisissez d'abord un fichier"),
        "no_file_what": say("Indiquez le reçu que vous avez téléchargé, puis vérifiez de nouveau."),
        "good": say("Ce reçu est authentique"),
        "good_what": say("Il est complet, et rien n'y a été changé. Voici ce qu'il prouve."),
        "others": say("Des témoins l'ont signé aussi : leurs signatures ne sont pas vérifiées ici."),
        "bad": say("Ce reçu ne prouve rien"),
        "bad_what": say(
            "Ce fichier n'est pas un reçu de ce service, ou il a été modifié. Téléchargez-le de nouveau depuis votre "
            "historique."
        ),
        "code": say("Ce qui ne va pas :"),
        "unchecked": say("Ce reçu n'a pas pu être vérifié ici"),
        "unchecked_what": say(
            "Votre navigateur ne sait pas vérifier cette signature, ou ce format est plus ancien. Cela ne veut pas "
            "dire que le reçu est bon, ni qu'il est mauvais : vérifiez-le avec la commande."
        ),
        "place": say("place dans le registre"),
        "recipient": say("destinataire"),
        "purpose": say("finalité"),
        "fields": say("informations"),
        "state": say("état"),
        "states": {
            "active": say("en vigueur"),
            "paused": say("suspendu"),
            "revoked": say("terminé"),
            "expired": say("expiré"),
        },
        "at": say("date"),
        "until": say("jusqu'au"),
        "never": say("sans fin"),
        "text": say("empreinte du texte montré (SHA-256)"),
    }


page(routes, PLACE, check, signed_in=False)
