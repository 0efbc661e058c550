"""Commands about purposes: what administrations may want declarations for (`unefois purpose ...`).

Refuses: nothing of its own.
Keeps: nothing of its own; `broker.services.purposes` does it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, each, pairs

if TYPE_CHECKING:
    from broker.directory.purposes import Added
    from consent.purposes import PurposeEntry

app = typer.Typer(no_args_is_help=True, help="Purposes: what administrations may want declarations for.")


@command(app, "add")
def add(file: Annotated[Path, typer.Argument(metavar="FILE", help="The purpose's texts, YAML or JSON.")]) -> None:
    """Add a purpose, or another text of one that there is, which becomes its next version.

    Nothing can name it until `unefois purpose approve`. What was approved never changes: who agreed to one version has
    not agreed to the next.

    Example: unefois purpose add school-meals.yaml
    """
    from broker.services import purposes
    from connectors.draft import read

    document = read(read_file(file))
    _tell(at_home(lambda home: purposes.add(home, document)))


@command(app, "approve")
def approve(purpose: Annotated[str, typer.Argument(metavar="PURPOSE", help="As `purpose list` shows it.")]) -> None:
    """Let a purpose be named, in exactly these words, which an open entry of the ledger commits to.

    Example: unefois purpose approve school-meals
    """
    from broker.services import purposes
    from schemas.names import Purpose

    of = Purpose(purpose)
    _tell(at_home(lambda home: purposes.approve(home, of)))


@command(app, "list")
def list_purposes() -> None:
    """Every purpose: those that come with the program, and those that were added.

    Example: unefois purpose list
    """
    from broker.services import purposes

    found = [_shape(entry, added) for entry, added in at_home(purposes.every)]
    answer({"purposes": found}, lambda: each(found, _show))


def _tell(added: "Added") -> None:
    told = _shape(added.entry, added)
    answer(told, lambda: _show(told))


def _shape(entry: "PurposeEntry", added: "Added | None") -> dict[str, Any]:
    from broker.shapes import time_of

    status = "built-in" if added is None else "asked" if added.approved_at is None else "approved"
    return {
        "id": entry.id,
        "version": entry.version,
        "families": sorted(family.value for family in entry.families),
        "label": dict(entry.label),
        "sentence": dict(entry.sentence),
        "legal": dict(entry.legal),
        "retention": dict(entry.retention),
        "contact": entry.contact,
        "status": status,
        "approved_at": None if added is None else time_of(added.approved_at),
    }


def _show(told: dict[str, Any]) -> None:
    language = chosen().language
    pairs(
        [
            (say("finalité", "purpose"), told["id"]),
            (say("nom", "label"), told["label"][language]),
            (say("pour", "for"), told["sentence"][language]),
            (say("fondements", "may rest on"), ", ".join(told["families"])),
            (say("texte", "legal text"), told["legal"][language] or None),
            (say("conservation", "kept for"), told["retention"][language] or None),
            (say("contact", "contact"), told["contact"] or None),
            (say("état", "status"), told["status"]),
        ]
    )
