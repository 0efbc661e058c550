"""Commands about acts that take two persons: `unefois approvals`, `approve`, `refuse`, `approve-restore`.

Refuses: nothing of its own.
Keeps: what is approved is shown word for word first; `broker.services.approvals` decides.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from broker.cli.acting import named
from broker.cli.frame import command, say
from broker.cli.session import at_home, settings, write_file
from broker.cli.show import answer, each, line, pairs

if TYPE_CHECKING:
    from broker.access.requests import Request
    from broker.setup.wiring import Home

RequestArgument = Annotated[str, typer.Argument(metavar="ID", help="As `unefois approvals` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    command(app, "approvals")(approvals)
    command(app, "approve")(approve)
    command(app, "refuse")(refuse)
    command(app, "approve-restore")(approve_restore)


def approvals(every: Annotated[bool, typer.Option("--all", help="What is over, too.")] = False) -> None:
    """What waits for a second person, or, once approved, for whoever asked: who asked for what, and until when.

    Example: unefois approvals
    """

    async def work(home: "Home") -> list[dict[str, Any]]:
        from broker.services import approvals as services

        return [_told(one.request) | {"waits": one.waits} for one in await services.listed(home, every=every)]

    found = at_home(work)
    answer({"approvals": found}, lambda: each(found, _show))


def approve(request: RequestArgument) -> None:
    """Say yes to what somebody else asked for; they then give the same command again. Signed with your key.

    Example: unefois approve 0d9f5c1e-... --as ~/.config/unefois/bob.key
    """
    _decide(request, yes=True)


def refuse(request: RequestArgument) -> None:
    """Say no to what somebody else asked for.

    Example: unefois refuse 0d9f5c1e-...
    """
    _decide(request, yes=False)


def approve_restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The backup, as `unefois restore` will get it.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the yes is written, for `restore --approval`.")],
    *,
    whom: Annotated[str, typer.Option("--for", metavar="NAME", help="The account of whoever will restore.")],
    yes: Annotated[bool, typer.Option("--yes", help="They may replace a newer database.")] = False,
    ledger_lost: Annotated[bool, typer.Option("--ledger-lost", help="They may lose the ledger's end.")] = False,
) -> None:
    """Say yes to a restore: there may be no database to ask in, so the yes is a file, good for as long as others.

    Example: unefois approve-restore /mnt/backups/2026-11-30 yes.json --for anne.martin
    """
    from broker.services import accounts
    from broker.services import approvals as services
    from broker.setup.opening import system_clock
    from schemas.names import Instant, OperatorName

    here = settings()
    until = Instant(system_clock() + here.approval_hours * 3_600_000)
    with named(here):
        by = accounts.signer()
        arguments = services.restore_arguments(folder, yes=yes, ledger_lost=ledger_lost)
        write_file(file, services.sign_restore(arguments, by, OperatorName(whom), until))
    told = {"file": str(file), "for": whom, "manifest": arguments["manifest"]}
    answer(told, lambda: pairs([(say("fichier", "file"), str(file)), (say("pour", "for"), whom)]))


def _decide(request: str, *, yes: bool) -> None:
    raw = _id(request)

    async def work(home: "Home") -> dict[str, Any]:
        from broker.services import accounts
        from broker.services import approvals as services

        return _told(await (services.approve if yes else services.refuse)(home, raw, accounts.signer()))

    told = at_home(work)
    answer(told, lambda: _show(told))


def _id(text: str) -> bytes:
    try:
        return UUID(text).bytes
    except ValueError:
        raise typer.BadParameter("an id as `unefois approvals` shows it", param_hint="ID") from None


def _told(one: "Request") -> dict[str, Any]:
    from broker.shapes import time_of, uuid_of

    return {
        "id": uuid_of(one.id),
        **one.told,
        "state": one.state.value,
        "asked_by": one.asked_by,
        "asked_at": time_of(one.asked_at),
        "expires_at": time_of(one.expires_at),
        "decided_by": one.decided_by,
        "decided_at": time_of(one.decided_at),
    }


def _show(told: dict[str, Any]) -> None:
    line(f"{told['id']}  {told['act']}")
    sealed = say("scellé : `unefois protect request`", "sealed: `unefois protect request`")
    given = {name: sealed if name == "sealed" else one for name, one in told["arguments"].items()}.items()
    pairs([(name, ", ".join(one) if isinstance(one, list) else one) for name, one in given], indent=4)
    pairs(
        [
            (say("état", "state"), told["state"]),
            (say("demandé par", "asked by"), f"{told['asked_by']}, {told['asked_at']}"),
            (say("jusqu'à", "until"), told["expires_at"]),
            (say("décidé par", "decided by"), told["decided_by"]),
        ],
        indent=2,
    )
