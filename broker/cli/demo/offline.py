"""Offline: a process of its own that checks receipts with the contract alone: no broker, no database, no network.

    python offline.py VKEY-FILE RECEIPT...      prints one line of JSON

Refuses: nothing; a receipt that does not verify is told with its code.
Keeps: `schemas` is the only package of this project that it imports, and it says so in its answer.
"""

import json
import sys
from pathlib import Path

from schemas import receipt
from schemas.errors import Refused
from schemas.note import VerifierKey


def verdict(text: str, key: VerifierKey) -> str:
    """What the receipt proves, or the code with which it is refused."""
    try:
        return receipt.check(text, key).facts.kind.value
    except Refused as fault:
        return fault.code


def main(arguments: list[str]) -> None:
    """Check every receipt and print what came out."""
    key = VerifierKey.parse(Path(arguments[0]).read_text("utf-8").strip())
    verdicts = [verdict(Path(path).read_text("utf-8"), key) for path in arguments[1:]]
    ours = {"schemas", "consent", "broker", "connectors"}
    loaded = sorted(ours.intersection(name.partition(".")[0] for name in sys.modules))
    sys.stdout.write(json.dumps({"verdicts": verdicts, "imported": loaded}))


if __name__ == "__main__":
    main(sys.argv[1:])
