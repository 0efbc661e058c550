"""Command migrate: the tables of this home's database become those of this version; a home that has no id gets one, and
a ledger of the first format is followed by one whose entries are sealed, and the rows that grant power are signed.

Refuses: a database that is not ours, or that a newer version made; to give one id to a database and keys that are not
shown to be one home's.
Keeps: each step happens whole or not at all; done again, it does nothing. A row that the ledger does not know is named,
and counts for nothing from then on.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say
from broker.cli.session import settings
from broker.cli.show import answer, line, pairs
from schemas.errors import Fault, Refused

if TYPE_CHECKING:
    from broker.setup.carrying import Carried


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "migrate")(migrate)


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; exit code 1 when there is something to do.")
    ] = False,
) -> None:
    """Upgrade the database to this version. Stop every other process of this home first, and take a backup.

    The first time, each row that grants power (keys, rights, tokens, subscriptions, epochs ...) is compared with the
    ledger and signed; one that the ledger does not know is named, and the exit code is 1.

    Example: unefois migrate --check
    """
    here = settings()
    if not here.keys_folder.is_dir():
        raise Refused("cli.no-home", file=str(here.home))
    from broker.setup.upgrading import upgrade_home

    told = asyncio.run(upgrade_home(here, check=check))
    found, needed, carried = told.found, told.needed, told.carried
    unsigned = [_told(fault) for fault in told.rows.unsigned]

    def text() -> None:
        if not told.due:
            line(say(f"Rien à faire : révision {found}.", f"Nothing to do: revision {found}."))
        elif carried is not None:
            _show_carried(carried)
        elif found == needed:
            line(
                say(
                    "À faire : l'identifiant du courtier." if check else "Fait : l'identifiant du courtier.",
                    "To do: the home's id." if check else "Done: the home's id.",
                )
            )
        elif check:
            line(say(f"À faire : de {found or '-'} à {needed}.", f"To do: from {found or '-'} to {needed}."))
        else:
            line(say(f"Fait : de {found or '-'} à {needed}.", f"Done: from {found or '-'} to {needed}."))
        if told.rows.signed:
            line(say(f"{told.rows.signed} lignes signées.", f"{told.rows.signed} rows signed."))
        for one in unsigned:
            line(f"✗ {one['code']}  {one['row']}\n    {one['message']} {one['remedy']}")

    answer(
        {
            "from": found,
            "to": needed,
            "adopted": told.pinned or not check,
            "done": told.due and not check,
            "signed": told.rows.signed,
            "unsigned": unsigned,
            "carried": None if carried is None else _carried(carried),
        },
        text,
    )
    if (check and told.due) or unsigned or (carried is not None and carried.findings):
        raise typer.Exit(Exit.FINDINGS)


def _carried(told: "Carried") -> dict[str, Any]:
    return {
        "first_ledger": {"origin": told.old.origin, "size": told.old.size, "root": told.old.root.hex()},
        "public": told.public,
        "grants": told.grants,
        "deliveries": told.deliveries,
        "findings": [{"check": one.check, "place": one.place, "wrong": one.wrong} for one in told.findings],
    }


def _show_carried(told: "Carried") -> None:
    line(say("Fait : le registre continue sous un nouveau nom.", "Done: the ledger goes on under a new name."))
    pairs(
        [
            (say("premier registre", "first ledger"), f"{told.old.origin}, {told.old.size}"),
            (say("sa racine", "its root"), told.old.root.hex()),
            (say("faits publics repris", "public facts carried"), told.public),
            (say("consentements repris", "consents carried"), told.grants),
            (say("livraisons reprises", "deliveries carried"), told.deliveries),
        ]
    )
    for one in told.findings:
        line(f"✗ {one.check}  {one.place}\n    {one.wrong}")


def _told(fault: Fault) -> dict[str, str]:
    from schemas.messages import explain

    said = explain(fault, chosen().language)
    row = f"{fault.details['table']}/{fault.details['row']}"
    return {"code": fault.code, "row": row, "message": said.wrong, "remedy": said.remedy}
