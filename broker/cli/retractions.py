"""Commands that take a declaration back (`unefois cancel`, `unefois recall`), and about what is held before anybody
gets it (`unefois hold ...`).

Refuses: a citizen's name as a word of the command line.
Keeps: nothing of its own; `broker.services.retractions` does it.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.grants import GivenBy, PersonOption, document_of
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from broker.flow.retracted import Retraction
    from broker.services.retractions import Retracted

app = typer.Typer(no_args_is_help=True, help="What waits before anybody gets it, and how its citizen stops it.")

DeclarationArgument = Annotated[
    str, typer.Argument(metavar="DECLARATION", help="The id that `unefois declare` printed, or that of a correction.")
]


def register(root: typer.Typer) -> None:
    """Add the commands to the root."""
    root.add_typer(app, name="hold")
    command(root, "cancel")(cancel)
    command(root, "recall")(recall)


def cancel(
    declaration: DeclarationArgument,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="WORD", help="changed-mind, mistake, not-mine or other.")
    ] = "changed-mind",
) -> None:
    """Take a declaration back with its corrections, as its citizen wants. Who has not got it never gets it; who has got
    it is told.

    Example: unefois cancel 0192f3a1-... --reason mistake
    """
    from broker.services import retractions
    from schemas.names import DeclarationId

    of = DeclarationId.parse(declaration)
    _show(at_home(lambda home: retractions.cancel(home, of, reason=reason)))


def recall(
    declaration: DeclarationArgument,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="WORD", help="wrong-person, wrong-content, fraud, duplicate or other.")
    ] = "wrong-person",
    for_source: Annotated[
        bool, typer.Option("--for-source", help="In place of the source, which does not; two persons decide it.")
    ] = False,
) -> None:
    """Recall what should never have been sent. Nobody gets it from now on; who has got it is told to undo it, after a
    hold in which its citizen can stop that.

    Example: unefois recall 0192f3a1-... --reason wrong-person
    """
    from broker.services import retractions
    from schemas.names import DeclarationId

    of = DeclarationId.parse(declaration)
    _show(at_home(lambda home: retractions.recall(home, of, reason=reason, for_source=for_source)))


@command(app, "list")
def hold_list(person: PersonOption) -> None:
    """What waits of one person's before anybody gets it.

    Example: unefois hold list --person elise.yaml
    """
    from broker.cli import shapes
    from broker.services import retractions
    from broker.services.viewing import for_person

    document = document_of(person)
    found = at_home(lambda home: for_person(home, document, lambda whose: retractions.held(home, whose)))
    told = {"held": [shapes.held(one) for one in found]}

    def text() -> None:
        table(
            [say("déclaration", "declaration"), "type", say("retenue jusqu'au", "held until"), say("état", "state")],
            [
                (
                    one["declaration"],
                    one["event_type"],
                    one["until"],
                    say("arrêtée", "stopped") if one["stopped"] else say("attend", "waits"),
                )
                for one in told["held"]
            ],
        )

    answer(told, text)


@command(app, "stop")
def hold_stop(
    declaration: Annotated[str, typer.Argument(metavar="DECLARATION", help="As `unefois hold list` shows it.")],
    *,
    person: PersonOption,
    given_by: GivenBy = "self",
) -> None:
    """Stop what is held: nobody gets it. Only the person whom it is about can.

    Example: unefois hold stop 0192f3a1-... --person elise.yaml
    """
    from broker.services import retractions
    from broker.services.viewing import for_person
    from schemas.names import DeclarationId

    of, document = DeclarationId.parse(declaration), document_of(person)
    made = at_home(
        lambda home: for_person(home, document, lambda whose: retractions.stop(home, whose, of, given_by=given_by))
    )
    shown = _told(made)
    answer({"retraction": shown}, lambda: _lines(shown))


def _show(found: "Retracted") -> None:
    shown = _told(found.retraction)

    def text() -> None:
        _lines(shown)
        if found.repeated:
            line(say("Elle l'était déjà.", "It was so before."))

    answer({"retraction": shown, "repeated": found.repeated}, text)


def _told(one: "Retraction") -> dict[str, Any]:
    from broker.cli import shapes

    return shapes.retraction(one)


def _lines(told: dict[str, Any]) -> None:
    pairs(
        [
            (say("déclaration", "declaration"), told["declaration"]),
            (say("état", "state"), told["kind"]),
            (say("depuis", "since"), told["retracted_at"]),
            (say("avis", "notice"), told["notice"]),
        ]
    )
