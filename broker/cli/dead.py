"""Commands about what could not be routed or delivered: `unefois dead ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.keeping` does it, under today's consent.
"""

from typing import Annotated

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs, table

app = typer.Typer(no_args_is_help=True, help="Dead letters: what failed, why, and another try under today's consent.")

NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="As `unefois dead list` shows it.")]


@command(app, "list")
def list_dead(
    replayed: Annotated[bool, typer.Option("--replayed", help="Those that were tried again, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10000, help="At most so many.")] = 200,
) -> None:
    """What waits for somebody, oldest first.

    Example: unefois dead list
    """
    from broker.cli import shapes
    from broker.services import keeping

    letters = at_home(lambda home: keeping.dead_letters(home, replayed=replayed, limit=limit))
    found = [shapes.dead(one) for one in letters]
    columns = [say("no", "no"), say("étape", "stage"), say("code", "code"), say("raison", "reason")]
    columns += [say("essais", "attempts"), say("depuis", "since"), say("destinataire", "recipient")]
    names = ("number", "stage", "code", "reason", "attempts", "at", "recipient")
    answer({"dead_letters": found}, lambda: table(columns, [[one[name] for name in names] for one in found]))


@command(app, "show")
def show(number: NumberArgument) -> None:
    """One of them, with what its code means and what to do.

    Example: unefois dead show 12
    """
    from broker.cli import shapes
    from broker.services import keeping

    told = shapes.dead(at_home(lambda home: keeping.dead_letter(home, number)))
    message = shapes.code(told["code"], chosen().language)
    told |= {"message": message["message"] or None, "remedy": message["remedy"] or None}
    answer(told, lambda: pairs(list(told.items())))


@command(app, "replay")
def replay(number: NumberArgument) -> None:
    """Try it again, under the consent of today. `unefois run` then delivers it.

    Example: unefois dead replay 12
    """

    from broker.services import keeping

    held = at_home(lambda home: keeping.replay(home, number))
    reason = None if held is None else held.value

    def text() -> None:
        if reason is None:
            line(say("En route.", "On its way."))
        else:
            line(say(f"Retenue : {reason}.", f"Withheld: {reason}."))

    answer({"number": number, "on_its_way": reason is None, "reason": reason}, text)
