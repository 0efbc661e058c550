"""Commands `move` and `move-log`: this home's database to another one; its log from the database to Kafka.

Refuses: nothing of its own.
Keeps: the settings are the operator's to change; until then the home says where its database went.
"""

import asyncio
from typing import Annotated

import typer

from broker.cli.acting import named
from broker.cli.frame import command, say
from broker.cli.session import settings
from broker.cli.show import answer, line


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "move")(move)
    command(app, "move-log")(move_log)


def move(
    to: Annotated[str, typer.Argument(metavar="URL", help="The new one's: postgresql+asyncpg://...")],
) -> None:
    """Move the database to another one, checked row by row; keys and files stay. Stop every process of the home first.

    Afterwards the old database refuses to be opened: give database_url the new address. Killed, call it again.

    Example: unefois move postgresql+asyncpg://unefois@db.nantes.example/unefois
    """
    from broker.setup.bootstrap import move_database

    with named(settings()):
        rows = asyncio.run(move_database(settings(), to))
    total = sum(rows.values())

    def text() -> None:
        line(say(f"{total} lignes déplacées et comparées.", f"{total} rows moved and compared."))
        line(
            say(
                "Écrivez maintenant la nouvelle adresse dans unefois.toml (database_url), puis : unefois fsck",
                "Now write the new address into unefois.toml (database_url), then: unefois fsck",
            )
        )

    answer({"rows": dict(rows)}, text)


def move_log() -> None:
    """Move the log from the database to the Kafka of the settings, compared record by record; each keeps its offset.

    Make the topic first: unefois topics apply. Stop every process of the home. Afterwards the table takes nothing any
    more: write log = "kafka". Killed, call it again.

    Example: unefois move-log
    """
    from broker.setup.bootstrap import move_log as moved

    with named(settings()):
        records = asyncio.run(moved(settings()))
    total = sum(records.values())

    def text() -> None:
        line(say(f"{total} enregistrements déplacés et comparés.", f"{total} records moved and compared."))
        line(
            say(
                'Écrivez maintenant log = "kafka" dans unefois.toml, puis : unefois fsck',
                'Now write log = "kafka" into unefois.toml, then: unefois fsck',
            )
        )

    answer({"records": {str(partition): count for partition, count in records.items()}}, text)
