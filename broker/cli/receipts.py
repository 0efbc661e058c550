"""Commands about consent receipts: `unefois receipt ...`.

Refuses: a directory that is signed, and no key to check that with: then nothing would be pinned.
Keeps: `verify` needs no home, no network and no database.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import command, say, tell_fault
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, line, pairs
from schemas.errors import Refused

if TYPE_CHECKING:
    from consent.receipt_content import ReceiptContent
    from schemas.directory import Directory

app = typer.Typer(no_args_is_help=True, help="Consent receipts: check one offline; the directory to check it with.")


@command(app, "directory")
def directory() -> None:
    """The directory with its signed note, as a file that receipts are checked with. Publish it, or keep it.

    Example: unefois receipt directory > directory.json
    """

    import json

    from broker.services import parties

    newest = at_home(parties.directory)
    told = {"directory": newest.content, "note": newest.note}
    answer(told, lambda: line(json.dumps(told, ensure_ascii=False)))


@command(app, "verify")
def verify(
    receipt: Annotated[
        Path, typer.Argument(metavar="RECEIPT", help="What `unefois grant --receipt` or `acknowledge` wrote.")
    ],
    directory_file: Annotated[
        Path,
        typer.Option(
            "--directory", metavar="FILE", help="What `unefois receipt directory` or /v1/directory:signed gave."
        ),
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="VKEY", help="The ledger's verifier key, or a file with it: pin it yourself."),
    ] = None,
) -> None:
    """Check a receipt or an acknowledgement offline: no home, network or database. Exit code 1 if it proves nothing.

    The broker's public keys come from the directory; that this is the broker's, its note says, by the ledger's key. A
    directory without a note is believed as it is: give only one that you have pinned yourself.

    Example: unefois receipt verify consent.json --directory directory.json --key vkey
    """
    from consent.receipt import verify_by_directory

    raw, told_directory = read_file(receipt), read_file(directory_file)
    try:
        believed = _believed(told_directory, key)
        if (paper := _acknowledgement(raw)) is not None:
            _tell_acknowledged(paper, believed)
            return
        told = _shape(verify_by_directory(raw, believed))
    except Refused as fault:
        tell_fault(fault)
        raise typer.Exit(Exit.FINDINGS) from None

    def text() -> None:
        line(say("Vérifié : ce reçu est celui du courtier.", "Verified: this receipt is the broker's."))
        pairs(
            [
                (say("courtier", "broker"), f"{told['broker_name']} ({told['broker']})"),
                (say("consentement", "grant"), f"{told['grant']}, version {told['version']}"),
                (say("état", "status"), told["status"]),
                (say("le", "at"), told["at"]),
                (say("destinataire", "recipient"), f"{told['recipient_name']} ({told['recipient']})"),
                (say("type", "type"), told["event_type"]),
                (say("finalité", "purpose"), told["purpose_label"]),
                (say("champs", "fields"), ", ".join(told["fields"])),
                (say("fondement", "basis"), told["basis"]),
                (say("jusqu'à", "until"), told["expires_at"]),
                (say("entrée du registre", "ledger entry"), told["entry"]),
            ],
            indent=2,
        )

    answer({"valid": True, **told}, text)


def _acknowledgement(raw: bytes) -> dict[str, Any] | None:
    """The parsed paper of `unefois acknowledge`; None where it is none."""
    import json

    from schemas.acknowledgement import FORMAT

    try:
        told = json.loads(raw)
    except ValueError:
        return None
    return told if isinstance(told, dict) and told.get("format") == FORMAT else None


def _tell_acknowledged(paper: dict[str, Any], believed: "Directory") -> None:
    from broker.shapes import time_of, uuid_of
    from schemas.acknowledgement import verify as verify_acknowledgement

    found = verify_acknowledgement(paper, believed)
    told = {
        "broker": found.receipt.broker,
        "number": uuid_of(found.receipt.declaration_id),
        "source": found.receipt.source,
        "received_at": time_of(found.receipt.received_at),
        "event_type": found.event_type,
    }

    def text() -> None:
        line(say("Vérifié : le courtier a signé ce qui suit.", "Verified: the broker has signed what follows."))
        names = (say("courtier", "broker"), say("numéro", "number"), "source", say("reçue", "received"), "type")
        pairs(list(zip(names, told.values(), strict=True)), indent=2)

    answer({"valid": True, **told}, text)


def _believed(raw: bytes, key: str | None) -> "Directory":
    """Raises Refused `directory.*`, `note.*`."""
    import json

    from broker.cli.audits import verifier_key
    from schemas import directory_note
    from schemas.directory import Directory
    from schemas.note import Note

    text = raw.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except ValueError:
        raise Refused("directory.malformed") from None
    if not (isinstance(told, dict) and isinstance(told.get("note"), str) and isinstance(told.get("directory"), str)):
        return Directory.from_json(text)
    if key is None:
        raise typer.BadParameter(
            "the directory is signed: give the ledger's key that you have pinned", param_hint="--key"
        )
    signed = Note.parse(told["note"].encode())
    return directory_note.verify(told["directory"], signed, verifier_key(key), None)[0]


def _shape(content: "ReceiptContent") -> dict[str, Any]:
    from broker.shapes import time_of, uuid_of

    terms = content.terms
    return {
        "broker": terms.issuer.party_id,
        "broker_name": terms.issuer.name,
        "grant": uuid_of(content.grant_id),
        "version": content.version,
        "status": content.status.value,
        "at": time_of(content.event_time),
        "recipient": content.recipient,
        "recipient_name": terms.controller.name,
        "event_type": content.event_type,
        "purpose": content.purpose,
        "purpose_label": content.purpose_label,
        "fields": list(content.fields),
        "basis": content.basis.text,
        "expires_at": time_of(content.expires_at),
        "principal": content.principal,
        "entry": content.ledger_entry.hex(),
    }
