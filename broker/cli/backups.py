"""Commands about copies of the database: `unefois backup`, `unefois restore`, `unefois endings ...`.

Refuses: what `broker.services.backups` and `broker.services.restoring` refuse.
Keeps: nothing of its own.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.acting import named
from broker.cli.exits import Exit
from broker.cli.frame import command, say
from broker.cli.session import at_home, read_file, settings
from broker.cli.show import answer, line, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.access.operators import Account
    from broker.ledger.acting import Acting
    from broker.maintenance.completing import Completed
    from broker.settings.choices import Settings
    from broker.setup.wiring import Home

endings = typer.Typer(no_args_is_help=True, help="The journal of endings: what stays ended, whatever is put back.")

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "backup")(backup)
    command(app, "restore")(restore)
    app.add_typer(endings, name="endings")


def backup(folder: FolderArgument) -> None:
    """Copy the database as it is at this moment, with a signed manifest; the broker may run. Never keys, never journal.

    Of a PostgreSQL database the copy is made by its own tools, and the manifest is written beside it.

    Example: unefois backup /mnt/backups/2026-11-30
    """

    async def work(home: "Home") -> dict[str, Any]:
        from dataclasses import asdict

        from broker.services.backups import backup as make

        return asdict(await make(home, folder))

    told = at_home(work)

    def text() -> None:
        pairs(
            [
                (say("dossier", "folder"), str(folder)),
                (say("instant", "instant"), told["at"]),
                (say("registre", "ledger"), f"{told['size']}  {told['root']}"),
                (say("journal", "journal"), told["position"]),
                (say("clés nécessaires", "keys needed"), ", ".join(f"consent-epoch/{one}" for one in told["epochs"])),
            ]
        )
        if told["database"] == "postgresql":
            line(
                say(
                    "La base elle-même : pg_basebackup et l'archivage continu, ou pg_dump ; voir docs/operate.md.",
                    "The database itself: pg_basebackup with continuous archiving, or pg_dump; see docs/operate.md.",
                )
            )

    answer({"folder": str(folder), **told}, text)


def restore(
    folder: FolderArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Replace a database that is newer than the backup.")] = False,
    ledger_lost: Annotated[
        bool, typer.Option("--ledger-lost", help="The backup knows less of the ledger than was signed; go on without.")
    ] = False,
    approval: Annotated[
        Path | None, typer.Option("--approval", metavar="FILE", help="Another's yes, by `unefois approve-restore`.")
    ] = None,
) -> None:
    """Put a backup of the database back, and end in it again what has ended since. Stop every process first.

    On PostgreSQL its own tools put the database back first. Exit code 1 when fsck finds something.

    Example: unefois restore /mnt/backups/2026-11-30
    """
    from broker.services.restoring import restore as put_back

    here = settings()
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))
    with named(here, then=lambda one, told: _allowed(here, folder, approval, one, told, yes=yes, lost=ledger_lost)):
        done = asyncio.run(put_back(here, folder, yes=yes, ledger_lost=ledger_lost))
    again = _counted(done.again)
    findings = [{"check": one.check, "place": one.place, "wrong": one.wrong} for one in done.findings]

    def text() -> None:
        line(say(f"Remise en place : la base du {done.manifest.at}.", f"Put back: the database of {done.manifest.at}."))
        _show(again)
        if done.burned:
            line(say(f"Clés détruites, inconnues de cette base : {done.burned}", f"Keys destroyed: {done.burned}"))
        for one in findings:
            line(f"✗ {one['check']}  {one['place']}\n    {one['wrong']}")
        if not findings:
            line(say("Tout est en ordre.", "All is well."))

    told = {"at": done.manifest.at, "again": again, "burned": done.burned, "findings": findings}
    answer(told | {"needs_successor": done.needs_successor}, text)
    if findings:
        raise typer.Exit(Exit.FINDINGS)


@command(endings, "replay")
def replay() -> None:
    """End in the database what the journal says has ended. Each start does it for what is new; this looks at all of it.

    Example: unefois endings replay
    """
    from broker.services import keeping

    with named(settings()):
        again = _counted(asyncio.run(keeping.replay_endings(settings())))
    answer({"again": again}, lambda: _show(again))


@command(endings, "show")
def show() -> None:
    """How many records the journal has, of which objects, and how far the ledger was signed.

    Example: unefois endings show --json
    """

    from broker.services import keeping
    from broker.services.protecting import JOURNAL

    ended, marked = at_home(keeping.endings)
    kinds = Counter(ending.table for _, ending in ended.after(0) if ending.table not in JOURNAL)
    size, root = (0, None) if marked is None else (marked.size, marked.root.hex())
    told: dict[str, Any] = {
        "position": ended.position,
        "objects": dict(sorted(kinds.items())),
        "size": size,
        "root": root,
    }

    def text() -> None:
        pairs(
            [
                (say("enregistrements", "records"), told["position"]),
                *((f"  {name}", count) for name, count in told["objects"].items()),
                (say("registre signé jusqu'à", "ledger signed up to"), f"{told['size']}  {told['root'] or ''}".strip()),
            ]
        )

    answer(told, text)


def _allowed(
    here: "Settings",
    folder: Path,
    approval: Path | None,
    one: "Acting",
    accounts: "Sequence[Account]",
    *,
    yes: bool,
    lost: bool,
) -> None:
    """A restore takes two persons, where the settings say so. Raises Refused `approvals.*`."""
    from broker.services.approvals import check_restore, restore_arguments
    from broker.setup.opening import system_clock

    if here.four_eyes:
        raw = None if approval is None else read_file(approval)
        check_restore(raw, restore_arguments(folder, yes=yes, ledger_lost=lost), one, accounts, system_clock())


def _counted(again: "Sequence[Completed]") -> dict[str, dict[str, int]]:
    return {
        name: dict(sorted(Counter(one.table for one in again if one.done is done).items()))
        for name, done in (("done", True), ("obeyed", False))
    }


def _show(again: dict[str, dict[str, int]]) -> None:
    told = [(f"  {name}", count) for name, count in again["done"].items()]
    line(say("A pris fin de nouveau :", "Ended again:") if told else say("Rien à refaire.", "Nothing to end again."))
    pairs(told)
    for name, count in again["obeyed"].items():
        line(say(f"! {name} : {count}, obéi sans la ligne", f"! {name}: {count}, obeyed without the row"))
