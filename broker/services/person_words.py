"""Person words: how the sections of an export are called, for a person, on the command line and in the PDF.

Refuses: nothing. Keeps: each section of `person_rows` has its two names; a test looks.
"""

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "consents": ("versions de consentements", "versions of consents"),
    "objections": ("oppositions", "objections"),
    "submissions": ("dépôts", "submissions"),
    "declarations": ("déclarations", "declarations"),
    "deliveries": ("transmissions", "deliveries"),
    "withholdings": ("non transmis", "withheld"),
    "repairs": ("numéros ajoutés", "numbers added"),
    "retractions": ("retraits de déclarations", "declarations taken back"),
    "dead_letters": ("lettres mortes", "dead letters"),
    "representations": ("représentations", "representations"),
    "acted_for": ("déclarations faites pour autrui", "declarations made for somebody"),
    "names": ("noms rapprochés", "linked names"),
    "households": ("formulaires à plusieurs", "forms of several people"),
    "channels": ("adresses", "addresses"),
    "messages": ("messages", "messages"),
    "sessions": ("connexions", "sessions"),
    "accounts": ("identifiants de connexion", "sign-in identifiers"),
    "codes": ("codes de connexion", "sign-in codes"),
    "told_already": ("déclarations reconnues", "declarations that are known again"),
    "drafts": ("brouillons", "drafts"),
    "entries": ("entrées du registre", "entries of the ledger"),
}
"""In French and English."""
GONE: Final[Mapping[str, tuple[str, str]]] = {
    **NAMES,
    "consents": ("consentements en vigueur", "consents in force"),
    "declarations": ("octets scellés de déclarations", "sealed bytes of declarations"),
    "deliveries": ("octets scellés de transmissions", "sealed bytes of deliveries"),
    "entries": ("ouvertures d'entrées du registre", "openings of entries of the ledger"),
}
"""What goes of each."""
