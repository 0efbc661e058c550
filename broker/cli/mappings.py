"""Commands about mapping files: `unefois mapping ...`. They need no home.

Refuses: nothing of its own.
Keeps: nothing of its own; `connectors.mapping_check` knows. It shows values: those of a mapping's tests are invented.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.session import read_file
from broker.cli.show import answer, line

app = typer.Typer(no_args_is_help=True, help="Mapping files: what turns a declaration into an agency's own words.")


@command(app, "test")
def run_tests(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A mapping file, or the name of a packaged one.")],
    granted: Annotated[
        list[str] | None,
        typer.Option(
            "--granted", metavar="FIELD", help="A field that will be granted: those read must be. Repeatable."
        ),
    ] = None,
) -> None:
    """Run a mapping file's own tests and its static checks; exit code 1 if anything is wrong.

    Example: unefois mapping test ./our-table.out.yaml --granted subject --granted new_address
    """
    told = _tested(file, granted)

    def text() -> None:
        for one in told["tests"]:
            line(f"{'✓' if one['passed'] else '✗'} {one['name']}")
            for difference in one["differences"]:
                line(f"    {difference}")
        for problem in told["problems"]:
            line(f"✗ {problem['code']}  {problem['pointer']}\n    {problem['message']} {problem['remedy']}")
        if told["unread"]:
            line(say("Accordés, jamais lus : ", "Granted, never read: ") + ", ".join(told["unread"]))
        if not told["tests"]:
            line(say("Ce fichier n'a pas de tests.", "This file has no tests."))

    answer(told, text)
    if told["problems"] or not all(one["passed"] for one in told["tests"]):
        raise typer.Exit(Exit.FINDINGS)


@command(app, "list")
def list_packaged() -> None:
    """The mapping files that come with this program.

    Example: unefois mapping list
    """
    from connectors.mapping import packaged

    names = sorted(packaged())

    def text() -> None:
        for name in names:
            line(name)

    answer({"mappings": names}, text)


def _tested(file: str, granted: list[str] | None) -> dict[str, Any]:
    from broker.cli import shapes
    from connectors import mapping_check
    from connectors.mapping_files import find, loaded
    from schemas.catalogue import builtin

    path = Path(file)
    mapping = loaded(read_file(path), file, path) if path.is_file() else find(file, Path())
    event = builtin().by_type(mapping.event_type)
    problems = [*mapping_check.check_event(mapping, event)]
    if granted is not None:
        problems += mapping_check.check_fields(mapping, granted)
    outcomes = mapping_check.run_tests(mapping, event)
    return {
        "mapping": mapping.name,
        "event_type": mapping.event_type,
        "direction": mapping.direction.value,
        "tests": [{"name": one.name, "passed": one.passed, "differences": list(one.differences)} for one in outcomes],
        "problems": shapes.faults(problems, chosen().language),
        "unread": sorted(mapping_check.unread(mapping, granted)) if granted is not None else [],
    }
