"""Faults: what a database's error means to us: try again, ask the operator, or stop.

Refuses: to guess. None: it is the caller's own error (a broken constraint, a wrong statement).
Keeps: no parameter and no row of a statement is in a fault.
Source: sqlite.org/rescode.html; PostgreSQL, appendix A (error codes).
"""

import sqlite3
from typing import Final

from schemas.errors import Corrupt, Fault, Refused, Unavailable

_DENIED: Final = ("28", "3D")
"""Invalid authorization, no such database."""

_BUSY: Final = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, a lock that was waited for too long."""


def of_sqlite(primary: int, name: str) -> Fault | None:
    """By the primary result code; `name` is the extended one's."""
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt("store.corrupt", error=name)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable("store.locked")
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL):
        return Unavailable("store.away", error=name)
    return _of_file(primary, name)


def _of_file(primary: int, name: str) -> Fault | None:
    if primary == sqlite3.SQLITE_FULL:
        return Unavailable("store.disk-full")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return Unavailable("store.read-only")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return Unavailable("store.cannot-open", error=name)
    return None


def of_postgres(state: str) -> Fault | None:
    """By the SQLSTATE."""
    if state[:2] in _DENIED:
        return Refused("store.denied", error=state)
    if state in _BUSY:
        return Unavailable("store.locked")
    if state == "57014":
        return Unavailable("store.too-slow")
    if state == "53100":
        return Unavailable("store.disk-full")
    if state == "25006":
        return Unavailable("store.read-only")
    return _by_class(state)


def _by_class(state: str) -> Fault | None:
    if state[:2] in ("08", "53", "57", "58") or state == "25P03":
        return Unavailable("store.away", error=state)
    return Corrupt("store.corrupt", error=state) if state[:2] == "XX" else None
