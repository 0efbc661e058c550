"""Ports: what the machine asks of a log, a key store, a clock and a source of randomness.

Refuses: what is too large or badly named, here and once, so that no adapter has to (style, rule 5).
Keeps: the public methods below are final; an adapter fills in the underscored ones and inherits the promises, and
`tests/contract` holds every adapter to them.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import final

from schemas.errors import Fault, Refused
from schemas.names import Instant

Clock = Callable[[], Instant]
"""The time now, in milliseconds since 1970 (UTC). Only `broker.setup.opening` reads the machine's clock."""

Entropy = Callable[[int], bytes]
"""So many bytes from a cryptographically strong source: `secrets.token_bytes` outside tests."""

RECORD_BYTES = 1024 * 1024
"""Key, value, and header names and values together."""
KEY_BYTES = 1024
HEADERS = 32
HEADER_NAME_CHARACTERS = 64
READ_RECORDS = 1000
READ_BYTES = 8 * RECORD_BYTES
"""One read ends with the record that would pass this; the first is always given, so a reader always advances."""
SECRET_BYTES = 8192

_TOPIC = re.compile(r"[a-z][a-z0-9-]{0,62}(?:\.[a-z0-9-]{1,127}){0,2}")
_HEADER = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_KEY_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")
_OFFSET_LIMIT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """Where one record is: offsets count from 0 in each partition."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """What a reader gets. `at` is when the log took it, for showing, never for deciding."""

    position: Position
    key: bytes = field(repr=False)
    value: bytes = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False)
    at: Instant


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a writer gives: the key decides the partition."""

    key: bytes = field(repr=False)
    value: bytes = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False, default_factory=lambda: MappingProxyType({}))


class Log(ABC):
    """A durable, partitioned log.

    Promises, for every adapter:
    * `append` returns once the record is durable: killing this process, or the power, does not lose it. When it raises
      Unavailable the record may be there or not; the caller appends again and readers drop what they have seen.
    * It may be called concurrently, from several tasks and several processes.
    * Records with the same key go to the same partition, in the order in which their appends were called one after the
      other. Offsets of a partition only grow, and a record that was read is never replaced.
    * Partition counts of a topic never change while it holds records.
    """

    for_others = False
    """Whether others reach its topics with credentials of their own: only then may what is theirs be put there."""

    stale_seconds = 0.0
    """How long it may tell an end that is older than what was read: a node may not know yet that another leads."""

    async def look(self, topic: str, needed: frozenset[str]) -> tuple[Fault, ...]:
        """What is wrong with the surroundings of a topic; `needed`: `read`, `write`, `describe`. A log in the database
        has none of its own.
        """
        return ()

    async def cluster(self) -> str | None:
        """The identity of what keeps it, for ever the same; None: the database itself. Raises Unavailable."""
        return None

    def expect(self, cluster: str | None) -> None:  # noqa: B027 a log in the database is what it is
        """From now on whoever answers has to have this identity, where one is given; else all calls raise Corrupt
        `log.other-cluster`.
        """

    @final
    async def append(self, topic: str, key: bytes, value: bytes, headers: Mapping[str, bytes]) -> Position:
        """Add one record; durable once it returns.

        Raises Refused: `log.topic`, `log.key`, `log.header`, `log.too-large`. Raises Unavailable.
        """
        return (await self.append_all(topic, [Outgoing(key, value, headers)]))[0]

    @final
    async def append_all(self, topic: str, records: Sequence[Outgoing]) -> tuple[Position, ...]:
        """Add records, at most 1,000, in this order; all durable once it returns.

        Raises as `append`, before anything is added when one of them is refused. After Unavailable any of them may be
        there or not.
        """
        _check_topic(topic)
        if len(records) > READ_RECORDS:
            raise Refused("log.too-many", "/records", count=len(records), limit=READ_RECORDS)
        for record in records:
            _check_record(record)
        return await self._append_all(topic, records) if records else ()

    @final
    async def read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Record, ...]:
        """Up to `limit` records (1 to 1,000) from `offset` on, in order, none at the end; about 8 MiB at most.

        Raises Refused: `log.topic`, `log.partition`, `log.read`. Raises Unavailable.
        """
        await self._check_partition(topic, partition)
        if not 0 <= offset <= _OFFSET_LIMIT or not 0 < limit <= READ_RECORDS:
            raise Refused("log.read", offset=offset, asked=limit, limit=READ_RECORDS)
        return await self._read(topic, partition, offset, limit)

    @final
    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has: 1 or more. Raises Refused `log.topic`; raises Unavailable."""
        _check_topic(topic)
        return await self._partitions(topic)

    @final
    async def end(self, topic: str, partition: int) -> int:
        """The offset of the next record to come: 0 when empty. Raises Refused `log.partition`; raises Unavailable."""
        await self._check_partition(topic, partition)
        return await self._end(topic, partition)

    @final
    async def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """What `end` says of each of these partitions; one that cannot be asked now may be absent. Raises as `end`."""
        wanted = list(partitions)
        for partition in wanted:
            await self._check_partition(topic, partition)
        return await self._ends_of(topic, wanted)

    @final
    async def first(self, topic: str, partition: int) -> int:
        """The offset of the oldest record that is kept; as `end` when there is none. Raises as `end` does."""
        await self._check_partition(topic, partition)
        return await self._first(topic, partition)

    async def _check_partition(self, topic: str, partition: int) -> None:
        count = await self.partitions(topic)
        if not 0 <= partition < count:
            raise Refused("log.partition", partition=partition, count=count)

    @abstractmethod
    async def _append_all(self, topic: str, records: Sequence[Outgoing]) -> tuple[Position, ...]: ...

    @abstractmethod
    async def _read(self, topic: str, partition: int, offset: int, limit: int) -> tuple[Record, ...]: ...

    @abstractmethod
    async def _partitions(self, topic: str) -> int: ...

    @abstractmethod
    async def _end(self, topic: str, partition: int) -> int: ...

    async def _ends_of(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        return {partition: await self._end(topic, partition) for partition in partitions}

    @abstractmethod
    async def _first(self, topic: str, partition: int) -> int: ...


def partition_of(key: bytes, count: int) -> int:
    """Which of `count` partitions a key belongs to, the same for every adapter and for ever: the first 8 bytes of its
    SHA-256, which no version of Python or of a library changes, modulo the count.
    """
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % count


def _check_topic(topic: str) -> None:
    if not _TOPIC.fullmatch(topic):
        raise Refused("log.topic", length=len(topic))


def size_of(record: Outgoing) -> int:
    """What a record weighs: at most RECORD_BYTES may be appended."""
    return len(record.key) + len(record.value) + sum(len(name) + len(told) for name, told in record.headers.items())


def is_header(name: str) -> bool:
    """Whether a header may be called so."""
    return len(name) <= HEADER_NAME_CHARACTERS and _HEADER.fullmatch(name) is not None


def _check_record(record: Outgoing) -> None:
    if not 0 < len(record.key) <= KEY_BYTES:
        raise Refused("log.key", "/key", length=len(record.key), limit=KEY_BYTES)
    _check_headers(record.headers)
    if size_of(record) > RECORD_BYTES:
        raise Refused("log.too-large", size=size_of(record), limit=RECORD_BYTES)


def _check_headers(headers: Mapping[str, bytes]) -> None:
    if len(headers) > HEADERS:
        raise Refused("log.header", count=len(headers), limit=HEADERS)
    for name in headers:
        if not is_header(name):
            raise Refused("log.header", count=len(headers), limit=HEADERS)


class KeyKind(Enum):
    """What a secret is for; a secret of one kind is never read as another."""

    SIGNING = "signing"
    """Signing keys of the broker and of parties hosted here."""
    GATE = "gate"
    """The gate's HPKE keys, one per epoch: destroying one erases what was sealed to it, in every copy."""
    CONSENT_EPOCH = "consent-epoch"
    """Keys that wrap consent keys, one per epoch; never in the database or its backups."""
    PSEUDONYM = "pseudonym"
    IDENTITY = "identity"
    SALTS = "salts"
    """What the salts of the ledger's commitments are made of; itself made of the secret behind every reference, for
    processes that must not have that one."""
    LEDGER = "ledger"
    OPENING = "opening"
    """Keys that the ledger's openings are sealed under, one a period: destroying one makes its entries noise."""
    SEALING = "sealing"
    """HPKE keys of recipients hosted here."""
    HOME = "home"
    """Which home these keys are of, and its ledger's name; the database has both too, `broker.setup.belonging`."""
    ROWS = "rows"
    """The key that signs rows which grant power: for whoever acts (`broker.store.rows`)."""
    ROWS_PUBLIC = "rows-public"
    """Its public half, for whoever only checks; there once the home's rows are signed."""
    ENDINGS = "endings"
    """What the journal of endings is encrypted with (`broker.ended`)."""
    CHANNELS = "channels"
    """What citizens' e-mail addresses and numbers are encrypted with (`broker.messages`)."""
    DRAFTS = "drafts"
    """What is typed and not yet declared is encrypted with, and the same declaration known again by."""


class KeyStore(ABC):
    """Where secrets live, apart from the database.

    Promises, for every adapter:
    * `write` returns once the secret is durable, whole or not at all, and never replaces one.
    * `destroy` returns once this store cannot give the secret any more, after a crash either. Destroying what is not
      there is no error: it is how an interrupted destruction is finished.
    * Nothing but `read` gives a secret away: no repr, no error text.
    Calls are local and short, so they are plain functions; a remote key service loads what it needs when it is opened.
    """

    @final
    def read(self, kind: KeyKind, name: str) -> bytes:
        """The secret. Raises Refused `keys.missing`, `keys.not-of-role`; Corrupt `keys.damaged` when it is not what was
        written.
        """
        _check_key_name(name)
        return self._read(kind, name)

    def gives(self, kind: KeyKind, name: str | None = None) -> bool:
        """Whether this process may reach a secret, or secrets of a kind at all; not whether there is one."""
        return True

    @final
    def names(self, kind: KeyKind) -> tuple[str, ...]:
        """The names of all secrets of a kind, sorted as text. Raises Refused `keys.not-of-role`."""
        return tuple(sorted(self._names(kind)))

    @final
    def write(self, kind: KeyKind, name: str, secret: bytes) -> None:
        """Keep a secret of 1 to 8,192 bytes. Raises Refused `keys.exists`, `keys.name`, `keys.size`."""
        _check_key_name(name)
        if not 0 < len(secret) <= SECRET_BYTES:
            raise Refused("keys.size", length=len(secret), limit=SECRET_BYTES)
        self._write(kind, name, bytes(secret))

    @final
    def destroy(self, kind: KeyKind, name: str) -> None:
        """Make the secret unreadable for ever."""
        _check_key_name(name)
        self._destroy(kind, name)

    @abstractmethod
    def _read(self, kind: KeyKind, name: str) -> bytes: ...

    @abstractmethod
    def _names(self, kind: KeyKind) -> tuple[str, ...]: ...

    @abstractmethod
    def _write(self, kind: KeyKind, name: str, secret: bytes) -> None: ...

    @abstractmethod
    def _destroy(self, kind: KeyKind, name: str) -> None: ...


def _check_key_name(name: str) -> None:
    """Lower case only, so that file systems which fold case keep names apart; no way out of a folder."""
    if not _KEY_NAME.fullmatch(name) or ".." in name:
        raise Refused("keys.name", length=len(name))
