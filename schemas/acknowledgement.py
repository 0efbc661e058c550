"""Acknowledgement: the paper that a citizen keeps of what they declared; what of it is proven, and checked without us.

    receipt   the broker's signed receipt of the intake: number, source, instant, digest of the manifest
    manifest  the exact bytes that its digest is of: type and schema, so which fields there are

Refuses: a paper whose number, source, instant or type is not what the broker signed.
Keeps: recipients, labels and values are said and not proven: who got what is proven by the ledger's receipts, and
values by nobody but whoever holds them. A paper is as good as its copy: nothing of it is asked of a server.
Source: docs/adr/0054-a-persons-rights.md; docs/protocol.md, section 5.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from schemas import intake_receipt
from schemas.directory import Directory
from schemas.errors import Refused
from schemas.intake_receipt import IntakeReceipt
from schemas.locked import manifest_of
from schemas.names import EventType, rfc3339, uuid_text

FORMAT: Final = "unefois-acknowledgement/1"
MANIFEST_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What is proven of a paper."""

    receipt: IntakeReceipt
    event_type: EventType


def verify(told: Mapping[str, Any], directory: Directory) -> Acknowledged:
    """What the broker of this pinned directory has signed of a paper.

    Raises Refused: `acknowledgement.malformed`, `acknowledgement.differs`, `intake-receipt.*`, `directory.*`.
    """
    if told.get("format") != FORMAT or not isinstance(told.get("receipt"), Mapping):
        raise Refused("acknowledgement.malformed", "/format")
    # 1 What the broker signed: whoever writes a paper of their own has no key for it.
    receipt = intake_receipt.verify(told["receipt"], directory)
    # 2 The manifest is the one that was signed for: another declaration's type does not pass for this one's.
    try:
        raw = b64decode(told["manifest"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise Refused("acknowledgement.malformed", "/manifest") from None
    if len(raw) > MANIFEST_BYTES or sha256(raw).digest() != receipt.manifest:
        raise Refused("acknowledgement.differs", "/manifest")
    manifest = manifest_of(raw)
    # 3 What is read on the paper is what was signed: a true receipt below another number proves nothing.
    source = told.get("source")
    expected = {
        "/number": (told.get("number"), uuid_text(receipt.declaration_id)),
        "/received_at": (told.get("received_at"), rfc3339(receipt.received_at)),
        "/source/party": (source.get("party") if isinstance(source, Mapping) else None, receipt.source),
        "/event_type": (told.get("event_type"), manifest.event_type),
    }
    for pointer, (said, signed) in expected.items():
        if said != signed:
            raise Refused("acknowledgement.differs", pointer)
    return Acknowledged(receipt, manifest.event_type)
