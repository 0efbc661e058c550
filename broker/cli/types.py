"""Commands about event types: `unefois type ...`. They need no home.

Refuses: `new` outside a checkout of this project; the rest nothing of its own.
Keeps: nothing of its own; `schemas.catalogue`, `schemas.evolution` and `schemas.scaffold` know.
"""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.session import read_file
from broker.cli.show import answer, line, pairs, table

app = typer.Typer(no_args_is_help=True, help="Event types: what can be declared, field by field.")


@command(app, "list")
def list_types() -> None:
    """Every event type that this program knows.

    Example: unefois type list --lang en
    """
    from schemas.catalogue import builtin
    from schemas.described import describe

    known = builtin()
    types = [describe(known, one) for one in known.newest]
    language = chosen().language
    gone = {str(one): str(told.successor) for one, told in known.retirements.items()}
    types = [{**one, "replaced_by": gone.get(one["event_type"])} for one in types]
    rows = [(one["event_type"], one["label"][language], len(one["fields"]), one["replaced_by"] or "") for one in types]
    columns = [say("type", "type"), say("nom", "name"), say("champs", "fields"), say("remplacé par", "replaced by")]
    answer({"types": types}, lambda: table(columns, rows))


@command(app, "show")
def show(
    name: Annotated[
        str, typer.Argument(metavar="TYPE", help="address.changed, or the full name; with /1, the first version.")
    ],
) -> None:
    """One event type: every field by its path, with its type, its limits, and whether it may be absent.

    Example: unefois type show address.changed
    """
    from schemas.catalogue import builtin
    from schemas.described import describe, find, lines

    known = builtin()
    told = describe(known, find(known, name))

    def text() -> None:
        for each in lines(told, chosen().language):
            line(each)

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


@command(app, "new")
def new(
    name: Annotated[str, typer.Argument(metavar="TYPE", help="What happens, in two words: vehicle.sold.")],
    french: Annotated[str, typer.Option("--fr", help="Its name for citizens, in French.")],
    english: Annotated[str, typer.Option("--en", help="Its name for citizens, in English.")],
    checkout: Annotated[
        Path, typer.Option("--checkout", metavar="FOLDER", help="A checkout of this project. Default: this folder.")
    ] = Path(),
) -> None:
    """Write all that a new event type needs into a checkout: schema, sample, mapping, pin, page. Then it is filled in.

    Example: unefois type new vehicle.sold --fr "Cession d'un véhicule" --en "Sale of a vehicle"
    """
    from schemas.scaffold import FILL, TOUCHED, scaffold

    there = {path: read_file(checkout / path).decode() for path in TOUCHED if (checkout / path).is_file()}
    made = scaffold(name, french, english, there)
    for path, written in made.items():
        (checkout / path).write_text(written, "utf-8")
    (schema,) = [path for path in made if path.endswith(".avsc")]
    steps = [
        say(f"remplir chaque « {FILL} »", f"write each {FILL!r}"),
        f"python -m tests.typed.whole {schema}",
        "python -m tests.typed.write",
        "python -m tests.docs.refresh docs/event-types.md",
        "python -m pytest tests/unit/schemas tests/unit/connectors tests/unit/broker/test_every_type.py",
    ]

    def text() -> None:
        for path in made:
            line(f"+ {path}")
        for number, step in enumerate(steps, 1):
            line(f"{number}. {step}")

    answer({"written": list(made), "next": steps}, text)
