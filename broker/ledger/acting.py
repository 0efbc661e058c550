"""Acting: who does what is going on here, and the document that says so, signed by whoever did it.

    begin(Acting) ──► every transaction that records something ──► one more entry, which commits to an Act

Refuses: an act of the kinds in NAMED by nobody, once anybody has an account.
Keeps: the document and the entry that commits to it are committed with the act's own entries, whose leaves it lists, or
not at all. No value of a citizen is in it: the act is told by the words of its command, never by what was typed.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Self

from broker.store.engine import Transaction
from schemas.facts import FactKind
from schemas.names import Instant, LeafHash, OperatorName

TABLE: Final = "operators"
"""The accounts' table; in the journal of endings, too: there they begin as well as end."""
NAMED: Final = frozenset(
    {
        FactKind.PARTY_ADDED,
        FactKind.PARTY_CHANGED,
        FactKind.RIGHT_GRANTED,
        FactKind.SUBSCRIPTION_APPROVED,
        FactKind.DISCLOSED,
    }
)
"""What only a person does: the machine never does it by itself, nor at the word of an administration."""
MOST: Final = 4096
"""Leaves that one document lists; of more, only how many they are. What is in NAMED is always listed."""

_LABEL: Final = b"unefois/act/v1\x00"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Signer:
    """An account at work. `account`: its row, as the ledger's entry of it commits to (bytes in hexadecimal)."""

    name: OperatorName
    account: Mapping[str, Any]
    sign: Callable[[bytes], bytes] = field(repr=False)
    session: Mapping[str, Any] | None = None
    """How somebody without a key of their own proved who they are, if so."""


@dataclass(slots=True)
class Acting:
    """What is being done. `by`: None when nobody was asked (`operator recover`)."""

    act: str
    by: Signer | None
    request: Mapping[str, Any] | None = None
    """Who else said yes, if it takes two."""
    use: Callable[[Transaction], Awaitable[None]] | None = None
    """Uses the request up, in the first transaction that records something; raises Refused when it was used before."""
    told: bool = False
    """Whether anything was recorded yet."""


ACTING: Final[ContextVar[Acting | None]] = ContextVar("unefois-acting", default=None)
"""Who acts in this task; None: the machine."""


@contextmanager
def begin(one: Acting) -> Iterator[Acting]:
    """Inside, what is recorded is this person's doing."""
    before = ACTING.set(one)
    try:
        yield one
    finally:
        ACTING.reset(before)


@contextmanager
def unlisted() -> Iterator[None]:
    """Inside, what is recorded is listed as nobody's act: for what must not be told by the words of a command beside
    the leaves that it made (a protection, whose record in the journal of endings says who wrote it).
    """
    before = ACTING.set(None)
    try:
        yield
    finally:
        ACTING.reset(before)


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction of somebody's. `entries`: the leaves of what it recorded; `more`: how many are not listed."""

    act: str
    at: Instant
    operator: OperatorName | None
    account: Mapping[str, Any] | None
    entries: tuple[LeafHash, ...]
    more: int = 0
    request: Mapping[str, Any] | None = None
    session: Mapping[str, Any] | None = None

    def encode(self) -> str:
        """The document: JSON, keys sorted, without spaces."""
        told = {
            "version": _VERSION,
            "act": self.act,
            "at": self.at,
            "operator": self.operator,
            "account": None if self.account is None else dict(self.account),
            "entries": [leaf.hex() for leaf in self.entries],
            "more": self.more,
            "request": None if self.request is None else dict(self.request),
            "session": None if self.session is None else dict(self.session),
        }
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def decode(cls, text: str) -> Self:
        """The inverse. Raises ValueError, KeyError, TypeError, AttributeError, Refused for what is none."""
        told = json.loads(text)
        if told["version"] != _VERSION:
            raise ValueError("another version")
        name = told["operator"]
        return cls(
            act=told["act"],
            at=Instant(told["at"]),
            operator=None if name is None else OperatorName(name),
            account=told["account"],
            entries=tuple(LeafHash(bytes.fromhex(leaf)) for leaf in told["entries"]),
            more=told["more"],
            request=told["request"],
            session=told["session"],
        )


def digest(document: str) -> bytes:
    """What the ledger's entry commits to, 32 bytes."""
    return sha256(message(document)).digest()


def message(document: str) -> bytes:
    """What is signed."""
    return _LABEL + document.encode()


async def anybody(tx: Transaction) -> bool:
    """Whether there is, or ever was, an account: whatever the rows say."""
    return next((await tx.endings()).of(TABLE), None) is not None
