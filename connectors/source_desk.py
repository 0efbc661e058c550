"""The source's desk: plain facts in, a signed and sealed declaration at the broker, and its receipt back.

    1 accept   check the record, keep it in the outbox        crash from here on: the outbox has it, and it goes on
    2 resolve  ask the broker for a token of the person
    3 sign     seal each field, sign, keep the bytes
    4 publish  hand them in; the same bytes until there is an answer
    5 keep     the receipt, verified

Refuses: what `values` refuses, before anything is kept; what the broker refuses, with its code and the place.
Keeps: nothing accepted is lost, and nothing is said twice: an id is signed for once, unless the broker has refused
those bytes for a token or a gate's key that ended while they waited. What the broker forbids is parked, with its code:
it is not asked for ever, and goes on when somebody says so, or at the next start.
"""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import Any, Final
from weakref import WeakValueDictionary

from connectors import draft
from connectors.calls import Receipt
from connectors.client import Client
from connectors.outbox import Item, Outbox
from connectors.pinning import Pin
from connectors.retry import Backoff
from schemas import avro
from schemas.assurance import Provenance
from schemas.catalogue import Catalogue
from schemas.declaration import Source, declare
from schemas.directory import Directory
from schemas.errors import Fault, Refused, Unavailable
from schemas.names import DeclarationId, EventType, Instant, SchemaId, uuid7

_MEMBERS: Final = frozenset({"event_type", "record", "corrects", "provenance"})
_AGAIN: Final = frozenset(
    {
        "identity.token-expired",
        "identity.token-forged",
        "directory.key-expired",
        "directory.key-revoked",
        "directory.unknown-sealing-key",
    }
)
"""What the broker refuses of bytes that waited too long: they are signed anew, with a fresh token and gate key."""


FORBIDDEN: Final = 403
"""The broker knows who asks, and does not let it do this: asking again changes nothing before somebody mends it."""
PATIENCE_MS: Final = 3 * 86_400_000
"""How long it is tried again where the source is not let in at all; then somebody has to look."""


@dataclass(frozen=True, slots=True)
class Signer:
    """As whom it is signed, how long it lives, what is believed of the broker."""

    source: Source
    lifetime_ms: int
    catalogue: Catalogue
    pin: Pin


class SourceDesk:
    """One source at one broker. Its methods may be called concurrently."""

    def __init__(
        self,
        client: Client,
        outbox: Outbox,
        signer: Signer,
        *,
        clock: Callable[[], Instant],
        entropy: Callable[[int], bytes],
        backoff: Backoff,
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._signer = signer
        self._clock = clock
        self._entropy = entropy
        self._backoff = backoff
        self._directory: Directory | None = None
        self._looking = asyncio.Lock()
        self._busy: WeakValueDictionary[DeclarationId, asyncio.Lock] = WeakValueDictionary()

    def accept(self, asked: object, key: str) -> Item:
        """Check what a system of the source's wants declared, and keep it. `key`: its own, for asking again.

        `asked`: {event_type, record, corrects?, provenance?}. Raises Refused `source.members`, `draft.*`, `values.*`,
        `avro.*`, `name.*`, `assurance.unknown`, with the pointer into what was asked; `outbox.key-reused`; Unavailable
        `outbox.full`.
        """
        kept = json.dumps(self._checked(asked), sort_keys=True).encode()
        made = DeclarationId(uuid7(self._clock(), self._entropy(10)))
        return self._outbox.accept(made, key, sha256(kept).digest(), kept, self._clock())

    async def publish(self, declaration_id: DeclarationId) -> Item:
        """Bring a kept one to the broker, as far as it gets now. Nothing is raised for what the broker says of it."""
        # The worker and a request would both send the same; other declarations need not wait for it.
        lock = self._busy.setdefault(declaration_id, asyncio.Lock())
        async with lock:
            item = await asyncio.to_thread(self._outbox.of, declaration_id)
            if item is None:
                raise Refused("source.unknown", "/id")
            for last in (False, True):
                if item.state != "waiting":
                    break
                item, again = await self._tried(item)
                if last or not again:
                    break
            return item

    async def work(self) -> int:
        """Bring everything that is due to the broker, as far as it gets. Returns how many there were."""
        due = await asyncio.to_thread(self._outbox.due, self._clock())
        for declaration_id in due:
            item = await self.publish(declaration_id)
            if item.state == "waiting":
                break  # the broker is away: the others wait as well
        return len(due)

    def waiting(self) -> int:
        """How many wait for the broker."""
        return self._outbox.waiting()

    def parked(self) -> tuple[int, Sequence[Item]]:
        """How many wait for somebody to mend what the broker says, and the oldest hundred of them."""
        return self._outbox.parked(), self._outbox.list_parked()

    def retry(self) -> int:
        """What is parked is tried again. Returns how many."""
        return self._outbox.retry(self._clock())

    def prune(self, retention_ms: int) -> int:
        """Forget what ended so long ago; a key of then is a new one. Returns how many."""
        return self._outbox.prune(Instant(self._clock() - retention_ms))

    def of(self, declaration_id: DeclarationId) -> Item | None:
        """What became of a declaration."""
        return self._outbox.of(declaration_id)

    def keyed(self, key: str) -> Item | None:
        """What became of what was accepted under this key."""
        return self._outbox.keyed(key)

    async def follow(self, declaration_id: DeclarationId) -> Mapping[str, Any]:
        """How far it got beyond the broker, as `Client.follow`. Raises Refused `client.*`, Unavailable."""
        return await self._client.follow(declaration_id)

    def _checked(self, asked: object) -> dict[str, Any]:
        if not isinstance(asked, dict) or not {"event_type", "record"} <= asked.keys() <= _MEMBERS:
            raise Refused("source.members", members=", ".join(sorted(_MEMBERS)))
        named, corrects = asked["event_type"], asked.get("corrects")
        if not isinstance(named, str) or not (corrects is None or isinstance(corrects, str)):
            raise Refused("source.members", members=", ".join(sorted(_MEMBERS)))
        try:
            event_type = EventType(named)
            event = self._signer.catalogue.by_type(event_type)
        except Refused as fault:
            raise fault.under("/event_type") from None
        try:
            made = draft.of_record(asked["record"], event_type, self._signer.catalogue, self._clock())
        except Refused as fault:
            raise fault.under("/record") from None
        try:
            original = None if corrects is None else DeclarationId.parse(corrects).hex()
        except Refused as fault:
            raise fault.under("/corrects") from None
        try:
            stated = _stated(asked.get("provenance"))
        except Refused as fault:
            raise fault.under("/provenance") from None
        # In Avro, which keeps a decimal as it is; and only what a schema knows.
        written = avro.encode(event.schema, made.record)
        kept = {"schema": event.schema.id.hex(), "record": b64encode(written).decode(), "corrects": original}
        return kept if stated is None else kept | {"provenance": [each.value for each in astuple(stated)]}

    async def _tried(self, item: Item) -> tuple[Item, bool]:
        """One try: what is known afterwards, and whether it is worth another one at once."""
        of = item.declaration_id
        try:
            signed = item if item.envelope is not None else await self._sign(item)
            receipt = await self._client.declare(signed.envelope or b"")
            await self._check(receipt)
        except Unavailable as fault:
            return await self._later(item, fault), False
        except Refused as fault:
            return await self._denied(item, fault)
        text = json.dumps(dict(receipt.signed), sort_keys=True)
        return await asyncio.to_thread(self._outbox.received, of, text, self._clock()), False

    async def _denied(self, item: Item, fault: Refused) -> tuple[Item, bool]:
        """What follows from a refusal, and whether it is worth another try at once."""
        of, told, problem = item.declaration_id, str(fault.details.get("told", fault.code)), _kept(fault)
        if told in _AGAIN:
            self._directory = None
            return await asyncio.to_thread(self._outbox.unsign, of), True
        if fault.code == "client.refused" and told != "-":
            return await asyncio.to_thread(self._outbox.refused, of, told, fault.pointer, self._clock(), problem), False
        # A token that is not taken, a right that is missing, a key that is not pinned: no fault of the record.
        forbidden = fault.details.get("status") == FORBIDDEN
        if forbidden or self._clock() - item.at >= PATIENCE_MS:
            code = told if forbidden and told != "-" else fault.code
            return await asyncio.to_thread(self._outbox.park, of, code, fault.pointer, problem), False
        return await self._later(item, fault), False

    async def _later(self, item: Item, fault: Fault) -> Item:
        asked = fault.details.get("after_ms")
        wait = self._backoff.delay_ms(item.attempts, asked if isinstance(asked, int) and asked else None)
        next_at = Instant(self._clock() + wait)
        return await asyncio.to_thread(self._outbox.later, item, next_at, fault.code, _kept(fault))

    async def _sign(self, item: Item) -> Item:
        told = json.loads(item.draft or b"{}")
        event = self._signer.catalogue.by_id(SchemaId.parse(told["schema"]))
        record = avro.decode(event.schema, b64decode(told["record"]))
        try:
            token = await self._client.resolve(record["subject"], record.get("declarant"), record.get("capacity"))
        except Refused as fault:
            raise fault.under("/record") from None
        directory = await self._pinned()
        at = self._clock()
        signed = declare(
            self._signer.source,
            event,
            record,
            subject_token=token,
            gate=directory.current_sealing_key(directory.broker, at),
            at=at,
            lifetime_ms=self._signer.lifetime_ms,
            declaration_id=item.declaration_id,
            entropy=self._entropy,
            corrects=None if told["corrects"] is None else DeclarationId.parse(told["corrects"]),
            provenance=Provenance.read(*told["provenance"]) if "provenance" in told else None,
        )
        return await asyncio.to_thread(self._outbox.sign, item.declaration_id, signed.encode())

    async def _check(self, receipt: Receipt) -> None:
        """Verify a receipt; where the broker signs with a key that was listed since, by the newest directory."""
        try:
            receipt.verify(await self._pinned())
        except Refused as fault:
            if fault.code != "directory.unknown-key":
                raise
            self._directory = None
            receipt.verify(await self._pinned())

    async def _pinned(self) -> Directory:
        """The newest directory that follows from the pinned one; asked for anew when the gate's key has ended."""
        async with self._looking:
            if self._directory is not None:
                try:
                    self._directory.current_sealing_key(self._directory.broker, self._clock())
                except Refused:
                    self._directory = None
            if self._directory is None:
                self._directory = await self._client.pinned_directory(self._signer.pin)
            return self._directory


def _kept(fault: Fault) -> str | None:
    """What the broker answered, as the outbox keeps it."""
    return None if fault.problem is None else json.dumps(fault.problem, ensure_ascii=False)


def _stated(told: object) -> Provenance | None:
    """How sure it is: {assurance, quality, channel}, each a word. Raises Refused `source.members`,
    `assurance.unknown`.
    """
    if told is None:
        return None
    words = ("assurance", "quality", "channel")
    if not isinstance(told, dict) or set(told) != set(words) or not all(isinstance(told[word], str) for word in words):
        raise Refused("source.members", members=", ".join(words))
    return Provenance.read(*(told[word] for word in words))
