"""A key store that forgets when the process ends: for tests and for trying things out.

Refuses: nothing that the port does not refuse.
Keeps: the same promises as the file store, except durability (`tests/contract/test_keys.py`).
"""

from broker.ports import KeyKind, KeyStore
from schemas.errors import Refused


class MemoryKeys(KeyStore):
    """Secrets in a dictionary."""

    def __init__(self) -> None:
        self._secrets: dict[tuple[KeyKind, str], bytes] = {}

    def _read(self, kind: KeyKind, name: str) -> bytes:
        secret = self._secrets.get((kind, name))
        if secret is None:
            raise Refused("keys.missing", kind=kind.value)
        return secret

    def _names(self, kind: KeyKind) -> tuple[str, ...]:
        return tuple(name for held, name in self._secrets if held is kind)

    def _write(self, kind: KeyKind, name: str, secret: bytes) -> None:
        if (kind, name) in self._secrets:
            raise Refused("keys.exists", kind=kind.value)
        self._secrets[kind, name] = secret

    def _destroy(self, kind: KeyKind, name: str) -> None:
        self._secrets.pop((kind, name), None)
