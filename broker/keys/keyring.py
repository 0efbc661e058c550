"""Keyring: the key store's secrets as the objects that use them, looked up by what the directory names.

Refuses: a key that the directory does not list now; a gate key or an epoch key that was destroyed, also by another
process.
Keeps: what is cached here is forgotten as soon as the store no longer lists it.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from broker.ports import KeyKind, KeyStore
from schemas.directory import Directory, SealingKeyEntry, SigningKeyEntry
from schemas.errors import Refused, Unavailable
from schemas.hpke import SealingKey
from schemas.names import Instant, Kid, PartyId
from schemas.signing import POLICIES, PrivateKey


class Keyring:
    """Private keys of the broker and of parties hosted here. Calls are local and short."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._sealing: dict[tuple[KeyKind, str], SealingKey] = {}
        self._signing: dict[str, PrivateKey] = {}
        self._epochs: dict[str, bytes] = {}

    def signers(self, directory: Directory, party: PartyId, at: Instant) -> list[PrivateKey]:
        """The party's newest valid key of each algorithm that its signature policy demands, lowest algorithm first.

        Raises Refused `keyring.no-signing-key`, `directory.no-policy`.
        """
        held = set(self._keys.names(KeyKind.SIGNING))
        usable = [
            entry
            for entry in directory.signing
            if entry.party == party and entry.kid.hex() in held and _valid(entry, at)
        ]
        keys = []
        for algorithm in sorted(POLICIES[directory.policy(party, at)]):
            of_this = [entry for entry in usable if entry.algorithm is algorithm]
            if not of_this:
                raise Refused("keyring.no-signing-key", party=party, algorithm=algorithm.name)
            keys.append(self._private(max(of_this, key=lambda entry: (entry.valid_from, entry.kid))))
        return keys

    def signer(self, directory: Directory, party: PartyId, at: Instant) -> PrivateKey:
        """The first of `signers`: what a party signs with where one signature is asked, as in `Release`, intake and
        consent receipts (protocol 5, 6 and 9), whose formats have room for one. Raises as `signers`.
        """
        return self.signers(directory, party, at)[0]

    def gate(self, entry: SealingKeyEntry) -> SealingKey | None:
        """The gate's private key of an epoch, or None when it was destroyed."""
        return self._opened(KeyKind.GATE, entry)

    def recipient(self, directory: Directory, party: PartyId) -> Mapping[Kid, SealingKey]:
        """Every HPKE key of a party hosted here, old ones too: what was sealed before a rotation still opens."""
        found = {entry.kid: self._opened(KeyKind.SEALING, entry) for entry in directory.sealing if entry.party == party}
        return MappingProxyType({kid: key for kid, key in found.items() if key is not None})

    def consent_epochs(self) -> Mapping[int, bytes]:
        """The consent epoch keys that are alive: epoch -> 32 bytes."""
        return Epochs(self._living_epochs)

    def _living_epochs(self) -> dict[int, bytes]:
        alive = self._keys.names(KeyKind.CONSENT_EPOCH)
        self._epochs = {name: self._epochs.get(name) or self._keys.read(KeyKind.CONSENT_EPOCH, name) for name in alive}
        return {int(name): key for name, key in self._epochs.items()}

    def _private(self, entry: SigningKeyEntry) -> PrivateKey:
        name = entry.kid.hex()
        if name not in self._signing:
            self._signing[name] = PrivateKey.from_raw(entry.algorithm, self._keys.read(KeyKind.SIGNING, name))
        return self._signing[name]

    def _opened(self, kind: KeyKind, entry: SealingKeyEntry) -> SealingKey | None:
        name = entry.kid.hex()
        if name not in self._keys.names(kind):
            self._sealing.pop((kind, name), None)
            return None
        if (kind, name) not in self._sealing:
            self._sealing[kind, name] = SealingKey.from_raw(entry.suite, self._keys.read(kind, name))
        return self._sealing[kind, name]


class Epochs(Mapping[int, bytes]):
    """The consent epoch keys that lived when they were asked for: epoch -> 32 bytes; and one that came since.

    A key is in the store before the first row lies under it. So an epoch whose key is not there when it is looked for
    again never was, whatever a row says; but for one that came and went meanwhile: Unavailable
    `registry.epoch-key-missing`, and the next reading finds its rows under the one after it.
    """

    def __init__(self, read: Callable[[], dict[int, bytes]]) -> None:
        self._read = read
        self._living = read()

    def __getitem__(self, epoch: int) -> bytes:
        newest = max(self._living, default=0)
        if epoch > newest:
            self._living = self._read() | self._living
            if newest < epoch < max(self._living, default=0) and epoch not in self._living:
                raise Unavailable("registry.epoch-key-missing", epoch=epoch)
        return self._living[epoch]

    def __iter__(self) -> Iterator[int]:
        return iter(self._living)

    def __len__(self) -> int:
        return len(self._living)


def _valid(entry: SigningKeyEntry, at: Instant) -> bool:
    """The same rule as the directory's: from `valid_from` to `valid_to`, both included, and not revoked."""
    ended = entry.valid_to is not None and at > entry.valid_to
    revoked = entry.revoked_at is not None and at >= entry.revoked_at
    return entry.valid_from <= at and not ended and not revoked
