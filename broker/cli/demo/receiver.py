"""The receiver: the health fund's own program. It is told by webhook, fetches, opens, verifies, keeps a file.

It stands for software that an administration writes itself, so it uses the contract (`schemas`) and its mailbox alone.

Refuses: a message whose signature does not verify, that is older than five minutes, or that is too large.
Keeps: a message tells that something waits, and no more is believed of it; a value is written down only after the ten
steps of protocol 7.
Source: Standard Webhooks 1.0.0, "Verifying signatures".
"""

import json
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.contract import Agency, Answered, Applied, Inbox, Pulled, Rejected
from connectors.plain import facts_of, plain
from schemas.delivery import ReleasedDelivery, VerifiedDelivery, open_release, verify_delivery
from schemas.errors import Refused
from schemas.names import DeclarationId, Instant, ManifestDigest, PartyId, Reason, uuid_text
from schemas.release import KeyRelease

MESSAGE_BYTES = 10_000
OLDEST_S = 300


class Doorbell:
    """An HTTP server on this machine that takes signed messages, in a thread of its own."""

    def __init__(self, public_key: str, clock: Callable[[], Instant]) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(b64decode(public_key.removeprefix("whpk_")))
        self._clock = clock
        self.heard: list[bytes] = []
        """Bodies of the messages that verified, in the order in which they came."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where messages are sent to."""
        return f"http://127.0.0.1:{self._server.server_port}/unefois"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def verifies(self, headers: dict[str, str], body: bytes) -> bool:
        """Whether the message is from who holds the key, and of now."""
        sent = headers.get("webhook-timestamp", "")
        if not sent.isdigit() or abs(self._clock() // 1000 - int(sent)) > OLDEST_S:
            return False
        signed = f"{headers.get('webhook-id', '')}.{sent}.".encode() + body
        return any(self._signed(signed, each) for each in headers.get("webhook-signature", "").split())

    def _signed(self, signed: bytes, told: str) -> bool:
        version, _, signature = told.partition(",")
        try:
            self._key.verify(b64decode(signature, validate=True), signed)
        except (InvalidSignature, NotBase64):
            return False
        return version == "v1a"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        doorbell = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(min(length, MESSAGE_BYTES))
                good = doorbell.verifies({name.lower(): told for name, told in self.headers.items()}, body)
                if good:
                    doorbell.heard.append(body)
                self.send_response(204 if good else 401)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: who was told what, and when, is no line for a screen."""

        return Handler


@dataclass(slots=True)
class HealthFund:
    """The fund's program. `refused` holds what it would not take: the delivery, and why."""

    inbox: Inbox
    agency: Agency
    folder: Path
    clock: Callable[[], Instant]
    refused: list[tuple[ReleasedDelivery, Refused]] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)
    """Family names that the fund does not find among its own, until their number comes."""
    _seen: dict[tuple[PartyId, DeclarationId], ManifestDigest] = field(default_factory=dict)

    async def fetch(self, limit: int = 10) -> Pulled:
        """Pull what waits, open it, verify it, keep it, acknowledge it. Returns what the mailbox handed out."""
        pulled = await self.inbox.pull(limit)
        if pulled.locked:
            kid = KeyRelease.decode(pulled.key_release).recipient_kid
            for released in open_release(pulled.locked, pulled.key_release, self.agency.sealing_keys[kid]):
                await self._take(released)
        return pulled

    def kept(self) -> list[dict[str, Any]]:
        """The fund's own files, oldest first."""
        return [json.loads(path.read_text("utf-8")) for path in sorted(self.folder.glob("*.json"))]

    async def _take(self, released: ReleasedDelivery) -> None:
        try:
            delivery = verify_delivery(
                released,
                recipient=self.agency.party,
                directory=self.agency.directory,
                catalogue=self.agency.catalogue,
                at=self.clock(),
                seen=lambda source, declaration: self._seen.get((source, declaration)),
            )
        except Refused as fault:
            self.refused.append((released, fault))
            rejected = Rejected(fault.code, Reason.INVALID_DELIVERY)
            await self.inbox.acknowledge_all({released.locked.delivery_id: rejected})
            return
        if self._not_found(delivery):
            await self.inbox.acknowledge_all({delivery.delivery_id: Answered(Reason.UNKNOWN_PERSON)})
            return
        name = self._keep(delivery)
        self._seen[delivery.source, delivery.declaration_id] = delivery.manifest_digest
        await self.inbox.acknowledge_all({delivery.delivery_id: Applied(name)})

    def _not_found(self, delivery: VerifiedDelivery) -> bool:
        """A number that comes is looked up: whom it names is found from then on."""
        person = delivery.record.get("subject")
        name = person["family_name"] if isinstance(person, Mapping) else ""
        if "number" in delivery.record:
            self.strangers.discard(name)
        return name in self.strangers

    def _keep(self, delivery: VerifiedDelivery) -> str:
        """One file a delivery; what was not disclosed is written as such, and not as null."""
        name = uuid_text(delivery.delivery_id)
        known = next(self.folder.glob(f"*-{name}.json"), None)
        if known is not None:
            return known.name
        told = {"delivery": facts_of(delivery), "record": plain(delivery.record)}
        path = self.folder / f"{sum(1 for _ in self.folder.glob('*.json')) + 1:04d}-{name}.json"
        path.write_text(json.dumps(told, ensure_ascii=False, indent=1, default=repr), "utf-8")
        return path.name
