"""Commands about one person: `unefois person report`.

Refuses: a citizen's name as a word of the command line.
Keeps: nothing of its own; `broker.services.person_report` reads and records the look.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.grants import PersonOption
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, line, pairs

if TYPE_CHECKING:
    from broker.setup.wiring import Home

app = typer.Typer(no_args_is_help=True, help="One person: what was handed over about them, to whom, on which ground.")

_VERSIONS: Final[Mapping[str, tuple[str, str]]] = {
    "granted": ("donné", "given"),
    "carried": ("repris", "carried over"),
    "changed": ("modifié", "changed"),
    "revoked": ("retiré", "withdrawn"),
    "expired": ("échu", "expired"),
}


@command(app, "report")
def report(person: PersonOption) -> None:
    """Everything that was handed over about a person: which fields, to whom, when, on which ground; and who looked.

    What the right of access asks for (Regulation 2016/679, article 15). Values are not in it: the broker cannot read
    them. The look is written into the ledger.

    Example: unefois person report --person me.yaml --lang fr
    """

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services.person_report import person_report
        from broker.services.person_shape import report_shape
        from broker.services.viewing import subject_of
        from connectors.draft import read

        return report_shape(await person_report(home, await subject_of(home, read(read_file(person)))))

    told = at_home(work)
    answer(told, lambda: _print(told))


def _print(told: dict[str, Any]) -> None:
    line(
        say(
            "Ce que ce courtier sait des transmissions vous concernant",
            "What this broker knows was handed over about you",
        )
    )
    pairs([(say("établi le", "as of"), told["at"]), (say("par", "by"), _name(told, told["broker"]))])
    _part(told, say("Transmis", "Handed over"), told["handed_over"], _handed_over)
    _part(told, say("En route", "On its way"), told["under_way"], _handed_over)
    _part(told, say("Non transmis", "Not handed over"), told["withheld"], _withheld)
    _part(told, say("Déclaré", "Declared"), told["declared"], _declared)
    _part(told, say("Consentements et mandats légaux", "Consents and mandates by law"), told["consents"], _consent)
    _part(told, say("Agir pour vous", "Acting for you"), told["acting"], _acting)
    _part(told, say("Consultations de votre dossier", "Looks at your file"), told["looks"], _look)
    line("")
    if told["closed_entries"]:
        count = told["closed_entries"]
        line(
            say(
                f"{count} entrées plus anciennes ne peuvent plus être ouvertes par personne.",
                f"{count} older entries can be opened by nobody any more.",
            )
        )
    _rights(told)


def _part(told: dict[str, Any], title: str, entries: Sequence[dict[str, Any]], rows: Any) -> None:
    line(f"\n{title} ({len(entries)})")
    for one in entries:
        line("")
        pairs([*rows(told, one), (say("entrée du registre", "ledger entry"), one["entry"])], indent=2)


def _handed_over(told: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        (say("le", "at"), one["at"]),
        (say("à", "to"), _name(told, one["recipient"])),
        (say("déclaration", "declaration"), _event(one)),
        (say("champs", "fields"), ", ".join(_label(one, name) for name in one["fields"])),
        (say("finalité", "purpose"), _in_language(one["purpose_label"]) or one["purpose"]),
        (say("fondement", "ground"), _ground(one)),
        (say("suite", "outcome"), _outcome(one)),
        (say("conservation", "kept for"), told["parties"][one["recipient"]]["retention"]),
    ]


def _withheld(told: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, object]]:
    from consent.explain import explain_reason
    from schemas.names import Reason

    return [
        (say("le", "at"), one["at"]),
        (say("à", "to"), _name(told, one["recipient"])),
        (say("déclaration", "declaration"), _event(one)),
        (say("raison", "reason"), explain_reason(Reason(one["reason"]), chosen().language)),
    ]


def _acting(told: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, object]]:
    what = {
        "representation_started": say("une personne peut agir pour vous", "somebody may act for you"),
        "representation_ended": say("elle ne le peut plus", "they may no more"),
        "acted_for": say("une personne a déclaré pour vous", "somebody has declared for you"),
    }
    return [
        (say("le", "at"), one["at"]),
        (say("quoi", "what"), what[one["kind"]]),
        (say("auprès de", "with"), _name(told, one["actor"])),
        (say("identifiant", "id"), one["declaration"]),
    ]


def _declared(told: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        (say("le", "at"), one["at"]),
        (say("auprès de", "with"), _name(told, one["actor"])),
        (say("déclaration", "declaration"), _event(one)),
        (say("identifiant", "id"), one["declaration"]),
    ]


def _consent(told: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        (say("le", "at"), one["at"]),
        (say("état", "state"), say(*_VERSIONS[one["kind"]])),
        (say("destinataire", "recipient"), None if one["recipient"] is None else _name(told, one["recipient"])),
        (say("déclaration", "declaration"), None if one["event_type"] is None else _event(one)),
        (say("champs", "fields"), ", ".join(_label(one, name) for name in one["fields"]) or None),
        (say("finalité", "purpose"), _in_language(one["purpose_label"]) or one["purpose"]),
        (say("fondement", "ground"), _ground(one)),
    ]


def _look(told: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, object]]:
    return [(say("le", "at"), one["at"]), (say("par", "by"), _name(told, one["actor"]))]


def _rights(told: dict[str, Any]) -> None:
    broker = told["parties"][told["broker"]]
    line(
        say(
            "Les valeurs ne figurent pas ici : ce courtier ne peut pas les lire. Demandez-les aux destinataires, qui "
            "les rectifient aussi.",
            "Values are not in here: this broker cannot read them. Ask the recipients for them, who also correct them.",
        )
    )
    line(
        say(
            f"Vos droits s'exercent auprès de {broker['name']} ({broker['contact']}) ; une réclamation, auprès de la "
            "CNIL.",
            f"You exercise your rights with {broker['name']} ({broker['contact']}); complaints go to the CNIL.",
        )
    )


def _name(told: dict[str, Any], party: str) -> str:
    name = told["parties"][party]["name"]
    return party if name is None else f"{name} ({party})"


def _event(one: dict[str, Any]) -> str:
    return _in_language(one["event_label"]) or str(one["event_type"])


def _label(one: dict[str, Any], name: str) -> str:
    return _in_language(one["field_labels"].get(name)) or name


def _in_language(labels: Mapping[str, str] | None) -> str | None:
    return None if labels is None else labels[chosen().language]


def _ground(one: dict[str, Any]) -> str:
    basis = one["basis"] or ""
    kind = say("consentement", "consent") if basis == "consent" else f"{say('loi', 'law')} : {basis.partition(':')[2]}"
    return f"{kind}  ({one['grant']}, version {one['grant_version']})"


def _outcome(one: dict[str, Any]) -> str | None:
    from consent.explain import explain_reason
    from schemas.names import Reason

    if one.get("outcome") is None:
        return None
    word = {
        "applied": say("enregistré", "recorded"),
        "rejected": say("rejeté", "rejected"),
        "answered": say("ni enregistré ni refusé", "neither recorded nor refused"),
    }[one["outcome"]]
    if one["outcome_reason"] is None:
        return f"{word}, {one['outcome_at']}"
    why = explain_reason(Reason(one["outcome_reason"]), chosen().language)
    return f"{word}, {one['outcome_at']} : {why}"
