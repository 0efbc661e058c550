"""Commands about the machine's clock: `unefois clock ...`.

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.keeping` does it.
"""

from typing import TYPE_CHECKING, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs

if TYPE_CHECKING:
    from broker.timekeeping import Standing

app = typer.Typer(no_args_is_help=True, help="This machine's clock, and the last instant that the database knows.")


@command(app, "show")
def show() -> None:
    """What the clock says, and the last instant that the database knows. Exit code 1 when it is not believed.

    Example: unefois clock show
    """

    from broker.services import keeping

    told = _told(at_home(keeping.clock))
    answer(told, lambda: _show(told))
    if not told["believed"]:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "accept")
def accept() -> None:
    """Say that this machine's clock is right: after the broker was switched off for long, or a backup was restored.

    Look at another clock first: what a wrong one ends stays ended.

    Example: unefois clock accept
    """

    from broker.services import keeping

    before, now = at_home(keeping.accept_clock)
    told = {"before": _told(before), "now": _told(now)}
    answer(told, lambda: _show(told["now"]))


def _told(standing: "Standing") -> dict[str, Any]:
    from broker import shapes

    return {
        "now": shapes.time_of(standing.now),
        "known": shapes.time_of(standing.known),
        "ahead_seconds": standing.ahead_ms // 1000,
        "trust_days": standing.trust_days,
        "believed": standing.believed,
    }


def _show(told: dict[str, Any]) -> None:
    pairs(
        [
            (say("horloge", "clock"), told["now"]),
            (say("dernier instant connu", "last known"), told["known"] or "-"),
            (say("admis (jours)", "trusted (days)"), told["trust_days"]),
        ]
    )
    if told["believed"]:
        line(say("L'horloge est admise.", "The clock is believed."))
    else:
        line(say("L'horloge n'est pas admise.", "The clock is not believed."))
