"""Disclosure: what opens the sealed entries of a period, for one auditor, as a file of its own.

    {"format": "unefois-disclosure/1", "origin", "from", "to", "openings": [[leaf, opening]...],
     "erased": [[blind, [leaf...]]...]}

Leaves are hexadecimal, openings base64, instants milliseconds; `from` is in the period, `to` is not. With the openings
of the period come those of the grants that its entries name, however old. `erased` has each erasure's
blind and list.

Refuses: a file that is none, an opening twice, a bundle that is sealed to another key.
Keeps: sealed, it opens with the auditor's key alone; `digest` of the sealed file is what the ledger's entry commits to.
Source: docs/protocol.md, section 8, "Disclosure"; ledger.md, R3.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

from schemas import hpke
from schemas.entry import Entry, Opening, commit_erased
from schemas.errors import Refused
from schemas.facts import Facts
from schemas.names import Instant, LeafHash

FORMAT: Final = "unefois-disclosure/1"
SEALED: Final = "unefois-disclosure-sealed/1"
_INFO: Final = b"unefois/disclosure/v1\x00"
_DIGEST: Final = b"unefois/ledger-disclosed/v2\x00"


@dataclass(frozen=True, slots=True)
class Erased:
    """One erasure: the blind of its commitment, 32 bytes, and the entries that nobody can open any more."""

    blind: bytes
    leaves: frozenset[LeafHash]

    @property
    def digest(self) -> bytes:
        """What its entry commits to. Raises Refused `entry.blind`."""
        return commit_erased(self.blind, self.leaves)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """The openings of a ledger's entries from one instant to another."""

    origin: str
    since: Instant
    until: Instant
    openings: Mapping[LeafHash, Opening]
    erased: Sequence[Erased]

    def covers(self, entry: Entry) -> bool:
        """Whether the entry is of the period, so that its opening has to be here, or among what was erased."""
        return self.since <= entry.window < self.until

    def facts_of(self, leaf: LeafHash, entry: Entry) -> Facts | None:
        """What the entry says, proven; None where it is not told. Raises Refused `entry.other-opening`."""
        opening = self.openings.get(leaf)
        return None if opening is None else opening.check(entry)

    def encode(self) -> bytes:
        """UTF-8 JSON."""
        told = {
            "format": FORMAT,
            "origin": self.origin,
            "from": self.since,
            "to": self.until,
            "openings": [[leaf.hex(), b64encode(one.encode()).decode()] for leaf, one in sorted(self.openings.items())],
            "erased": [[one.blind.hex(), sorted(leaf.hex() for leaf in one.leaves)] for one in self.erased],
        }
        return json.dumps(told, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """From what `encode` gave. Raises Refused: `disclosure.malformed`, `.repeated`, `entry.*`, `avro.*`."""
        told = _parsed(raw, FORMAT)
        try:
            pairs = [(LeafHash(bytes.fromhex(leaf)), b64decode(one, validate=True)) for leaf, one in told["openings"]]
            erased = tuple(_erased(*each) for each in told["erased"])
            origin, since, until = str(told["origin"]), Instant(told["from"]), Instant(told["to"])
        except (KeyError, TypeError, ValueError):
            raise Refused("disclosure.malformed") from None
        openings = {leaf: Opening.decode(one) for leaf, one in pairs}
        if len(openings) != len(pairs):
            raise Refused("disclosure.repeated")
        return cls(origin, since, until, openings, erased)

    def seal(self, suite: hpke.Suite, public: bytes) -> bytes:
        """The file for who holds the private half of this HPKE key. Raises Refused `hpke.*`."""
        kid = hpke.kid_of(suite, public)
        sealed = hpke.seal(suite, public, self.encode(), _INFO + kid)
        told = {"format": SEALED, "suite": int(suite), "kid": kid.hex(), "sealed": b64encode(sealed).decode()}
        return json.dumps(told, separators=(",", ":")).encode()


def is_sealed(raw: bytes) -> bool:
    """Whether a file says that it needs a key."""
    return raw.lstrip()[:80].find(SEALED.encode()) >= 0


def open_sealed(raw: bytes, key: hpke.SealingKey) -> Disclosure:
    """What was sealed to this key. Raises Refused: `disclosure.other-key`, and as `Disclosure.parse`."""
    told = _parsed(raw, SEALED)
    try:
        kid, sealed = bytes.fromhex(told["kid"]), b64decode(told["sealed"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise Refused("disclosure.malformed") from None
    if kid != key.kid:
        raise Refused("disclosure.other-key", kid=kid.hex())
    try:
        return Disclosure.parse(hpke.open_(key, sealed, _INFO + kid))
    except Refused as fault:
        if fault.code.partition(".")[0] == "hpke":
            raise Refused("disclosure.other-key", kid=kid.hex()) from None
        raise


def digest(sealed: bytes) -> bytes:
    """SHA-256("unefois/ledger-disclosed/v2" 0x00 | the sealed file), 32 bytes: the `detail` of the entry that tells."""
    return sha256(_DIGEST + sealed).digest()


def _erased(blind: str, leaves: Sequence[str]) -> Erased:
    return Erased(bytes.fromhex(blind), frozenset(LeafHash(bytes.fromhex(leaf)) for leaf in leaves))


def _parsed(raw: bytes, wanted: str) -> Mapping[str, Any]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refused("disclosure.malformed") from None
    if not isinstance(told, dict) or told.get("format") != wanted:
        raise Refused("disclosure.malformed")
    return told
