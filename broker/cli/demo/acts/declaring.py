"""Declaring: she says it once; what the broker keeps of it; and whether the plan is the one that the dry run showed.

Refuses: nothing.
Keeps: the search for readable values looks into every file of the home, the database's journal and the keys too.
"""

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from broker.cli.demo import cast
from broker.cli.demo.stage import Stage
from broker.flow.arrived import Accepted
from broker.flow.desk import DryRun
from broker.flow.tracking import Track
from consent.policy import Permit
from schemas import signing
from schemas.directory import Directory
from schemas.envelope import SignedDeclaration
from schemas.intake_receipt import RECEIPT_TYPE
from schemas.locked import manifest_of
from schemas.names import Kid


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration that was handed in: the exact bytes, and the intake's answer."""

    envelope: bytes
    accepted: Accepted


async def declare(stage: Stage, dry: DryRun) -> Declared:
    """Sign, seal, hand in, route; then compare with the dry run, and look for the family in the broker's files."""
    home = stage.home
    envelope = await home.desk.envelope(cast.PORTAL, cast.ADDRESS, cast.move())
    declared = Declared(envelope, await home.intake.accept(envelope))
    await home.router.route()
    async with home.store.read() as tx:
        directory = await home.lookup.directory(tx)
    signed = SignedDeclaration.decode(envelope)
    _show(stage, signed, envelope)
    stage.claim("declare.signed", held=_signatures(signed, directory) == {"ED25519", "ML_DSA_44"})
    stage.claim("declare.receipt", held=_receipt_holds(declared.accepted, signed, directory), evidence=RECEIPT_TYPE)
    track = await home.tracking.track(declared.accepted.declaration_id)
    planned = sum(step.delivery is not None for step in track.steps)
    stage.claim("declare.as_rehearsed", held=_planned(track) == _rehearsed(dry), count=planned, total=len(track.steps))
    await claim_unreadable(stage)
    return declared


async def claim_unreadable(stage: Stage) -> None:
    """Look for every name, street, number and account in every file of the broker's home, and in its database, wherever
    that is.
    """
    copied = stage.folder("searched")
    copied.mkdir(exist_ok=True)
    await stage.back_up(copied / "unefois.db")
    looked = [readable(folder, cast.SECRETS) for folder in (stage.root / "home", copied)]
    found, size = set().union(*(words for words, _ in looked)), sum(size for _, size in looked)
    evidence = ", ".join(sorted(found)) or stage.words("declare.searched", count=len(cast.SECRETS), kib=size // 1024)
    stage.claim("declare.unreadable", held=not found, evidence=evidence)


def readable(folder: Path, words: Iterable[str]) -> tuple[set[str], int]:
    """Which of these words stand in clear in any file below a folder, and how many bytes were looked at.

    UTF-8, UTF-16 and ISO-8859-1, as written and in capitals.
    """
    spelled = {
        form.encode(codec): word
        for word in words
        for form in (word, word.upper())
        for codec in ("utf-8", "utf-16-le", "iso-8859-1")
    }
    found: set[str] = set()
    size = 0
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            size += len(content)
            found |= {word for form, word in spelled.items() if form in content}
    return found, size


def _show(stage: Stage, signed: SignedDeclaration, envelope: bytes) -> None:
    manifest = manifest_of(signed.payload)
    parts = (
        ("declare.manifest", len(signed.payload), len(manifest.digests)),
        ("declare.signatures", sum(len(each.signature) for each in signed.signatures), len(signed.signatures)),
        ("declare.sealed", sum(map(len, signed.sealed_fields)), len(signed.sealed_fields)),
        ("declare.key", len(signed.sealed_dek), 1),
        ("declare.clear", 0, ", ".join(signed.slip.territories)),
    )
    rows = [(f"{size:>6,}".replace(",", " ") if size else "", stage.words(key, told=told)) for key, size, told in parts]
    stage.telling.table((stage.words("declare.bytes"), stage.words("declare.envelope", size=len(envelope))), rows)


def _signatures(signed: SignedDeclaration, directory: Directory) -> set[str]:
    """The algorithms of the signatures that verify, by the keys of the directory."""
    message = signing.pae(signed.payload_type, signed.payload)
    keys = [(directory.signing_key(each.kid), each.signature) for each in signed.signatures]
    return {key.algorithm.name for key, told in keys if signing.verify(key.algorithm, key.public, told, message)}


def _receipt_holds(accepted: Accepted, signed: SignedDeclaration, directory: Directory) -> bool:
    """Whether the broker's signed answer names this manifest and its own key signed it."""
    answer = json.loads(accepted.receipt)
    payload = b64decode(answer["payload"])
    (signature,) = answer["signatures"]
    key = directory.signing_key(Kid.parse(signature["keyid"]))
    message = signing.pae(RECEIPT_TYPE, payload)
    return (
        key.party == directory.broker
        and signing.verify(key.algorithm, key.public, b64decode(signature["sig"]), message)
        and json.loads(payload)["manifest"] == sha256(signed.payload).hexdigest()
    )


def _rehearsed(dry: DryRun) -> set[tuple[str, str]]:
    return {
        (
            line.subscription.recipient,
            ",".join(line.decision.fields) if isinstance(line.decision, Permit) else line.decision.reason.value,
        )
        for line in dry.lines
    }


def _planned(track: Track) -> set[tuple[str, str]]:
    return {
        (step.recipient, step.reason.value if step.reason is not None else ",".join(step.fields))
        for step in track.steps
    }
