"""Tracing: one id for everything that happens to one declaration, from the caller's request to the agency's answer.

Refuses: to carry anything but the id. Flags, state and names that others send along are dropped.
Keeps: every process finds the same id: a caller's (W3C Trace Context, `traceparent`) travels in the header of the log's
record and stays with the declaration's row; where nobody brought one it follows from the declaration's own id.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from hashlib import sha256
from re import compile as pattern
from typing import Final, Self

from schemas.names import DeclarationId

HEADER: Final = "traceparent"
_TRACEPARENT: Final = pattern(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class TraceId(bytes):
    """16 bytes, not all zero (W3C Trace Context, section 3.2.2.3)."""

    __slots__ = ()

    @classmethod
    def of(cls, declaration: DeclarationId) -> Self:
        """The id of a declaration that nobody brought one for."""
        return cls(sha256(b"unefois/trace/v1\x00" + declaration).digest()[:16])

    @classmethod
    def read(cls, told: bytes | str | None) -> Self | None:
        """The id in a `traceparent`; None for what is none."""
        text = told.decode("ascii", "replace") if isinstance(told, bytes) else told or ""
        found = _TRACEPARENT.fullmatch(text)
        return cls(bytes.fromhex(found[1])) if found and int(found[1], 16) and int(found[2], 16) else None

    @property
    def root(self) -> bytes:
        """The span, 8 bytes, that all spans of this trace hang below: nobody has to have recorded it."""
        return sha256(b"unefois/span/v1\x00" + self).digest()[:8]

    @property
    def header(self) -> bytes:
        """A `traceparent` for whoever goes on with this trace."""
        return f"00-{self.hex()}-{self.root.hex()}-01".encode()


CURRENT: Final[ContextVar[TraceId | None]] = ContextVar("unefois-trace", default=None)
"""What the caller of this task brought, or was given."""


def stored(trace: bytes | None, declaration: DeclarationId) -> TraceId:
    """The id of a declaration's row."""
    return TraceId(trace) if trace is not None else TraceId.of(declaration)


def carried(headers: Mapping[str, bytes]) -> TraceId | None:
    """The id that came with a record of the log; whoever writes to the log may have made it up."""
    return TraceId.read(headers.get(HEADER))
