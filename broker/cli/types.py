"""Commands about event types: `unefois type ...`. They need no home.

Refuses: nothing of its own.
Keeps: nothing of its own; `schemas.catalogue` and `schemas.evolution` know.
"""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.parties import full_type
from broker.cli.session import read_file
from broker.cli.show import answer, line, pairs, table

app = typer.Typer(no_args_is_help=True, help="Event types: what can be declared, field by field.")


@command(app, "list")
def list_types() -> None:
    """Every event type that this program knows.

    Example: unefois type list --lang en
    """
    from broker.cli import shapes
    from schemas.catalogue import builtin

    types = [shapes.event(one) for one in builtin()]
    language = chosen().language
    rows = [(one["event_type"], one["label"][language], len(one["fields"])) for one in types]
    columns = [say("type", "type"), say("nom", "name"), say("champs", "fields")]
    answer({"types": types}, lambda: table(columns, rows))


@command(app, "show")
def show(name: Annotated[str, typer.Argument(metavar="TYPE", help="address.changed, or the full name.")]) -> None:
    """One event type: its fields, what they mean, how much they can hurt.

    Example: unefois type show address.changed
    """
    from broker.cli import shapes
    from schemas.catalogue import builtin
    from schemas.names import EventType

    told = shapes.event(builtin().by_type(EventType(full_type(name))))
    language = chosen().language

    def text() -> None:
        places = say("oui, communes en clair", "yes, communes in clear") if told["uses_territories"] else None
        pairs(
            [
                (say("type", "type"), told["event_type"]),
                (say("nom", "name"), told["label"][language]),
                (say("sens", "meaning"), told["doc"]),
                (say("schéma", "schema"), told["schema"]),
                (say("territoires", "territories"), places),
            ]
        )
        line("")
        columns = [
            say("champ", "field"),
            say("nom", "name"),
            say("sensibilité", "sensitivity"),
            say("facultatif", "optional"),
        ]
        yes = say("oui", "yes")
        table(
            columns,
            [
                (each["name"], each["label"][language], each["sensitivity"], yes if each["optional"] else None)
                for each in told["fields"]
            ],
        )

    answer(told, text)


@command(app, "check")
def check(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The schema that is registered (.avsc).")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The schema that should follow it (.avsc).")],
) -> None:
    """May this schema follow that one under the same event type? Every reason why not; exit code 1 if there is one.

    Example: unefois type check schemas/events/address.changed.v1.avsc ./address.changed.next.avsc
    """
    from broker.cli import shapes
    from schemas import evolution

    breaks = evolution.check(read_file(old), read_file(new))
    told = [shapes.coded(each, each.place, chosen().language) for each in breaks]

    def text() -> None:
        if not told:
            line(say("Ce schéma peut suivre l'autre.", "This schema may follow the other."))
        for one in told:
            pairs([(one["code"], one["pointer"] or "/"), ("", one["message"]), ("", one["remedy"])])

    answer({"may_follow": not told, "breaks": told}, text)
    if told:
        raise typer.Exit(Exit.FINDINGS)
