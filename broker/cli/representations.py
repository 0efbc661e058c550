"""Commands about who may act for whom (`unefois representation ...`).

Refuses: a citizen's name as a word of the command line.
Keeps: nothing of its own; `broker.services.representations` does it. It names neither of the two people.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.grants import PersonOption, document_of
from broker.cli.parties import full_type
from broker.cli.session import at_home, instant
from broker.cli.show import answer, each, line, pairs

if TYPE_CHECKING:
    from broker.consents.representing import Changed
    from broker.setup.wiring import Home
    from consent.representation import Representation

app = typer.Typer(no_args_is_help=True, help="Who may act for another person, on the ground of which act.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `unefois representation list` shows it.")]


@command(app, "add")
def add(
    *,
    representative: Annotated[
        Path, typer.Option("--representative", metavar="FILE", help="The six facts of whoever acts, in a file.")
    ],
    person: PersonOption,
    measure: Annotated[
        str, typer.Option("--measure", metavar="WORD", help="guardianship, parental_authority, assistance_mandate ...")
    ],
    proof: Annotated[
        str, typer.Option("--proof", metavar="REF", help="Where the act is found: its reference, without any name.")
    ],
    types: Annotated[
        list[str] | None, typer.Option("--type", help="For declarations of this type alone. Repeatable.")
    ] = None,
    purposes: Annotated[
        list[str] | None, typer.Option("--purpose", help="For consents for this purpose alone. Repeatable.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="WHEN", help="The first day (UTC); else now.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="The last day (UTC).")] = None,
) -> None:
    """Write down that one person may act for another. Parental authority ends at the 18th birthday by itself.

    Names are not kept: a declaration that the first makes for the second is taken from now on.

    Example: unefois representation add --representative me.yaml --person my-father.yaml --measure guardianship --proof
    "TJ Rennes 25/01234"
    """
    from broker.services import representations

    by, of = document_of(representative), document_of(person)
    begins_at = None if start is None else instant(start, end_of_day=False)
    ends_at = None if until is None else instant(until, end_of_day=True)

    async def work(home: "Home") -> "Changed":
        return await representations.start(
            home,
            representative=_facts(by),
            subject=_facts(of),
            measure=measure,
            proof=proof,
            event_types=None if not types else [full_type(name) for name in types],
            purposes=purposes or None,
            begins_at=begins_at,
            ends_at=ends_at,
        )

    _tell(at_home(work))


@command(app, "end")
def end(representation: IdArgument) -> None:
    """End a representation: from now on its representative declares nothing, and what they have allowed is withdrawn.

    Example: unefois representation end 0192f3a1-...
    """
    from broker.services import representations
    from schemas.names import RepresentationId

    of = RepresentationId.parse(representation)
    _tell(at_home(lambda home: representations.end(home, of)))


@command(app, "list")
def list_representations(person: PersonOption) -> None:
    """Who may act for a person, or could. The look is in the ledger.

    Example: unefois representation list --person my-father.yaml
    """
    from broker import shapes
    from broker.services import representations
    from broker.services.viewing import subject_of

    document = document_of(person)

    async def work(home: "Home") -> "list[Representation]":
        return await representations.of_person(home, await subject_of(home, document))

    found = at_home(work)
    told = [shapes.representation(one) for one in found]

    def text() -> None:
        each(told, _show)
        if not told:
            line(say("Personne n'agit pour cette personne.", "Nobody acts for this person."))

    answer({"representations": told}, text)


@command(app, "show")
def show(representation: IdArgument) -> None:
    """One representation. The look is in the ledger.

    Example: unefois representation show 0192f3a1-...
    """
    from broker import shapes
    from broker.services import representations
    from schemas.names import RepresentationId

    of = RepresentationId.parse(representation)
    told = shapes.representation(at_home(lambda home: representations.show(home, of)))
    answer(told, lambda: _show(told))


def _facts(document: object) -> dict[str, Any]:
    """The six facts of a file: the pivot identity itself, or a record with its `subject`."""
    if not isinstance(document, dict):
        return {}
    inner = document.get("subject")
    return inner if isinstance(inner, dict) else document


def _tell(done: "Changed") -> None:
    from broker import shapes

    told, entry = shapes.representation(done.representation), done.entry.hex()

    answer({"representation": told, "entry": entry}, lambda: _show(told, entry))


def _show(told: dict[str, Any], entry: str | None = None) -> None:
    everything = say("tout", "everything")
    pairs(
        [
            (say("représentation", "representation"), told["id"]),
            (say("fondement", "measure"), told["measure"]),
            (say("acte", "proof"), told["proof"]),
            (say("déclare en qualité de", "declares as"), told["capacity"]),
            (say("pour les types", "for the types"), ", ".join(told["event_types"] or [everything])),
            (say("pour les finalités", "for the purposes"), ", ".join(told["purposes"] or [everything])),
            (say("depuis", "from"), told["begins_at"]),
            (say("jusqu'à", "until"), told["ends_at"]),
            (say("enregistrée par", "recorded by"), told["given_by"]),
            (say("terminée", "ended"), told["ended_at"]),
            (say("entrée du registre", "ledger entry"), entry),
        ]
    )
