"""Commands about what could not be routed or delivered: `unefois dead ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.flow.deadletters` does it, under today's consent.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from broker.setup.wiring import Home

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

    async def work(home: "Home") -> list[dict[str, Any]]:
        return [shapes.dead(one) for one in await home.dead_letters.list(replayed=replayed, limit=limit)]

    found = at_home(work)
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

    async def work(home: "Home") -> dict[str, Any]:
        return shapes.dead(await home.dead_letters.show(number))

    told = at_home(work)
    message = shapes.code(told["code"], chosen().language)
    told |= {"message": message["message"] or None, "remedy": message["remedy"] or None}
    answer(told, lambda: pairs(list(told.items())))


@command(app, "replay")
def replay(number: NumberArgument) -> None:
    """Try it again, under the consent of today. `unefois run` then delivers it.

    Example: unefois dead replay 12
    """

    async def work(home: "Home") -> str | None:
        reason = await home.dead_letters.replay(number)
        return None if reason is None else reason.value

    reason = at_home(work)

    def text() -> None:
        if reason is None:
            line(say("En route.", "On its way."))
        else:
            line(say(f"Retenue : {reason}.", f"Withheld: {reason}."))

    answer({"number": number, "on_its_way": reason is None, "reason": reason}, text)
