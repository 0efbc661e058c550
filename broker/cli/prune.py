"""Command prune: take away what has served its time.

Refuses: nothing; what is on its way, what waits and what the ledger rests on is not asked for.
Keeps: `broker.services.keeping` does it, in batches; stopped anywhere and called again, it goes on.
"""

from typing import Annotated

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, table


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "prune")(prune)


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
) -> None:
    """Take away what has served its time, by the retentions of the settings. Upkeep does it every hour by itself.

    Example: unefois prune --dry-run
    """

    from broker.services import keeping

    rows = dict(at_home(keeping.to_prune if dry_run else keeping.prune))

    def text() -> None:
        found = [(name, count) for name, count in rows.items() if count]
        if not found:
            line(say("Rien à faire.", "Nothing to do."))
            return
        table([say("table", "table"), say("à retirer", "to go") if dry_run else say("retiré", "gone")], found)

    answer({"dry_run": dry_run, "rows": rows}, text)
