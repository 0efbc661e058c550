"""Command `unefois repair`: a citizen adds their number at an administration that has not found them.

Refuses: a name or a number as a word of the command line, where the shell's history and other processes could read it.
Keeps: nothing of its own; `broker.services.repairing` does it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import command, say
from broker.cli.grants import CapacityOption, ChannelOption, GivenBy, PersonOption, document_of, voice_of
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, line, pairs

if TYPE_CHECKING:
    from broker.services.repairing import Outlook, Repaired
    from broker.setup.wiring import Home

_NUMBER_BYTES = 1_024


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "repair")(repair)


def repair(
    declaration: Annotated[str, typer.Argument(metavar="ID", help="The declaration, as `unefois declare` printed it.")],
    *,
    to: Annotated[str, typer.Option("--to", metavar="ID", help="The administration that has not found them.")],
    person: PersonOption,
    number_kind: Annotated[
        str, typer.Option("--number-kind", help="What it calls the number, as on its letters: numéro allocataire.")
    ],
    number: Annotated[
        Path,
        typer.Option("--number", metavar="FILE", help="A file with the number alone. `-` reads what is piped in."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    source: Annotated[
        str | None, typer.Option("--source", metavar="ID", help="Who declares, where several parties here may.")
    ] = None,
    given_by: GivenBy = "self",
    capacity: CapacityOption = "self",
    channel: ChannelOption = "online",
) -> None:
    """Add a citizen's number at an administration that has not found them; the declaration is tried again afterwards.

    The number goes to that administration alone, sealed. Three times for each declaration.

    Example: unefois repair 0192f3a1-... --to urn:fr:siret:77568501300025 --person me.yaml
    --number-kind "numéro allocataire" --number number.txt
    """
    from broker.services import repairing
    from schemas.names import DeclarationId, PartyId

    whose = document_of(person)
    asked = repairing.Repair(
        declaration=DeclarationId.parse(declaration),
        to=PartyId(to),
        person=whose if isinstance(whose, dict) else {},
        number_kind=number_kind,
        number=read_file(number, _NUMBER_BYTES).decode("utf-8", "replace").strip(),
    )
    voice, who = voice_of(given_by, capacity, channel), None if source is None else PartyId(source)

    async def work(home: "Home") -> dict[str, Any]:
        if dry_run:
            return {"outlook": _outlook(await repairing.explain(home, asked, voice, who)), "repaired": None}
        done = await repairing.repair(home, asked, voice, who)
        return {"outlook": _outlook(done.outlook), "repaired": _repaired(done)}

    told = at_home(work)
    answer(told, lambda: _print(told))


def _outlook(one: "Outlook") -> dict[str, Any]:
    return {"source": one.source, "recipient": one.recipient, "text": one.text, "tries_left": one.left}


def _repaired(one: "Repaired") -> dict[str, Any]:
    from broker.shapes import uuid_of

    return {"reference": uuid_of(one.reference), "grant": uuid_of(one.grant), "number_of_try": one.number}


def _print(told: dict[str, Any]) -> None:
    line(told["outlook"]["text"])
    done = told["repaired"]
    pairs(
        [
            (say("essais restants", "tries left"), told["outlook"]["tries_left"] - (done is not None)),
            (say("numéro transmis par", "number handed in as"), None if done is None else done["reference"]),
            (say("consentement", "consent"), None if done is None else done["grant"]),
        ]
    )
