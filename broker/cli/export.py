"""Command export: everything of this home in open formats.

Refuses: what `broker.services.exporting` refuses.
Keeps: nothing of its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home
from broker.cli.show import answer, line, pairs, table

if TYPE_CHECKING:
    from broker.setup.wiring import Home


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "export")(export)


def export(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made; nothing may be in it.")]) -> None:
    """Everything of this home in open formats (JSON lines, Avro, tlog-tiles), to leave or to look with other tools.

    Values stay sealed, for the broker cannot read them, and no key is in it; what else is not, and why, is in
    DIR/manifest.json. Consents and facts are in clear: keep it as you keep the home. The ledger says that it was made.

    Example: unefois export /mnt/leaving
    """

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services.exporting import export_home

        done = await export_home(home, folder)
        return {"folder": str(folder), "entry": done.entry.hex(), **done.manifest}

    told = at_home(work)

    def text() -> None:
        pairs([(say("dossier", "folder"), told["folder"]), (say("entrée du registre", "ledger entry"), told["entry"])])
        line("")
        counted = [(one["path"], one["records"]) for one in told["files"] if "records" in one]
        table((say("fichier", "file"), say("enregistrements", "records")), counted)
        if told["not_routed"]:
            count = told["not_routed"]
            line("")
            line(
                say(
                    f"{count} déclarations, pas encore routées, manquent : `unefois run --once`, puis à nouveau.",
                    f"{count} declarations are not routed yet, and missing: `unefois run --once`, then once more.",
                )
            )

    answer(told, text)
