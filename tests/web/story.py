"""A story for the pages: Élise has moved; what became of it, who may hear what, what was refused, two laws."""

from dataclasses import dataclass
from uuid import UUID

from broker.services import parties, rules
from broker.services.citizens import choices, forms
from broker.services.citizens.choices import Wish
from schemas.names import GrantId, RuleId
from tests.citizens import sign_in
from tests.unit.broker.citizens.people import move
from tests.web.chromium import Town
from tests.world import CAF, CPAM, DAY, FAMILY, HEALTH, MOVED, PORTAL, RENNES, TOWN, VOICE, World

NAMES = {
    CAF: "Caisse d'allocations familiales d'Ille-et-Vilaine",
    CPAM: "Assurance maladie",
    RENNES: "Ville de Rennes",
    PORTAL: "Portail de Rennes Métropole",
}
ARTICLE = "Code de la sécurité sociale, art. L161-32-1"


@dataclass(frozen=True, slots=True)
class Story:
    """What pages are about: a consent that lives, one that has ended, a rule that one may object to and one without."""

    grant: GrantId
    over: GrantId
    objectable: RuleId
    firm: RuleId
    declared: str
    """A declaration that went out."""


async def lived(here: World) -> Story:
    """Élise's last month."""
    for party, name in NAMES.items():
        await parties.edit(here.home, party, {"name": name})
    rule = {"event_type": MOVED, "fields": ("subject", "new_address"), "article": ARTICLE}
    objectable = await rules.ask(here.home, recipient=CPAM, purpose=HEALTH, **rule)
    firm = await rules.ask(
        here.home,
        recipient=RENNES,
        purpose=TOWN,
        event_type=MOVED,
        fields=("subject",),
        article="Code général des collectivités territoriales, art. L2121-29",
        objection=False,
    )
    for one in (objectable, firm):
        await rules.approve(here.home, one.id)
    over = await here.give(CAF, MOVED, FAMILY, ["subject"])
    await here.home.consents.revoke(over.grant.id, VOICE)
    here.clock.pass_(4 * DAY)
    _, elise = await sign_in(here)
    wish = Wish(recipient=CAF, event_type=MOVED, purpose=FAMILY, fields=frozenset({"subject", "new_address"}))
    shown = await choices.preview(here.home, elise, wish)
    given = await choices.give(here.home, elise, wish, shown["text_sha256"])
    declared = await forms.declare(here.home, elise, move(here), forms.begin(here.home))
    await here.home.router.route()
    for party in (CAF, CPAM):
        await here.take(party)
    await here.step()
    return Story(GrantId.parse(given["grant"]["id"]), over.grant.id, objectable.id, firm.id, declared["declaration"])


def pages(story: Story) -> dict[str, str]:
    """Every page that one can look at without sending anything, by a name; those of a person."""
    rights = "/espace/autorisations"
    grant, over = UUID(bytes=bytes(story.grant)), UUID(bytes=bytes(story.over))
    may, firm = UUID(bytes=bytes(story.objectable)), UUID(bytes=bytes(story.firm))
    give = f"{rights}/autoriser"
    return {
        "home": "/espace",
        "rights": rights,
        "grant": f"{rights}/accord/{grant}",
        "grant-done": f"{rights}/accord/{grant}?fait=donner",
        "grant-over": f"{rights}/accord/{over}",
        "pause": f"{rights}/accord/{grant}/suspendre",
        "narrow": f"{rights}/accord/{grant}/reduire",
        "end": f"{rights}/accord/{grant}/arreter",
        "end-all": f"{rights}/tout-arreter",
        "law": f"{rights}/loi/{may}",
        "law-firm": f"{rights}/loi/{firm}",
        "object": f"{rights}/loi/{may}/opposition",
        "give-kind": give,
        "give-who": f"{give}/{MOVED}",
        "followed": "/espace/demarches",
        "followed-one": f"/espace/demarches/{story.declared}",
        "take-back": f"/espace/demarches/{story.declared}/annuler",
        "correct": f"/espace/demarches/{story.declared}/corriger",
        "history": "/espace/historique",
        "history-refused": "/espace/historique?quoi=refuse",
        "data": "/espace/mes-donnees",
        "erase": "/espace/mes-donnees/effacer",
        "sessions": "/espace/sessions",
        "move": "/espace/demenager",
        "check": "/espace/verifier",
        "accessibility": "/espace/accessibilite",
        "privacy": "/espace/donnees",
        "not-found": "/espace/nulle-part",
    }


OPEN = {
    "front": "/espace",
    "sign-in": "/espace/connexion",
    "signed-out": "/espace/connexion/fin",
    "check-anybody": "/espace/verifier",
}
"""Pages for whoever is not signed in."""


async def offer_of(there: Town) -> str:
    """The page on which one chooses what CAF hears of a move."""
    _, citizen = await there.sign_in()
    found = await choices.offers(there.here.home, citizen, MOVED)
    (one,) = [each for each in found["offers"] if each["recipient"]["party"] == CAF]
    return f"/espace/autorisations/autoriser/{MOVED}/{one['id']}"
