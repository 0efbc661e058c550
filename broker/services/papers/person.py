"""Person paper: an export (`person_export`) as a PDF that a person reads, or hears, in French or in English.

Refuses: to say what the document does not hold. Keeps: everything of the JSON is in it: first in sentences and tables,
then row by row; the reasons of what stays and of what is left out are those of the JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from broker.services.papers.pdf import Document
from broker.services.person_words import NAMES
from broker.shapes import Json
from consent.explain import explain_reason
from schemas.messages import Language
from schemas.names import Reason

_W: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("Ce que ce courtier conserve à votre sujet", "What this broker holds about you"),
    "made": (
        "Établi le {at} par {broker}. Cette consultation est l'entrée {entry} du registre.",
        "Made at {at} by {broker}. This look is entry {entry} of the ledger.",
    ),
    "values": (
        "Ce que vous avez déclaré n'est pas ici : ce courtier ne peut pas le lire. Demandez-le aux destinataires.",
        "What you declared is not in here: this broker cannot read it. Ask the recipients for it.",
    ),
    "nothing": ("Rien n'est conservé à votre sujet.", "Nothing is held about you."),
    "handed_over": ("Transmis", "Handed over"),
    "under_way": ("En route", "On its way"),
    "withheld": ("Non transmis", "Not handed over"),
    "declared": ("Déclaré", "Declared"),
    "consents": ("Consentements et mandats légaux", "Consents and mandates by law"),
    "acting": ("Agir pour vous", "Acting for you"),
    "looks": ("Consultations de votre dossier", "Looks at your file"),
    "told": ("Où vous êtes prévenu", "Where you are told"),
    "rules": ("Règles prévues par la loi, pour tous", "Rules by law, for everybody"),
    "kept": ("Ce qui est conservé, pourquoi, et jusqu'à quand", "What is kept, why, and until when"),
    "rows": ("Ligne par ligne", "Row by row"),
    "entries": ("Entrées du registre à votre sujet", "Entries of the ledger about you"),
    "left_out": ("Ce qui n'est pas dans ce document, et pourquoi", "What is not in this document, and why"),
    "closed": (
        "{count} entrées plus anciennes ne peuvent plus être ouvertes par personne.",
        "{count} older entries can be opened by nobody any more.",
    ),
    "rights": (
        "Vos droits (accès, rectification, effacement, limitation, opposition) s'exercent auprès de {name}"
        " ({contact}) ; une réclamation, auprès de la CNIL.",
        "You exercise your rights (access, rectification, erasure, restriction, objection) with {name} ({contact});"
        " complaints go to the CNIL.",
    ),
}
_C: Final[Mapping[str, tuple[str, str]]] = {
    "at": ("quand", "when"),
    "who": ("qui", "who"),
    "what": ("quoi", "what"),
    "fields": ("champs", "fields"),
    "ground": ("fondement", "ground"),
    "end": ("suite", "outcome"),
    "why": ("pourquoi", "why"),
    "until": ("jusqu'à", "until"),
    "count": ("nombre", "count"),
    "address": ("adresse", "address"),
    "kind": ("fait", "fact"),
    "article": ("article", "article"),
}


_GROUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "consent": ("consentement", "consent"),
    "choice": ("choix", "choice"),
    "law": ("loi", "law"),
}
_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "granted": ("donné", "given"),
    "carried": ("repris", "carried over"),
    "changed": ("modifié", "changed"),
    "revoked": ("retiré", "withdrawn"),
    "expired": ("échu", "expired"),
}
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "applied": ("enregistré", "recorded"),
    "rejected": ("rejeté", "rejected"),
    "answered": ("ni enregistré ni refusé", "neither recorded nor refused"),
}


_ACTING: Final[Mapping[str, tuple[str, str]]] = {
    "representation_started": ("une personne peut agir pour vous", "somebody may act for you"),
    "representation_ended": ("elle ne le peut plus", "they may no more"),
    "acted_for": ("une personne a déclaré pour vous", "somebody has declared for you"),
}


def paper(told: Json, language: Language) -> bytes:
    """The PDF of an export."""
    return _Paper(told, language).written()


class _Paper:
    def __init__(self, told: Json, language: Language) -> None:
        self._told = told
        self._which = 0 if language == "fr" else 1
        self._language = language
        made = "".join(letter for letter in told["at"][:19] if letter.isdigit()) + "Z"
        self._paper = Document(self._say("title"), language, made)

    def written(self) -> bytes:
        told, paper = self._told, self._paper
        broker = self._party(told["broker"])
        paper.paragraph(self._say("made").format(at=told["at"], broker=broker, entry=told["entry"]))
        paper.paragraph(self._say("values"))
        if not told["person"]["held"]:
            paper.paragraph(self._say("nothing"))
        for name in ("handed_over", "under_way"):
            self._table(name, ("at", "who", "what", "fields", "ground", "end"), map(self._handed, told[name]))
        self._table("withheld", ("at", "who", "what", "why"), map(self._withheld, told["withheld"]))
        self._table("declared", ("at", "who", "what"), map(self._declared, told["declared"]))
        self._table("consents", ("at", "kind", "who", "what", "fields", "ground"), map(self._consent, told["consents"]))
        self._table("acting", ("at", "kind", "who"), map(self._acting, told["acting"]))
        self._table("looks", ("at", "who"), ((_when(one["at"]), self._party(one["actor"])) for one in told["looks"]))
        reached = ((_when(one["held_since"]), one["kind"], one["address"] or "-") for one in told["held"]["channels"])
        self._table("told", ("at", "kind", "address"), reached)
        self._table("rules", ("who", "what", "fields", "article"), map(self._rule, told["rules"]))
        self._table("kept", ("what", "count", "why", "until"), map(self._kept, told["kept"]))
        if told["closed_entries"]:
            paper.paragraph(self._say("closed").format(count=told["closed_entries"]))
        self._rows()
        self._left_out()
        party = told["parties"][told["broker"]]
        paper.paragraph(self._say("rights").format(name=party["name"], contact=party["contact"]))
        return paper.written()

    def _acting(self, one: Json) -> tuple[str, ...]:
        return _when(one["at"]), _ACTING[one["kind"]][self._which], self._party(one["actor"])

    def _say(self, name: str) -> str:
        return _W[name][self._which]

    def _table(self, name: str, columns: Sequence[str], rows: Any) -> None:
        told = [list(map(str, row)) for row in rows]
        self._paper.heading(f"{self._say(name)} ({len(told)})")
        if told:
            self._paper.table([_C[one][self._which] for one in columns], told)

    def _party(self, party: str | None) -> str:
        if party is None:
            return "-"
        name = self._told["parties"].get(party, {}).get("name")
        return party if name is None else f"{name} ({party})"

    def _event(self, one: Json) -> str:
        return str((one["event_label"] or {}).get(self._language) or one["event_type"] or "-")

    def _fields(self, one: Json) -> str:
        return ", ".join(one["field_labels"].get(name, {}).get(self._language, name) for name in one["fields"]) or "-"

    def _handed(self, one: Json) -> Sequence[str]:
        end = self._end(one)
        recipient = self._party(one["recipient"])
        return _when(one["at"]), recipient, self._event(one), self._fields(one), self._ground(one["basis"]), end

    def _end(self, one: Json) -> str:
        if one.get("outcome") is None:
            return "-"
        told = [_OUTCOMES[one["outcome"]][self._which], _when(one["outcome_at"])]
        if one["outcome_reason"] is not None:
            told.append(explain_reason(Reason(one["outcome_reason"]), self._language))
        return ", ".join(told)

    def _ground(self, basis: str | None) -> str:
        kind, _, article = (basis or "-").partition(":")
        word = _GROUNDS[kind][self._which] if kind in _GROUNDS else kind
        return f"{word} : {article}" if article else word

    def _state(self, kind: str) -> str:
        return _STATES[kind][self._which]

    def _withheld(self, one: Json) -> Sequence[str]:
        why = explain_reason(Reason(one["reason"]), self._language)
        return _when(one["at"]), self._party(one["recipient"]), self._event(one), why

    def _declared(self, one: Json) -> Sequence[str]:
        return _when(one["at"]), self._party(one["actor"]), f"{self._event(one)} {one['declaration'] or ''}"

    def _consent(self, one: Json) -> Sequence[str]:
        who = self._party(one["recipient"])
        return (
            _when(one["at"]),
            self._state(one["kind"]),
            who,
            self._event(one),
            self._fields(one),
            self._ground(one["basis"]),
        )

    def _rule(self, one: Json) -> Sequence[str]:
        return self._party(one["recipient"]), one["event_type"], ", ".join(one["fields"]), one["article"]

    def _kept(self, one: Json) -> Sequence[str]:
        name = NAMES[one["what"]][self._which]
        return name, one["count"], one["why"][self._language], one["until"][self._language]

    def _rows(self) -> None:
        """What was told above, as it lies here: nothing of the JSON is left out."""
        self._paper.heading(self._say("rows"))
        for name, rows in self._told["held"].items():
            for number, row in enumerate(rows, 1):
                self._paper.paragraph(f"{NAMES[name][self._which]} {number}: {_spelled(row)}")
        self._paper.heading(f"{self._say('entries')} ({len(self._told['entries'])})")
        for one in self._told["entries"]:
            left = {key: value for key, value in one.items() if not key.endswith(("_label", "_labels"))}
            self._paper.paragraph(_spelled(left))

    def _left_out(self) -> None:
        by_reason: dict[str, list[str]] = {}
        for one in self._told["left_out"]:
            place = one["table"] if one["column"] is None else f"{one['table']}.{one['column']}"
            by_reason.setdefault(one["why"][self._language], []).append(place)
        rows = ((", ".join(places), why) for why, places in by_reason.items())
        self._table("left_out", ("what", "why"), rows)


def _when(at: str) -> str:
    """To the minute: the millisecond stands row by row."""
    return f"{at[:10]} {at[11:16]} UTC"


def _spelled(row: Mapping[str, Any]) -> str:
    """Names and values of a row; what is None or empty is left out."""
    return "; ".join(f"{name} {_word(value)}" for name, value in row.items() if value not in (None, [], ""))


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
