"""Following: what the first entries of a ledger say of the ledgers before it, and what whoever saw those holds it to.

    entry 0 .. k-1   `ledger_opened`, the newest predecessor first: `detail` commits to the tree that it signed last,
                     `count` is how many of its entries, from its first on, stand here again right behind this entry
    follows/<n>      the last checkpoint of the ledger that entry n names: a signed note

Refuses: a predecessor's end that its key has not signed, or that the entry does not name; an end that is smaller than
what was seen of that ledger, or another tree of the same size; entries that are not those that were seen.
Keeps: only `read` makes a `Predecessor`. What was lost with a ledger's end cannot be compared, and is said as a number.
Source: docs/protocol.md, section 8, "A ledger that follows another".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from schemas import checkpoint, merkle
from schemas.checkpoint import Checkpoint
from schemas.entry import Entry
from schemas.errors import Refused
from schemas.facts import FactKind, Facts
from schemas.note import Note, VerifierKey
from schemas.tiles import Read

FOLDER: Final = "follows"
MOST: Final = 64
"""Ledgers that one may follow: a reader asks for so many notes at most."""
_LABEL: Final = b"unefois/ledger-follows/v2\x00"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A ledger that another one follows: the number of the entry that names it, its last tree, and how many of its
    entries stand in the other one again; None: what lived in it was entered anew, in entries of another format.
    """

    index: int
    tree: Checkpoint
    kept: int | None

    @property
    def lost(self) -> int:
        """How many of its entries stand nowhere in the ledger that follows it."""
        return 0 if self.kept is None else max(0, self.tree.size - self.kept)


def commit(old: Checkpoint) -> bytes:
    """What an entry says of a ledger that ended: SHA-256(label | its last tree), 32 bytes.

    The tree is spelled as a checkpoint's text: origin, size and root in base64, a line each.
    """
    return sha256(_LABEL + old.body.encode()).digest()


def path(index: int) -> str:
    """The file with the last checkpoint of the ledger that entry `index` names."""
    return f"{FOLDER}/{index}"


def named_in(raws: Sequence[bytes]) -> list[Facts]:
    """What the first entries of a ledger say of ledgers before it; `raws`: entries from the first on. Empty: nothing,
    or a ledger of the first format.
    """
    found: list[Facts] = []
    for raw in raws[:MOST]:
        told = opener(raw)
        if told is None:
            break
        found.append(told)
    return found


def opener(raw: bytes) -> Facts | None:
    """What an entry says, where it names a ledger that ended."""
    try:
        told = Entry.decode(raw).open
    except Refused:  # of the first format, or none at all: for others to judge
        return None
    return told if told is not None and told.kind is FactKind.LEDGER_OPENED else None


def of_old(key: VerifierKey, origin: str) -> VerifierKey:
    """The verifier key of the same signer under an earlier name. Raises Refused `note.name`."""
    return replace(key, name=origin)


def signed_end(note: bytes, key: VerifierKey) -> Checkpoint:
    """The tree of a last checkpoint, under whatever name, signed by the key that `key` is of.

    Raises Refused: `checkpoint.*`, `note.*`.
    """
    signed = Note.parse(note)
    return checkpoint.verify(signed, of_old(key, Checkpoint.parse(signed.text).origin)).checkpoint


def read(index: int, told: Facts, note: bytes, key: VerifierKey, *, last: bool) -> Predecessor:
    """Believe what entry `index` says of a ledger that ended. `key`: of the ledger that follows; `last`: whether no
    other ledger is named after it.

    Raises Refused: `following.other-end` where the note is not of the tree that the entry names; what `signed_end`
    raises.
    """
    tree = signed_end(note, key)
    if told.detail != commit(tree):
        raise Refused("following.other-end", f"/{index}", origin=tree.origin, size=tree.size)
    return Predecessor(index, tree, None if last and told.count is None else told.count or 0)


def read_all(named: Sequence[Facts], key: VerifierKey, files: Read) -> list[Predecessor]:
    """Every ledger that these first entries name, the newest first.

    Raises Refused `following.absent`, and what `read` raises.
    """
    found = []
    for index, told in enumerate(named):
        try:
            note = files(path(index))
        except LookupError:
            raise Refused("following.absent", f"/{index}", file=path(index)) from None
        found.append(read(index, told, note, key, last=index == len(named) - 1))
    return found


class Continuation:
    """Holds a new ledger, entry by entry from its first on, to what was seen of one that it says it follows."""

    def __init__(self, seen: Checkpoint, chain: Sequence[Predecessor]) -> None:
        """`seen`: the newest tree that was seen of the old ledger, and found good; `chain`: as `read_all` gives it.

        Raises Refused `following.unknown`, `following.smaller-end`, `following.other-end`.
        """
        old = next((one for one in chain if one.tree.origin == seen.origin), None)
        if old is None:  # 1 another ledger under the same address
            raise Refused("following.unknown", origin=seen.origin)
        if old.tree.size < seen.size:  # 2 an end that forgets what was signed after it
            raise Refused("following.smaller-end", f"/{old.index}", seen=seen.size, size=old.tree.size)
        if old.tree.size == seen.size and old.tree.root != seen.root:  # 3 another history of the same length
            raise Refused("following.other-end", f"/{old.index}", origin=seen.origin, size=seen.size)
        self.old = old
        self._seen = seen
        self._details = [commit(one.tree) for one in chain]
        self._count = 0
        self._frontier = merkle.Frontier()

    @property
    def compared(self) -> bool:
        """Whether everything that was seen stands in the new ledger again; else its end is lost, and it cannot be."""
        return self._seen.size <= (self.old.kept or 0)

    def take(self, raw: bytes) -> None:
        """The next entry. Raises Refused `following.altered`, `following.other-end`."""
        index, self._count = self._count, self._count + 1
        if index < len(self._details):  # 4 a chain that was shown, and is not what the ledger says
            told = opener(raw)
            if told is None or told.detail != self._details[index]:
                raise Refused("following.other-end", f"/{index}", origin=self._seen.origin, size=self.old.tree.size)
        if index <= self.old.index or not self.compared or self._frontier.size >= self._seen.size:
            return
        self._frontier = self._frontier.append(merkle.leaf_hash(raw))
        if self._frontier.size == self._seen.size and self._frontier.root() != self._seen.root:
            raise Refused("following.altered", f"/{index}", size=self._seen.size)  # 5 another history below the loss

    def end(self) -> None:
        """After the last entry of a tree: all that should stand here again does. Raises Refused `following.altered`."""
        if self.compared and self._frontier.size < self._seen.size:
            raise Refused("following.altered", size=self._seen.size)
