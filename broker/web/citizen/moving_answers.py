"""Moving answers: what was typed into each page of "I am moving", read as a declaration.

    raw answers, step by step ──read_step──► values, or what is wrong ──record_of──► the record of the form

Refuses: a step whose answers are wrong; a record while a step is open.
Keeps: pure. What was typed is kept as it was typed, wrong or right; it is read anew each time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from broker.web.citizen import typed
from broker.web.citizen.places_typed import Town, Unclear, read_commune, read_country, read_town
from broker.web.citizen.typed import Wrong
from schemas.places import FRANCE, Place


def _(french: str) -> str:
    """Marks a sentence for the catalogue."""
    return french


Raw = Mapping[str, str]
CHOOSE: Final = _("Choisissez une réponse.")
NOBODY: Final = _("Ajoutez au moins une personne, ou répondez que vous déménagez seul.")
ADULT: Final = 18
PEOPLE: Final = 19
"""Who moves along, at most: with the citizen, as many as a form takes (`broker.flow.households`)."""
LINES: Final = 6
"""Of an address as another country writes it, at most."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "qui": ("qui",),
    "date": ("date",),
    "depart": ("depart", "code_postal", "commune", "commune_choisie", "pays"),
    "arrivee": ("arrivee",),
    "adresse": ("rue", "complement", "code_postal", "commune", "commune_choisie", "pays", "lignes", "ville"),
    "logement": ("logement",),
    "contact": ("telephone", "courriel"),
}
"""The fields of each page, in their order."""
PERSON: Final = (
    "prenoms",
    "nom",
    "naissance",
    "sexe",
    "lien",
    "ne_ou",
    "commune",
    "commune_choisie",
    "departement",
    "pays",
)
WHO: Final = ("seul", "foyer")
WHERE: Final = ("france", "etranger")
OCCUPANCY: Final = ("owner", "tenant", "subtenant", "hosted", "collective", "other", "")
RELATIONS: Final = ("child", "spouse", "partner", "parent", "sibling", "other_relative", "other")
SEXES: Final = ("female", "male")


@dataclass(frozen=True)
class Read:
    """A page as it was read: its values where nothing is wrong, and the places to choose from, by field."""

    values: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()
    offers: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)


class _Reading:
    """Reads the fields of one page, and gathers what is wrong with each."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.wrong: list[Wrong] = []
        self.offers: dict[str, tuple[Place, ...]] = {}

    def of(self, read: Callable[[], Any]) -> Any:
        """What this reads; None where it is wrong."""
        try:
            return read()
        except Wrong as wrong:
            self.wrong.append(wrong)
        except Unclear as unclear:
            self.wrong.append(unclear.wrong)
            self.offers[unclear.wrong.name] = unclear.offers
        return None

    def choice(self, name: str, known: tuple[str, ...]) -> str | None:
        """One of these."""
        told = self.raw.get(name)
        if told in known:
            return told
        self.wrong.append(Wrong(name, CHOOSE))
        return None

    def done(self, **values: Any) -> Read:
        """The page."""
        return Read({} if self.wrong else values, tuple(self.wrong), self.offers)


def steps_of(answers: Mapping[str, Raw]) -> list[str]:
    """The pages to go through, in their order; it depends on who moves."""
    household = answers.get("qui", {}).get("qui") == "foyer"
    return ["qui", *(["foyer"] if household else []), "date", "depart", "arrivee", "adresse", "logement", "contact"]


def read_step(step: str, answers: Mapping[str, Raw], people: list[Raw], today: date) -> Read:
    """One page. `people`: who was added so far, for the page of the household."""
    raw = answers.get(step, {})
    if step == "foyer":
        return Read(wrong=() if people else (Wrong("ajouter", NOBODY),))
    reading = _Reading(raw)
    if step == "date":
        return reading.done(day=reading.of(lambda: typed.read_day("date", raw.get("date", ""), today)))
    if step == "adresse":
        return _address(reading, abroad=answers.get("arrivee", {}).get("arrivee") == "etranger")
    if step == "depart":
        return _left(reading)
    if step == "contact":
        return _contact(reading)
    known = {"qui": WHO, "arrivee": WHERE, "logement": OCCUPANCY}[step]
    return reading.done(choice=reading.choice(step, known))


def _left(reading: _Reading) -> Read:
    raw = reading.raw
    where = reading.choice("depart", WHERE)
    if where == "france":
        return reading.done(town=reading.of(lambda: read_town(raw)), country=FRANCE)
    if where == "etranger":
        country = reading.of(lambda: read_country("pays", raw.get("pays", "")))
        return reading.done(town=None, country=country.code if country else None)
    return reading.done()


def _address(reading: _Reading, *, abroad: bool) -> Read:
    raw = reading.raw
    if abroad:
        country = reading.of(lambda: read_country("pays", raw.get("pays", "")))
        lines = reading.of(lambda: _lines(raw.get("lignes", "")))
        city = reading.of(lambda: typed.read_text("ville", raw.get("ville", ""), 100))
        return reading.done(country=country, lines=lines, city=city)
    street = reading.of(lambda: typed.read_street("rue", raw.get("rue", "")))
    more = raw.get("complement", "")
    dwelling = reading.of(lambda: typed.read_text("complement", more, 100)) if more else None
    return reading.done(street=street, dwelling=dwelling, town=reading.of(lambda: read_town(raw)))


def _lines(told: str) -> list[str]:
    """An address as another country writes it: people type lines, or commas."""
    parts = [each.strip() for each in told.split(",") if each.strip()]
    if not parts:
        raise Wrong("lignes", typed.MISSING)
    if len(parts) > LINES:
        raise Wrong("lignes", typed.MANY_LINES, {"limit": LINES})
    return [typed.read_text("lignes", each, 100) for each in parts]


def _contact(reading: _Reading) -> Read:
    phone, email = reading.raw.get("telephone", ""), reading.raw.get("courriel", "")
    return reading.done(
        phone=reading.of(lambda: typed.read_phone("telephone", phone)) if phone else None,
        email=reading.of(lambda: typed.read_email("courriel", email)) if email else None,
    )


# ── somebody who moves along ────────────────────────────────────────────────────────────────────────────────────────


def read_person(raw: Raw, today: date) -> Read:
    """A person of the household: `identity` as a record has it, `relation`, `minor`."""
    reading = _Reading(raw)
    given = reading.of(lambda: typed.read_given_names("prenoms", raw.get("prenoms", "")))
    family = reading.of(lambda: typed.read_name("nom", raw.get("nom", "")))
    born = reading.of(lambda: typed.read_day("naissance", raw.get("naissance", ""), today, birth=True))
    sex = reading.choice("sexe", SEXES)
    relation = reading.choice("lien", RELATIONS)
    place, country = _birth(reading)
    identity = {
        "family_name": family,
        "given_names": given,
        "birthdate": None if born is None else born.isoformat(),
        "gender": sex,
        "birthplace": None if place is None else place.code,
        "birthcountry": country,
    }
    return reading.done(identity=identity, relation=relation, minor=born is not None and is_minor(born, today))


def _birth(reading: _Reading) -> tuple[Place | None, str | None]:
    raw = reading.raw
    where = reading.choice("ne_ou", WHERE)
    if where == "etranger":
        country = reading.of(lambda: read_country("pays", raw.get("pays", "")))
        return None, None if country is None else country.code
    if where == "france":
        department = raw.get("departement", "").upper()
        return reading.of(lambda: read_commune(raw, "commune", f"{department}000"[:5])), FRANCE
    return None, None


def is_minor(born: date, today: date) -> bool:
    """Whether somebody born then has not yet had their eighteenth birthday."""
    return (today.year - born.year, (today.month, today.day) >= (born.month, born.day)) < (ADULT, True)


# ── the record ──────────────────────────────────────────────────────────────────────────────────────────────────────


def record_of(answers: Mapping[str, Raw], people: list[Raw], today: date) -> dict[str, Any]:
    """The fields of the move that the form fills in; what may be null and was not told is left out.

    Every page has to be right (`read_step`).
    """
    read = {step: read_step(step, answers, people, today).values for step in steps_of(answers)}
    left, choice = read["depart"], read["logement"]["choice"]
    members = [read_person(each, today).values for each in _along(answers, people)]
    town: Town | None = left["town"]
    return {
        "effective_date": read["date"]["day"].isoformat(),
        "old_commune": None if town is None else town.place.code,
        "old_country": left["country"],
        **_new_address(read["adresse"]),
        "household": [{"identity": dict(one["identity"]), "relation": one["relation"]} for one in members],
        "occupants": 1 + len(members),
        "occupancy": choice or None,
        "phone": read["contact"]["phone"],
        "email": read["contact"]["email"],
        "vehicles": [],
    }


def _along(answers: Mapping[str, Raw], people: list[Raw]) -> list[Raw]:
    return people if "foyer" in steps_of(answers) else []


def _new_address(told: Mapping[str, Any]) -> dict[str, Any]:
    if "lines" in told:
        country: Place = told["country"]
        return {
            "new_address": {"city": told["city"], "country": country.code, "lines": told["lines"]},
            "new_commune": None,
            "new_country": country.code,
        }
    number, repetition, street = told["street"]
    town: Town = told["town"]
    address = {
        "dwelling": told["dwelling"],
        "housenumber": number,
        "repetition": repetition,
        "street": street if number is not None else None,
        "locality": street if number is None else None,
        "postcode": town.postcode,
        "city": town.city,
        "commune": town.place.code,
        "country": FRANCE,
        "lines": [],
    }
    return {"new_address": address, "new_commune": town.place.code, "new_country": FRANCE}
