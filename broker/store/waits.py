"""Waits: how long PostgreSQL lets a transaction of ours wait, work, or stand still, before it ends it.

Refuses: nothing; who is ended is told `store.locked`, `store.too-slow` or `store.away`, and may do the same again.
Keeps: what was ended has changed nothing. Behind a pooler, which has no sessions of ours, each transaction says it;
a single question (`read_one`) has what the server or the pooler gives everybody.
Source: PostgreSQL, 20.11 (client connection defaults).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, func, select


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds; 0: without end."""

    lock_ms: int = 10_000
    """For a lock that somebody else holds."""
    statement_ms: int = 60_000
    """For one statement, with what it waits for."""
    absent_ms: int = 60_000
    """For a process that stands still inside a transaction (SIGSTOP, a paused machine): it holds its locks no longer,
    and what it writes when it comes back is not written.
    """

    def session(self) -> Mapping[str, str]:
        """What a session asks for. A commit that returned is on the disk, whatever the server's default is."""
        return {
            "synchronous_commit": "on",
            "lock_timeout": f"{self.lock_ms}ms",
            "statement_timeout": f"{self.statement_ms}ms",
            "idle_in_transaction_session_timeout": f"{self.absent_ms}ms",
        }

    def transaction(self) -> Select[str]:
        """The same, for one transaction: its first statement (SET LOCAL)."""
        return select(*(func.set_config(name, told, True) for name, told in self.session().items()))

    def patient(self) -> "Waits":
        """For who reads or changes much on purpose: a migration, a check of everything. Locks are not waited for
        longer: whoever waits for one keeps all waiting who come later.
        """
        return Waits(self.lock_ms, 0, 0)


USUAL: Final = Waits()
