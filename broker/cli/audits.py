"""Commands that prove and verify: `unefois audit ...`.

Refuses: nothing of its own.
Keeps: `check` and `verify DIR` need no home, no network and no database; of our packages, `check` needs `schemas` alone
(`tests/unit/broker/cli/test_cli_audits.py` looks).
"""

from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.exits import Exit
from broker.cli.frame import chosen, command, say, tell_fault
from broker.cli.ledger import followed, shapes
from broker.cli.session import at_home, read_file
from broker.cli.show import answer, line, pairs

if TYPE_CHECKING:
    from broker.setup.wiring import Home
    from broker.transparency.audits import Audited, Grown
    from schemas.disclosure import Disclosure
    from schemas.facts import Facts
    from schemas.note import VerifierKey

app = typer.Typer(no_args_is_help=True, help="The ledger: verify it whole, prove one fact, check a proof offline.")

KeyOption = Annotated[
    str | None,
    typer.Option("--key", metavar="VKEY", help="The ledger's verifier key, or a file that holds it: pin it yourself."),
]


@command(app, "verify")
def verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="An exported ledger. Default: the one of this home.")
    ] = None,
    key: KeyOption = None,
    openings: Annotated[
        Path | None, typer.Option("--openings", metavar="FILE", help="What `unefois audit disclose` made for you.")
    ] = None,
    opening_key: Annotated[
        Path | None, typer.Option("--opening-key", metavar="FILE", help="Your private key, which it was sealed to.")
    ] = None,
) -> None:
    """Verify a whole ledger: signature, tiles, every entry, and the rules of the house. Exit code 1 if one is broken.

    With --openings also the rules that anybody else cannot check: each release within its consent, and none after its
    end.

    Example: unefois audit verify ./log --key unefois.example/ledger+0a1b2c3d+AW...
    """
    from broker.cli.disclosures import disclosure_of

    opened = None if openings is None else disclosure_of(openings, opening_key)
    if folder is None:
        audited = at_home(lambda home: _audit_home(home, opened))
    else:
        from broker.transparency.audits import audit_folder

        audited = audit_folder(folder, None if key is None else verifier_key(key), opened)
    told = _audited(audited)
    answer(told, lambda: _show_audited(told))
    if audited.findings:
        raise typer.Exit(Exit.FINDINGS)


@command(app, "prove")
def prove(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of a declaration, a delivery or a grant.")],
    kind: Annotated[
        str | None, typer.Option("--kind", help="Which fact: received, released, applied, granted, revoked ...")
    ] = None,
) -> None:
    """The newest fact about a declaration, a delivery or a grant, as a receipt that verifies offline, without us.

    Example: unefois audit prove 0192f3a1-... --kind released > receipt.txt
    """
    raw = _id(id_)

    async def work(home: "Home") -> str:
        from broker.services import proofs
        from schemas.facts import FactKind

        names = {each.value for each in FactKind}
        if kind is not None and kind not in names:
            raise typer.BadParameter(", ".join(sorted(names)), param_hint="--kind")
        return await proofs.prove(home, raw, None if kind is None else FactKind(kind), chosen().language)

    receipt = at_home(work)
    answer({"receipt": receipt}, lambda: print(receipt, end=""))


@command(app, "check")
def check(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="What `unefois audit prove` printed.")],
    key: Annotated[str, typer.Option("--key", metavar="VKEY", help="The ledger's verifier key, or a file with it.")],
    witnesses: Annotated[
        list[str] | None, typer.Option("--witness", metavar="VKEY", help="A witness's key. Repeatable.")
    ] = None,
    needed: Annotated[int, typer.Option("--needed", min=0, help="How many witnesses must have signed.")] = 0,
) -> None:
    """Check a receipt offline: no home, no network, no database. Exit code 1 if it proves nothing.

    Example: unefois audit check receipt.txt --key vkey
    """
    from schemas.errors import Refused
    from schemas.receipt import check as check_receipt
    from schemas.receipt import meaning

    log, others = verifier_key(key), [verifier_key(one) for one in witnesses or ()]
    try:
        checked = check_receipt(read_file(receipt).decode("utf-8", "replace"), log, others, needed)
    except Refused as fault:
        tell_fault(fault)
        raise typer.Exit(Exit.FINDINGS) from None
    facts = meaning(checked.facts, chosen().language)
    told = {
        "valid": True,
        "origin": checked.origin,
        "index": checked.index,
        "size": checked.size,
        "witnesses": [one.name for one in checked.witnesses],
        "facts": _facts(checked.facts),
    }

    def text() -> None:
        number = f"{checked.origin}, {say('entrée', 'entry')} {checked.index} / {checked.size}"
        line(say(f"Vérifié : {number}", f"Verified: {number}"))
        pairs(list(facts), indent=2)

    answer(told, text)


@command(app, "export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made where it is not there; brought up to date else.")],
) -> None:
    """Write the ledger as files that any C2SP tlog-tiles reader reads: checkpoint, tile/..., vkey.

    Example: unefois audit export /var/www/ledger
    """

    from broker.services import ledgers

    done, key = at_home(lambda home: ledgers.export(home, folder))
    told = {
        "folder": str(folder),
        "size": done.size,
        "before": done.before,
        "files": done.files,
        "key": key.text,
    }

    def text() -> None:
        pairs(
            [
                (say("dossier", "folder"), told["folder"]),
                (say("entrées", "entries"), f"{told['size']} ({told['before']} {say('avant', 'before')})"),
                (say("fichiers écrits", "files written"), told["files"]),
                (say("clé", "key"), told["key"]),
            ]
        )

    answer(told, text)


@command(app, "consistency")
def consistency(
    old: Annotated[
        str | None,
        typer.Argument(metavar="[OLD]", help="A size, or a file with an earlier checkpoint. Default: the one before."),
    ] = None,
) -> None:
    """Prove that the ledger only grew: that the newest tree begins with an older one. Exit code 1 if it does not.

    Example: unefois audit consistency ./checkpoint-of-last-year
    """
    from schemas.errors import Refused

    async def work(home: "Home") -> "Grown":
        from broker.services import proofs
        from schemas.note import Note

        before = None if old is None else int(old) if old.isdecimal() else Note.parse(read_file(Path(old)))
        return await proofs.grown_since(home, before)

    try:
        found = at_home(work)
    except Refused as fault:
        if fault.code.partition(".")[0] not in {"merkle", "tiles", "checkpoint", "note"}:
            raise
        tell_fault(fault)
        raise typer.Exit(Exit.FINDINGS) from None
    told = _grown(found)
    answer(told, lambda: _show_grown(told))


async def _audit_home(home: "Home", opened: "Disclosure | None") -> "Audited":
    from broker.services.proofs import audit_home

    return await audit_home(home, opened)


def verifier_key(text: str) -> "VerifierKey":
    """A verifier key from its text, or from a file that holds it. Raises Refused `note.*`."""
    from schemas.note import VerifierKey

    path = Path(text)
    if "+" not in text or path.is_file():
        text = read_file(path).decode("utf-8", "replace")
    return VerifierKey.parse(text.strip())


def _id(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raw = b""
    if len(raw) != 16:
        raise typer.BadParameter("32 hexadecimal digits are needed, with or without dashes", param_hint="ID")
    return raw


def _facts(facts: "Facts") -> dict[str, Any]:
    """What facts say, by the names of docs/protocol.md, section 8."""
    from schemas.names import rfc3339

    told = {each.name: getattr(facts, each.name) for each in fields(facts)} | {"at": rfc3339(facts.at)}
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in told.items()}
    return {name: value.value if isinstance(value, Enum) else value for name, value in plain.items()}


def _audited(found: "Audited") -> dict[str, Any]:
    from schemas.messages import explain

    messages = [(fault, explain(fault, chosen().language)) for fault in found.findings]
    return {
        "valid": not found.findings,
        "origin": found.key.name,
        "size": None if found.tree is None else found.tree.size,
        "root": None if found.tree is None else found.tree.root.hex(),
        "key": found.key.text,
        "key_pinned": found.pinned,
        "follows": shapes(found.follows),
        "findings": [
            {"code": fault.code, "pointer": fault.pointer, "message": message.wrong, "remedy": message.remedy}
            for fault, message in messages
        ],
    }


def _show_audited(told: dict[str, Any]) -> None:
    if told["valid"]:
        line(say("Vérifié : tout est en ordre.", "Verified: all is well."))
    pairs(
        [
            (say("registre", "ledger"), told["origin"]),
            (say("entrées", "entries"), told["size"]),
            (say("racine", "root"), told["root"]),
            (say("clé", "key"), told["key"]),
        ]
    )
    for one in told["follows"]:
        line(followed(one))
    if not told["key_pinned"]:
        line(
            say(
                "La clé vient du dossier lui-même : comparez-la à celle que vous connaissez, ou donnez --key.",
                "The key comes from the folder itself: compare it with the one that you know, or give --key.",
            )
        )
    for one in told["findings"]:
        line(f"✗ {one['code']}  {one['pointer']}\n    {one['message']} {one['remedy']}")


def _grown(found: "Grown") -> dict[str, Any]:
    return {
        "consistent": True,
        "origin": found.new.origin,
        "old": {"size": found.old.size, "root": found.old.root.hex()},
        "new": {"size": found.new.size, "root": found.new.root.hex()},
        "proof": [one.hex() for one in found.proof],
    }


def _show_grown(told: dict[str, Any]) -> None:
    line(say("Le registre n'a fait que grandir.", "The ledger only grew."))
    pairs(
        [
            (say("registre", "ledger"), told["origin"]),
            (say("avant", "before"), f"{told['old']['size']}  {told['old']['root']}"),
            (say("maintenant", "now"), f"{told['new']['size']}  {told['new']['root']}"),
            *((say("preuve", "proof"), one) for one in told["proof"]),
        ]
    )
