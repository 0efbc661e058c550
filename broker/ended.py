"""Ended: what has ended for good, whatever a row says, and the journal that the machine asks and tells.

    tx.end(Ending) ──commit begins──► Endings.write ──► the database commits ──► acknowledged
    locks taken ──► (await tx.endings()).ended(table, key, version) ──► obeyed over the rows

Refuses: what is too large or badly named, here and once (style, rule 5).
Keeps: an ending that was acknowledged is in the journal; a journal lies beside the keys, outside the database and its
backups, so that nobody who writes rows, or puts older ones back, opens again what has ended.
Source: docs/architecture.md, "The endings journal"; docs/operate.md, "Backups".
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from schemas.errors import Corrupt, Refused
from schemas.names import Instant

FOREVER: Final = 2**63 - 1
"""The least acceptable version of what has ended for good."""
ENDING_BYTES: Final = 65_536
"""One ending, encoded."""
AT_ONCE: Final = 4096
"""Endings in one call."""
MARK_BYTES: Final = 16 * 1024 * 1024
"""One mark, encoded: a window of two million entries."""

OBJECTIONS: Final = "objections"
"""The table whose keys begin with a citizen's reference."""
SUBJECT_BYTES: Final = 32

LEDGER: Final = ("ledger", b"ledger")
"""Table and key of the record that stops the ledger: nothing is signed or released while its least version is above 0
(`broker.ledger.highwater`).
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """One record: of this object no version below `least` is acceptable from now on; 0 lifts what was said before.

    `table` and `key` name the object as the database does (`key_of`); an object without versions ends with FOREVER.
    `act` is JSON, enough to do it again: what became of the row. `actor`: who ended it, an identifier.
    """

    table: str
    key: bytes
    least: int
    at: Instant
    actor: str = ""
    act: bytes = field(default=b"{}", repr=False)

    @classmethod
    def of(cls, table: str, key: bytes, *, at: int, least: int = FOREVER, actor: str = "", **act: Any) -> "Ending":
        """`act`: names and values of JSON; bytes are told in hexadecimal."""
        told = {name: value.hex() if isinstance(value, bytes) else value for name, value in act.items()}
        encoded = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return cls(table, key, least, Instant(at), actor, encoded)

    @property
    def told(self) -> dict[str, Any]:
        """The act, decoded."""
        found: dict[str, Any] = json.loads(self.act)
        return found

    def encode(self) -> bytes:
        """u8 table | u16 key | u8 actor, each with its length before it; i64 least | u64 at; the act."""
        table, actor = self.table.encode(), self.actor.encode()
        head = bytes([len(table)]) + table + len(self.key).to_bytes(2, "big") + self.key + bytes([len(actor)]) + actor
        return head + self.least.to_bytes(8, "big", signed=True) + self.at.to_bytes(8, "big") + self.act

    @classmethod
    def decode(cls, raw: bytes) -> "Ending":
        """The inverse of `encode`. Raises ValueError, IndexError for what is none."""
        at = 1 + raw[0]
        table = raw[1:at].decode()
        size = int.from_bytes(raw[at : at + 2], "big")
        key = raw[at + 2 : at + 2 + size]
        at += 2 + size
        actor = raw[at + 1 : at + 1 + raw[at]].decode()
        at += 1 + raw[at]
        least = int.from_bytes(raw[at : at + 8], "big", signed=True)
        return cls(table, key, least, Instant(int.from_bytes(raw[at + 8 : at + 16], "big")), actor, raw[at + 16 :])


def key_of(*parts: bytes | str | int) -> bytes:
    """The key of an object: its bytes, or what its primary key is made of, in the order of its columns."""
    if len(parts) == 1 and isinstance(parts[0], bytes):
        return parts[0]
    return b"\x00".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)


class Ended:
    """What the journal said at the last look: the newest record of each object. Asking costs one dictionary."""

    def __init__(self) -> None:
        self.position = 0
        """The number of the newest record; 0: there is none."""
        self._newest: dict[tuple[str, bytes], tuple[int, Ending]] = {}
        self._moved: dict[str, int] = {}
        self._versions: dict[bytes, list[Ending]] = {}
        self._objected: dict[bytes, set[bytes]] = {}
        """The objections of each citizen: what is asked for hundreds of citizens and all rules at once."""

    def add(self, number: int, ending: Ending) -> None:
        """Take in the next record. A grant's least version never falls, in whatever order its records came."""
        before = self._newest.get((ending.table, ending.key))
        if ending.table != "grants" or before is None or ending.least >= before[1].least:
            self._newest[ending.table, ending.key] = (number, ending)
            if ending.table == "grants":
                self._versions.setdefault(ending.key, []).append(ending)
        if ending.table == OBJECTIONS:
            self._objected.setdefault(ending.key[:SUBJECT_BYTES], set()).add(ending.key)
        self._moved[ending.table] = self.position = number

    def least(self, table: str, key: bytes) -> int:
        """The least acceptable version of an object; 0 where nothing was said."""
        found = self._newest.get((table, key))
        return 0 if found is None else found[1].least

    def ended(self, table: str, key: bytes, version: int = 0) -> bool:
        """Whether this version of an object is one that has ended."""
        return version < self.least(table, key)

    def newest(self, table: str, key: bytes) -> Ending | None:
        """The newest record of an object."""
        found = self._newest.get((table, key))
        return None if found is None else found[1]

    def number(self, table: str, key: bytes) -> int:
        """The number of the newest record of an object; 0 where nothing was said."""
        found = self._newest.get((table, key))
        return 0 if found is None else found[0]

    def objections(self, subject: bytes) -> frozenset[bytes]:
        """The keys of what was said of a citizen's objections, standing or withdrawn."""
        return frozenset(self._objected.get(subject, ()))

    def versions(self, grant: bytes) -> list[Ending]:
        """Every record of a grant that is kept, oldest first: what a database that was put back has lost of it."""
        return list(self._versions.get(grant, ()))

    def moved(self, *tables: str) -> int:
        """The number of the newest record about any of these tables."""
        return max((self._moved.get(table, 0) for table in tables), default=0)

    def of(self, table: str) -> Iterator[Ending]:
        """The newest record of each object of a table."""
        return (ending for _, ending in list(self._newest.values()) if ending.table == table)

    def until(self, number: int) -> "Ended":
        """What the records up to this one said of the objects that no later one is about."""
        found = Ended()
        for each, ending in sorted(self._newest.values(), key=lambda one: one[0]):
            if each <= number:
                found.add(each, ending)
        return found

    def after(self, number: int) -> list[tuple[int, Ending]]:
        """The newest record of each object that was told of since, in order."""
        return sorted((each for each in list(self._newest.values()) if each[0] > number), key=lambda each: each[0])


NOTHING: Final = Ended()
"""What has ended where there is no journal. Nobody adds to it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest checkpoint that the ledger's key was about to sign: nothing else is ever signed up to its size, under
    this origin; a ledger that follows another one has a mark of its own, which takes the place of that one's.

    `order`: the ids of the entries that it orders after the checkpoint before it, in their order, so that a signature
    which a crash interrupted is made again and is the same. `note`: the signed checkpoint.
    """

    size: int
    root: bytes
    note: str = field(repr=False)
    order: tuple[int, ...] = field(repr=False, default=())

    @property
    def origin(self) -> str:
        """The name of the ledger whose checkpoint it is."""
        return self.note.partition("\n")[0]

    @property
    def before(self) -> int:
        """The size of the checkpoint before."""
        return self.size - len(self.order)


class Endings(ABC):
    """The journal of endings, and the high-water mark of the ledger.

    Promises, for every adapter:
    * `write` returns once the records are durable, all of them; when it raises, some of them may be there. Both calls
      and looks may come concurrently, from several tasks and several processes.
    * Records are encrypted, numbered from 1 on, and each commits to the one before it: what was cut out, reordered or
      edited is Corrupt for whoever reads next. Of a cut at the end whoever saw more says so, the database among them
      (`broker.maintenance.completing`).
    * `look` sees every record whose `write` has returned before it was called, in any process.
    * The mark never falls while it is of one ledger, and only who saw the newest one moves it.
    * What counts once is spent once, in whatever process, until it could not count any more.
    """

    journal: str
    """Its identity, 32 hexadecimal digits: another journal counts from 1 again."""

    @final
    async def write(self, endings: Sequence[Ending]) -> None:
        """Add records in this order. Raises Refused `endings.too-large`; Unavailable `endings.away`; Corrupt."""
        if len(endings) > AT_ONCE:
            raise Refused("endings.too-many", count=len(endings), limit=AT_ONCE)
        encoded = [ending.encode() for ending in endings]
        for each in encoded:
            if len(each) > ENDING_BYTES:
                raise Refused("endings.too-large", size=len(each), limit=ENDING_BYTES)
        if encoded:
            await self._write(encoded)

    @abstractmethod
    async def look(self) -> Ended:
        """What has ended by now. Raises Unavailable `endings.away`; Corrupt `endings.damaged`, `endings.cut`."""

    @abstractmethod
    async def marked(self) -> Mark | None:
        """The newest mark; None before the first. Raises as `look`."""

    @final
    async def move_mark(self, new: Mark, seen: Mark | None) -> None:
        """Move the mark from the one that was seen; durable when this returns.

        Raises Unavailable `endings.marked-meanwhile` when another was faster; Corrupt `ledger.rolled-back` for a
        smaller one of the same ledger; raises as `write`.
        """
        if seen is not None and seen.origin == new.origin and new.size < seen.size:
            raise Corrupt("ledger.rolled-back", size=seen.size, found=new.size)
        encoded = encode_mark(new)
        if len(encoded) > MARK_BYTES:
            raise Refused("endings.too-large", size=len(encoded), limit=MARK_BYTES)
        await self._mark(encoded, seen)

    @abstractmethod
    async def compact(self, before: Instant, over: Mapping[str, Instant]) -> int:
        """Of records older than `before` keep the newest of each object; of a table in `over` not even that, where the
        object is over since before the instant named there. Returns how many went. Raises as `write`.
        """

    @abstractmethod
    async def spend(self, digest: bytes, until: Instant, at: Instant) -> bool:
        """Remember what counts once, by its digest (32 bytes): True for who comes first, durably; False from then on.

        It may be forgotten after `until`, a function of what was digested; `at`: now. Raises Unavailable as `write`.
        """

    async def close(self) -> None:
        """Let go of what is open; nothing is lost."""
        return

    @abstractmethod
    async def _write(self, encoded: Sequence[bytes]) -> None: ...

    @abstractmethod
    async def _mark(self, encoded: bytes, seen: Mark | None) -> None: ...


def kept(records: Sequence[tuple[int, Ending]], before: Instant, over: Mapping[str, Instant]) -> list[int]:
    """The numbers of the records that a compaction keeps: see `Endings.compact`. The newest of all stays, so that
    numbers go on.
    """
    last = {(ending.table, ending.key): number for number, ending in records}
    stays = []
    for number, ending in records:
        newest = last[ending.table, ending.key] == number
        gone = ending.at < over.get(ending.table, Instant(0)) and _over(ending)
        if number == records[-1][0] or ending.at >= before or (newest and not gone):
            stays.append(number)
    return stays


def _over(ending: Ending) -> bool:
    """Whether nothing follows: no later version of the object can be."""
    return ending.least == FOREVER or ending.told.get("status") in ("revoked", "expired")


def encode_mark(mark: Mark) -> bytes:
    """JSON but for the order: u32 length | JSON | i64 each."""
    told = json.dumps({"size": mark.size, "root": mark.root.hex(), "note": mark.note}).encode()
    ids = b"".join(each.to_bytes(8, "big", signed=True) for each in mark.order)
    return len(told).to_bytes(4, "big") + told + ids


def decode_mark(raw: bytes) -> Mark:
    """The inverse of `encode_mark`."""
    end = 4 + int.from_bytes(raw[:4], "big")
    told, ids = json.loads(raw[4:end]), raw[end:]
    order = tuple(int.from_bytes(ids[at : at + 8], "big", signed=True) for at in range(0, len(ids), 8))
    return Mark(told["size"], bytes.fromhex(told["root"]), told["note"], order)
