"""Pair: an Ed25519 key of the broker and its public half, for a process that signs and for one that only checks.

    key store   <kind>/<name>            the private key, 32 bytes
                home/<public name>       its public half, 32 bytes, once `publish` was called

Refuses: nothing of its own.
Keeps: who has the private key derives the public one from it; who has none reads what was published. The private key is
read when something is signed.
"""

from functools import cached_property
from typing import Final

from broker.ports import KeyKind, KeyStore
from schemas.note import KeyType, VerifierKey
from schemas.signing import Algorithm, PrivateKey


class Pair:
    """One key of a home. `Pair.ledger(keys)` signs checkpoints, `Pair.access(keys)` signs access tokens."""

    def __init__(self, keys: KeyStore, kind: KeyKind, name: str, published: str) -> None:
        self._keys = keys
        self._kind = kind
        self._name = name
        self._published = published

    @classmethod
    def ledger(cls, keys: KeyStore) -> "Pair":
        """What signs the checkpoints of a home."""
        return cls(keys, KeyKind.LEDGER, LEDGER, "ledger-public")

    @classmethod
    def access(cls, keys: KeyStore) -> "Pair":
        """What signs access tokens. It may be replaced at any time: clients ask for another token."""
        return cls(keys, KeyKind.IDENTITY, ACCESS, "access-public")

    @cached_property
    def private(self) -> PrivateKey:
        """Raises Refused `keys.missing`, `keys.not-of-role`; Corrupt `keys.damaged`."""
        return PrivateKey.from_raw(Algorithm.ED25519, self._keys.read(self._kind, self._name))

    @cached_property
    def public(self) -> bytes:
        """32 bytes. Raises as `private`, of the half that is read."""
        if self.signs:
            return self.private.public
        return self._keys.read(KeyKind.HOME, self._published)

    @property
    def signs(self) -> bool:
        """Whether the role of this process has the private key."""
        return self._keys.gives(self._kind, self._name)

    def verifier(self, name: str) -> VerifierKey:
        """What checks notes that this key signs under a name."""
        return VerifierKey(name, KeyType.ED25519, self.public)

    def make(self) -> None:
        """Make the private key where there is none."""
        if self._name not in self._keys.names(self._kind):
            self._keys.write(self._kind, self._name, PrivateKey.generate(Algorithm.ED25519).to_raw())

    def publish(self) -> None:
        """Keep the public half for those who have no private one; another one than today's is replaced."""
        held = self._published in self._keys.names(KeyKind.HOME)
        if held and self._keys.read(KeyKind.HOME, self._published) != self.private.public:
            self._keys.destroy(KeyKind.HOME, self._published)
            held = False
        if not held:
            self._keys.write(KeyKind.HOME, self._published, self.private.public)


LEDGER: Final = "ledger"
ACCESS: Final = "access"
