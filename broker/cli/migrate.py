"""Command migrate: the tables of this home's database become those of this version.

Refuses: a database that is not ours, or that a newer version made.
Keeps: the upgrade happens whole or not at all; done again, it does nothing.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from broker.cli.exits import Exit
from broker.cli.frame import command, say
from broker.cli.session import settings
from broker.cli.show import answer, line
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.settings.choices import Settings


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "migrate")(migrate)


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; exit code 1 when there is something to do.")
    ] = False,
) -> None:
    """Upgrade the database to this version. Stop every other process of this home first, and take a backup.

    Example: unefois migrate --check
    """
    here = settings()
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))
    found, needed = asyncio.run(_migrate(here, check))

    def text() -> None:
        if found == needed:
            line(say(f"Rien à faire : révision {found}.", f"Nothing to do: revision {found}."))
        elif check:
            line(say(f"À faire : de {found or '-'} à {needed}.", f"To do: from {found or '-'} to {needed}."))
        else:
            line(say(f"Fait : de {found or '-'} à {needed}.", f"Done: from {found or '-'} to {needed}."))

    answer({"from": found, "to": needed, "done": found != needed and not check}, text)
    if check and found != needed:
        raise typer.Exit(Exit.FINDINGS)


async def _migrate(here: "Settings", check: bool) -> tuple[str | None, str]:
    """The revision before, and the one that is needed."""
    from broker.store import migrate
    from broker.store.engine import Store

    async with Store.open(here.database_url) as store:
        found = await migrate.known(store)
    if not check:
        await migrate.upgrade(here.database_url)
    return found, migrate.head()
