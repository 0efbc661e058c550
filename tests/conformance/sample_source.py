"""A source on the SDK: declares what a JSON file says, once for each reference, and believes a good receipt only.

python -m tests.conformance.sample_source FILE
"""

import json
import os
import secrets
import sys
import time
from hashlib import sha256
from pathlib import Path

from connectors.blocking import BlockingClient
from schemas import catalogue, intake_receipt
from schemas.declaration import Source, declare
from schemas.envelope import SignedDeclaration
from schemas.errors import Fault
from schemas.names import DeclarationId, EventType, Instant, PartyId, uuid7
from schemas.signing import Algorithm, PrivateKey

OUTBOX = Path(os.environ.get("SAMPLE_FOLDER", "."))
YEAR_MS = 366 * 86_400_000


def signed(broker: BlockingClient, told: dict, task: dict) -> bytes:
    """The envelope of a reference: signed once, and kept before it is sent."""
    kept = OUTBOX / f"{task['reference']}.envelope"
    if kept.exists():
        return kept.read_bytes()
    directory, at = broker.directory(), Instant(time.time_ns() // 1_000_000)
    keys = [PrivateKey.from_raw(Algorithm[k["algorithm"].upper()], bytes.fromhex(k["private"]))
            for k in told["signing_keys"]]  # fmt: skip
    event = catalogue.builtin().by_type(EventType(task["event_type"]))
    envelope = declare(
        Source(PartyId(told["party"]), keys, told["policy"]),
        event,
        task["record"],
        subject_token=broker.resolve(task["record"]["subject"]),
        gate=directory.current_sealing_key(directory.broker, at),
        at=at,
        lifetime_ms=YEAR_MS,
        declaration_id=DeclarationId(uuid7(at, secrets.token_bytes(10))),
        entropy=secrets.token_bytes,
        corrects=None if task["corrects"] is None else DeclarationId.parse(task["corrects"]),
    ).encode()
    kept.write_bytes(envelope)
    return envelope


def main(task: dict) -> int:
    told = json.loads(Path(os.environ["UNEFOIS_AGENCY_FILE"]).read_text())
    with BlockingClient.open(told["url"], told["token"]) as broker:
        envelope = signed(broker, told, task)
        try:
            receipt = intake_receipt.verify(broker.declare(envelope).signed, broker.directory())
        except Fault as fault:
            print(fault.code, file=sys.stderr)
            return 1
    return 0 if receipt.manifest == sha256(SignedDeclaration.decode(envelope).payload).digest() else 1


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
