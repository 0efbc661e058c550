"""Command acknowledge: the paper that a citizen keeps of a declaration.

Refuses: to write over a file; to show a value. Keeps: nothing of its own: `broker.services.acknowledging` makes it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.frame import chosen, command, say
from broker.cli.session import at_home, check_new, read_file, write_new
from broker.cli.show import answer, pairs


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    command(app, "acknowledge")(acknowledge)


def acknowledge(
    declaration: Annotated[str, typer.Argument(metavar="ID", help="What `unefois declare` printed.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The JSON file to write; it may not be there yet.")],
    *,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="What was declared, so that its values are on the paper, too."),
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option("--pdf", metavar="FILE", help="The same as a PDF, in the chosen language.")
    ] = None,
) -> None:
    """The acknowledgement for the citizen: number, content, recipients, date, contact, and the broker's signed receipt.

    Content is told by the labels of the fields: the broker cannot read the values. Whoever holds them gives the record.
    `unefois receipt verify` checks it.

    Example: unefois acknowledge 0192f3a1-... paper.json --pdf paper.pdf
    """
    import json

    from broker.services import acknowledging
    from connectors import draft
    from schemas.names import DeclarationId

    of = DeclarationId.parse(declaration)
    told_record: Any = None if record is None else draft.read(read_file(record))
    for one in (file, pdf):
        if one is not None:
            check_new(one)
    told = at_home(lambda home: acknowledging.acknowledgement(home, of, record=told_record))
    write_new(file, json.dumps(told, ensure_ascii=False, indent=2).encode())
    if pdf is not None:
        from broker.services.papers.acknowledgement import paper

        write_new(pdf, paper(told, chosen().language))
    shown = {
        "file": str(file),
        "pdf": None if pdf is None else str(pdf),
        "number": told["number"],
        "recipients": len(told["recipients"]),
        "values": told["values"],
    }

    def text() -> None:
        pairs(
            [
                (say("numéro", "number"), shown["number"]),
                (say("fichier", "file"), shown["file"]),
                ("PDF", shown["pdf"]),
                (say("destinataires", "recipients"), shown["recipients"]),
            ]
        )

    answer(shown, text)
