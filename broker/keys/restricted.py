"""A key store that gives a process only the secrets of its role.

Refuses: every other secret, read, written, listed or destroyed: `keys.not-of-role`.
Keeps: a secret that is refused never looks as if it were not there, for code that finds none takes it as destroyed.
"""

from collections.abc import Mapping, Set
from typing import Final

from broker.ports import KeyKind, KeyStore
from schemas.errors import Refused

ALL: Final[Set[str] | None] = None
"""Every secret of a kind."""

Allowed = Mapping[KeyKind, Set[str] | None]
"""The kinds of a role, and which of their secrets: by name, or ALL."""


class RestrictedKeys(KeyStore):
    """Another key store, seen by one role."""

    def __init__(self, keys: KeyStore, role: str, allowed: Allowed) -> None:
        self._keys = keys
        self._role = role
        self._allowed = allowed

    def _read(self, kind: KeyKind, name: str) -> bytes:
        self._check(kind, name)
        return self._keys.read(kind, name)

    def _names(self, kind: KeyKind) -> tuple[str, ...]:
        self._check(kind, None)
        wanted = self._allowed[kind]
        return tuple(name for name in self._keys.names(kind) if wanted is None or name in wanted)

    def _write(self, kind: KeyKind, name: str, secret: bytes) -> None:
        self._check(kind, name)
        self._keys.write(kind, name, secret)

    def _destroy(self, kind: KeyKind, name: str) -> None:
        self._check(kind, name)
        self._keys.destroy(kind, name)

    def gives(self, kind: KeyKind, name: str | None = None) -> bool:
        """Whether it is a secret of this role."""
        if kind not in self._allowed:
            return False
        wanted = self._allowed[kind]
        return name is None or wanted is None or name in wanted

    def _check(self, kind: KeyKind, name: str | None) -> None:
        if not self.gives(kind, name):
            raise Refused("keys.not-of-role", kind=kind.value, role=self._role)
