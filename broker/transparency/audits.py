"""Audits: a whole ledger verified, our own or an exported one: signature, tiles, every entry, and the house's rules.

Refuses: to believe a key that lies beside the log that it should prove, without saying so.
Keeps: an exported ledger is judged by its files and `schemas` alone, as a stranger would judge it; what is wrong comes
back as faults that were not raised, so that `schemas.messages.explain` has the sentences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas import audit, checkpoint, facts_v1, following, merkle, tiles
from schemas.audit import Violation
from schemas.audit_full import FullAuditor
from schemas.audit_v1 import AuditorV1
from schemas.checkpoint import Checkpoint
from schemas.disclosure import Disclosure
from schemas.entry import Entry
from schemas.errors import Fault, Refused, Unavailable
from schemas.facts import FactKind, Facts
from schemas.following import Predecessor
from schemas.note import Note, VerifierKey

MOST_TOLD: Final = 1000
"""Findings after which it is clear that something is wrong."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What was found. `tree` is None where not even the checkpoint could be believed; no finding means all is well.

    `pinned`: the key came from the caller, not from beside the log. `follows`: the ledgers that this one follows, the
    newest first, as their own signed ends and its first entries agree.
    """

    tree: Checkpoint | None
    key: VerifierKey
    pinned: bool
    findings: tuple[Fault, ...]
    follows: tuple[Predecessor, ...] = ()


@dataclass(frozen=True, slots=True)
class Grown:
    """Proof that the ledger only grew: the hashes of RFC 9162, section 2.1.4, between two signed trees."""

    old: Checkpoint
    new: Checkpoint
    proof: tuple[bytes, ...]


def audit_log(
    signed: bytes, key: VerifierKey, read: tiles.Read, *, pinned: bool, opened: Disclosure | None = None
) -> Audited:
    """A checkpoint (a signed note) and the files below it; `opened`: also by the rules that need openings.

    Raises what `read` raises, but LookupError.
    """
    try:
        tree = checkpoint.verify(Note.parse(signed), key).checkpoint
    except Refused as fault:
        return Audited(None, key, pinned, (fault,))
    findings: list[Fault] = []
    named: list[Facts] = []
    try:
        raws = _noting(tiles.verified_entries(tree.size, tree.root, read), named)
        for broken in _violations(raws, opened, key.name):
            findings.append(Refused("audits.rule", f"/{broken.index}", rule=broken.invariant, number=broken.index))
            if len(findings) == MOST_TOLD:
                break
    except Refused as fault:
        findings.append(fault)
    follows: list[Predecessor] = []
    try:
        follows = following.read_all(named, key, read)
    except Refused as fault:
        findings.append(fault)
    return Audited(tree, key, pinned, tuple(findings), tuple(follows))


def audit_folder(folder: Path, key: VerifierKey | None = None, opened: Disclosure | None = None) -> Audited:
    """An exported ledger; without `key` its own `vkey` file is believed, which proves less.

    Raises Refused `audits.no-log`, and what a `vkey` file that is none raises; Unavailable `audits.away`.
    """
    try:
        signed = (folder / "checkpoint").read_bytes()
        chosen = key or VerifierKey.parse((folder / "vkey").read_text("utf-8").strip())
        return audit_log(signed, chosen, files_in(folder), pinned=key is not None, opened=opened)
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        raise Refused("audits.no-log", file=str(folder)) from None
    except OSError as error:
        raise Unavailable("audits.away", error=type(error).__name__) from None


def files_in(folder: Path) -> tiles.Read:
    """A log's files by path, from a folder."""

    def read(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise LookupError(path) from None

    return read


def grown(old: Checkpoint, new: Checkpoint, read: tiles.Read) -> Grown:
    """Prove that the new tree begins with the old one. Raises Refused `merkle.*`, `tiles.*` where it does not."""
    proof = merkle.consistency_proof(old.size, new.size, tiles.hash_reader(new.size, read))
    merkle.verify_consistency(old.size, new.size, old.root, new.root, proof)
    return Grown(old, new, proof)


def _noting(raws: Iterator[bytes], named: list[Facts]) -> Iterator[bytes]:
    """The same entries; what the first of them say of ledgers before is put into `named`."""
    for index, raw in enumerate(raws):
        told = following.opener(raw) if index == len(named) < following.MOST else None
        if told is not None:
            named.append(told)
        yield raw


def _violations(raws: Iterator[bytes], opened: Disclosure | None, origin: str) -> Iterator[Violation]:
    """By the rules of the format that the first entry is of: a log never changes it."""
    if opened is not None and opened.origin != origin:
        raise Refused("disclosure.other-log", expected=origin, got=opened.origin)
    public, first_format = audit.Auditor(), None
    full = None if opened is None else Opened(opened)
    for index, raw in enumerate(raws):
        if index == 0 and facts_v1.is_first_format(raw):
            first_format = AuditorV1()
        try:
            if first_format is not None:
                yield from first_format.take(facts_v1.decode(raw))
                continue
            entry = Entry.decode(raw)
            yield from public.take(entry)
            if full is not None:
                yield from full.take(raw, entry)
        except Refused as fault:
            raise fault.under(f"/{index}") from None


class Opened:
    """The rules that need openings, with what an auditor was given."""

    def __init__(self, disclosed: Disclosure) -> None:
        self._disclosed = disclosed
        self._auditor = FullAuditor()
        self._erasures = {one.digest for one in disclosed.erased}
        self._gone = {leaf for one in disclosed.erased for leaf in one.leaves}
        self._count = 0

    def take(self, raw: bytes, entry: Entry) -> Iterator[Violation]:
        """Every rule that the next entry breaks. Raises Refused `entry.other-opening`."""
        index, self._count = self._count, self._count + 1
        leaf = merkle.leaf_hash(raw)
        facts = self._disclosed.facts_of(leaf, entry)
        excused = leaf in self._gone or not self._disclosed.covers(entry)
        yield from self._auditor.take(entry, facts, erased=excused)
        told = entry.open
        if told is not None and told.kind is FactKind.ERASED and told.detail not in self._erasures:
            yield Violation("erased-without-list", index)
