"""Acknowledgement paper: an acknowledgement as a PDF, in French or in English.

Refuses: to show a value that the document does not have. Keeps: what is proven, and what is only said, is told apart.
"""

from collections.abc import Mapping
from typing import Final

from broker.services.papers.pdf import Document
from broker.shapes import Json
from schemas.messages import Language

_W: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("Accusé de réception d'une déclaration", "Acknowledgement of a declaration"),
    "number": ("Numéro : {number}", "Number: {number}"),
    "received": ("Reçue le {at}, déposée auprès de {source}.", "Received at {at}, handed in at {source}."),
    "type": ("Objet : {label}.", "About: {label}."),
    "content": ("Ce qui a été déclaré", "What was declared"),
    "field": ("champ", "field"),
    "value": ("valeur, telle qu'elle a été remise pour cet accusé", "value, as it was given for this paper"),
    "no-values": (
        "Les valeurs ne figurent pas ici : ce courtier ne peut pas les lire.",
        "Values are not on it: this broker cannot read them.",
    ),
    "stated": (
        "Les valeurs sont celles du fichier remis pour cet accusé ; le courtier ne peut pas les comparer.",
        "Values are those of the file that was given for this paper; the broker cannot compare them.",
    ),
    "recipients": ("À qui elle est transmise", "To whom it is handed over"),
    "who": ("administration", "administration"),
    "for": ("finalité", "purpose"),
    "fields": ("champs", "fields"),
    "ground": ("fondement", "ground"),
    "not-told": ("À qui elle n'est pas transmise, et pourquoi", "To whom it is not handed over, and why"),
    "why": ("pourquoi", "why"),
    "contact": ("Contact : {name}, {address}, {contact}.", "Contact: {name}, {address}, {contact}."),
    "proof": (
        "Le reçu signé dans le fichier JSON de cet accusé prouve le numéro, la source, l'instant et le type ;"
        " vérifiez-le par `unefois receipt verify`.",
        "The signed receipt in this paper's JSON file proves number, source, instant and type; check it by"
        " `unefois receipt verify`.",
    ),
}


def paper(told: Json, language: Language) -> bytes:
    """The PDF of an acknowledgement."""
    which = 0 if language == "fr" else 1

    def say(what: str, **parts: str) -> str:
        return _W[what][which].format(**parts)

    made = "".join(letter for letter in told["made_at"][:19] if letter.isdigit()) + "Z"
    document = Document(say("title"), language, made)
    document.paragraph(say("number", number=told["number"]))
    document.paragraph(say("received", at=told["received_at"], source=_name(told["source"])))
    document.paragraph(say("type", label=told["event_label"][language]))
    document.heading(say("content"))
    if told["values"] == "none":
        document.table([say("field")], [[one["label"][language]] for one in told["content"]])
        document.paragraph(say("no-values"))
    else:
        rows = [[one["label"][language], one["value"]] for one in told["content"]]
        document.table([say("field"), say("value")], rows)
        document.paragraph(say("stated"))
    labels = {one["name"]: one["label"][language] for one in told["content"]}
    document.heading(f"{say('recipients')} ({len(told['recipients'])})")
    if told["recipients"]:
        rows = [
            [
                _name(one),
                one["purpose_label"][language],
                ", ".join(labels.get(each, each) for each in one["fields"]),
                one["basis"] or "-",
            ]
            for one in told["recipients"]
        ]
        document.table([say("who"), say("for"), say("fields"), say("ground")], rows)
    document.heading(f"{say('not-told')} ({len(told['not_told'])})")
    if told["not_told"]:
        rows = [[_name(one), (one["why"] or {}).get(language, "-")] for one in told["not_told"]]
        document.table([say("who"), say("why")], rows)
    contact = {part: told["contact"][part] or "-" for part in ("name", "address", "contact")}
    document.paragraph(say("contact", **contact))
    document.paragraph(say("proof"))
    return document.written()


def _name(party: Json) -> str:
    return str(party["party"]) if party["name"] is None else f"{party['name']} ({party['party']})"
