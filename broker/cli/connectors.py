"""Commands about connectors: `unefois connector ...`. They need no home.

Refuses: nothing of its own.
Keeps: nothing of its own; `connectors.trying` and `connectors.scaffold` do it, as they do for `unefois-agency`.
"""

from pathlib import Path
from typing import Annotated

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command
from broker.cli.show import answer, line

app = typer.Typer(no_args_is_help=True, help="Connectors: what writes deliveries into an administration's own system.")
Kind = Annotated[str, typer.Argument(metavar="NAME", help="The connector's kind, such as table.")]


@command(app, "list")
def list_kinds() -> None:
    """Every connector that is installed, ours and others', with what it guarantees.

    Example: unefois connector list
    """
    from connectors import registry, trying

    known = [trying.about(kind) for kind in registry.kinds()]

    def text() -> None:
        for one in known:
            line(f"{one['kind']:<10}  {one['guarantee'][chosen().language]}")

    answer({"connectors": known}, text)


@command(app, "describe")
def describe(name: Kind) -> None:
    """What a connector guarantees, what the other side must do, and its settings; --json has the form's JSON Schema.

    Example: unefois connector describe table
    """
    from connectors import trying

    told = trying.about(name)

    def text() -> None:
        for each in trying.lines(told, chosen().language):
            line(each)

    answer(told, text)


@command(app, "check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file with routes, as in the home's folder agencies.")],
) -> None:
    """Try each connector of a file without an effect: what is wrong, and what to do; exit code 1 if anything is.

    Example: unefois connector check agencies/rennes.yaml
    """
    from connectors import trying

    found = trying.checked_file(file)

    def text() -> None:
        for each in trying.found_lines(found, chosen().language):
            line(each)

    answer({"checked": trying.problems(found, chosen().language)}, text)
    if any(one.faults for one in found):
        raise typer.Exit(Exit.FINDINGS)


@command(app, "test")
def test(name: Kind) -> None:
    """Put a connector through the kit: crashes, lost answers, slow peers, order; exit code 1 if a case fails.

    Example: unefois connector test file
    """
    from connectors import trying

    done = list(trying.tried(name))

    def text() -> None:
        for one in done:
            line(trying.line(one, chosen().language))

    answer({"cases": [trying.plain(one, chosen().language) for one in done]}, text)
    if any(one.state == "failed" for one in done):
        raise typer.Exit(Exit.FINDINGS)


@command(app, "new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The kind of the new connector: town_crm.")],
    folder: Annotated[Path | None, typer.Option(help="Where to write it. Default: a new folder of that name.")] = None,
) -> None:
    """Write the package of a new connector, with a rig and tests that pass, to be filled in.

    Example: unefois connector new town_crm
    """
    from connectors import scaffold

    written = scaffold.write(name, folder)

    def text() -> None:
        for path in written:
            line(str(path))

    answer({"written": [str(path) for path in written]}, text)
