"""Command audit disclose, and what an auditor does with its file.

Refuses: nothing of its own.
Keeps: the file is written for its owner alone, and never over another one.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from broker.cli.frame import command, say
from broker.cli.session import at_home, instant, read_file, write_file
from broker.cli.show import answer, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from broker.setup.wiring import Home
    from schemas.disclosure import Disclosure

BYTES: Final = 2**31
"""The largest file that an auditor may have been given: some millions of entries."""


def register(app: typer.Typer) -> None:
    """Add the command to `audit`."""
    command(app, "disclose")(disclose)


def disclose(
    since: Annotated[str, typer.Option("--from", metavar="INSTANT", help="RFC 3339, or a day: in the period.")],
    until: Annotated[str, typer.Option("--to", metavar="INSTANT", help="RFC 3339, or a day: after the period.")],
    auditor: Annotated[str, typer.Option("--for", metavar="AUDITOR", help="A party with a sealing key of its own.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the sealed file goes; never written over.")],
) -> None:
    """Give an auditor what opens the ledger's entries of a period: sealed to the auditor, and told in the ledger.

    Example: unefois audit disclose --from 2026-11-01 --to 2026-12-01 --for urn:fr:siret:11000101300017 november.json
    """
    from schemas.names import PartyId

    begin, end, whom = instant(since, end_of_day=False), instant(until, end_of_day=False), PartyId(auditor)

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services.disclosing import disclose as make

        if file.exists():
            raise Refused("cli.cannot-write", file=str(file), error="FileExistsError")
        done = await make(home, begin, end, whom)
        write_file(file, done.sealed)
        return {"file": str(file), "openings": done.openings, "entry": done.entry.hex()}

    told = at_home(work)
    answer(
        told,
        lambda: pairs(
            [
                (say("fichier", "file"), told["file"]),
                (say("ouvertures", "openings"), told["openings"]),
                (say("fait du registre", "entry of the ledger"), told["entry"]),
            ]
        ),
    )


def disclosure_of(file: Path, key: Path | None) -> "Disclosure":
    """What an auditor was given, opened with the auditor's key file. Raises Refused `disclosure.*`, `key-file.*`."""
    from connectors import key_files
    from schemas import disclosure
    from schemas.hpke import SealingKey

    raw = read_file(file, BYTES)
    if not disclosure.is_sealed(raw):
        return disclosure.Disclosure.parse(raw)
    if key is None:
        raise typer.BadParameter("the file is sealed: your private key is needed", param_hint="--opening-key")
    private = key_files.read(key)
    if not isinstance(private, SealingKey):
        raise Refused("disclosure.other-key", kid=private.kid.hex())
    return disclosure.open_sealed(raw, private)
