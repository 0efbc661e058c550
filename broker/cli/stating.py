"""The options by which a command states how sure a declaration is.

Refuses: a word that is none (`assurance.unknown`).
Keeps: where no option is given, nothing is stated.
"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.assurance import Provenance

AssuranceOption = Annotated[
    str | None,
    typer.Option(
        "--assurance", metavar="WORD", help="How the person was known: none, low, counter, substantial, high."
    ),
]
QualityOption = Annotated[
    str | None,
    typer.Option("--quality", metavar="WORD", help="What the fact rests on: declared, certified, authentic."),
]
ChannelOption = Annotated[
    str | None,
    typer.Option("--channel", metavar="WORD", help="How it came: online, counter, phone, post, system."),
]


def provenance_of(assurance: str | None, quality: str | None, channel: str | None) -> "Provenance | None":
    """What is stated of how sure it is; nothing where no option was given."""
    from schemas.assurance import Provenance

    if (assurance, quality, channel) == (None, None, None):
        return None
    return Provenance.read(assurance or "none", quality or "declared", channel or "online")
