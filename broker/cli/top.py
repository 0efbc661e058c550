"""Command top: how this broker is doing, live in a terminal.

Refuses: nothing; what is away is told, and asked again.
Keeps: the figures are those of /metrics, taken by the same code; looking changes nothing.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home
from broker.cli.show import answer, pairs
from schemas.errors import Unavailable
from schemas.messages import explain

if TYPE_CHECKING:
    from broker.maintenance.expiring import Expiring
    from broker.runtime.stats import Stats
    from broker.setup.wiring import Home

Rows = Sequence[tuple[str, object]]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "top")(top)


def top(
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
) -> None:
    """What waits, where, and since when; ends with Ctrl-C. With --json, --once or in a pipe: one look.

    Example: unefois top --once
    """
    from broker.runtime.stats import take

    if once or chosen().json or not sys.stdout.isatty():
        figures = at_home(take)
        answer(shape(figures), lambda: pairs(rows(figures)))
        return
    try:
        at_home(lambda home: _watch(home, every))
    except KeyboardInterrupt:
        return


async def _watch(home: "Home", every: float) -> None:
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    from broker.runtime.stats import take

    def drawn(rows: Rows) -> Table:
        shown = Table(title="unefois top", title_justify="left", box=None, show_header=False)
        for name, figure in rows:
            shown.add_row(Text(name), Text("-" if figure is None else str(figure), style="bold"))
        return shown

    with Live(drawn([]), auto_refresh=False, screen=True) as live:
        while True:
            try:
                shown = rows(await take(home))
            except Unavailable as fault:
                shown = [(fault.code, explain(fault, chosen().language).wrong)]
            live.update(drawn(shown), refresh=True)
            await asyncio.sleep(every)


def shape(figures: "Stats") -> dict[str, Any]:
    """The figures as JSON, with keys that stay; `unefois doctor` tells them, too."""
    from broker.shapes import time_of

    return {
        "at": time_of(figures.at),
        "lag": {str(partition): count for partition, count in figures.lag.items()},
        "undelivered_age_ms": figures.undelivered_age,
        "dead_letters": figures.letters,
        "ledger_entries": figures.ledger_size,
        "ledger_head_age_ms": figures.ledger_age,
        "ledger_waiting": figures.waiting,
        "ledger_waiting_age_ms": figures.waiting_age,
        "routers": figures.routers,
        "expiring": [_ending(one) for one in figures.expiring],
    }


def _ending(one: "Expiring") -> dict[str, Any]:
    from broker.shapes import time_of

    return {"party": one.party, "what": one.what, "kind": one.kind, "at": time_of(one.at)}


def rows(figures: "Stats") -> Rows:
    """The figures in words, for a person."""
    from broker.shapes import time_of

    behind = ", ".join(f"{partition}: {count}" for partition, count in figures.lag.items() if count)
    lag = f"{sum(figures.lag.values())}" + (f"  ({behind})" if behind else "") if figures.lag else "-"
    return [
        (say("à", "at"), time_of(figures.at)),
        (say("à router (par partition)", "to be routed (by partition)"), lag),
        (say("plus ancienne livraison en route", "oldest delivery on its way"), _age(figures.undelivered_age)),
        (say("lettres mortes", "dead letters"), figures.letters),
        (say("entrées au registre", "ledger entries"), figures.ledger_size),
        (say("dernier point de contrôle", "newest checkpoint"), _age(figures.ledger_age)),
        (say("entrées en attente", "entries waiting"), figures.waiting),
        (say("la plus ancienne", "the oldest of them"), _age(figures.waiting_age)),
        (say("routeurs", "routers"), figures.routers),
        *((say("expire bientôt", "expires soon"), _soon(one)) for one in figures.expiring),
    ]


def _soon(one: "Expiring") -> str:
    from broker.shapes import time_of

    return f"{one.party}  {one.what} {one.kind}  {time_of(one.at)}"


def _age(milliseconds: int | None) -> str:
    """In the largest unit that leaves a whole number to read."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds // 1000
    for length, unit in ((86_400, say("j", "d")), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
