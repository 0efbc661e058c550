"""Sealing: addresses of citizens, encrypted under a key of their own that no database holds.

    sealed   u8 1 | nonce 12 | AES-256-GCM(key, u16 length | address | zeros, aad = label | channel | citizen | kind)

Refuses: to open what was sealed for another channel, another citizen or another kind.
Keeps: who has the tables alone learns no address, nor how long one is. The key is made when the first address is held;
consents and declarations are sealed under others.
Source: NIST SP 800-38D (AES-GCM: one key seals at most 2^32 addresses).
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.messages.addresses import ADDRESS_CHARACTERS, ChannelKind
from broker.ports import Entropy, KeyKind, KeyStore
from schemas.errors import Corrupt, Refused
from schemas.names import ChannelId, SubjectRef

NAME: Final = "1"
"""Of the key in the key store."""
_VERSION: Final = b"\x01"
_LABEL: Final = b"unefois/channel/v1\x00"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PADDED: Final = 2 + ADDRESS_CHARACTERS


class ChannelSeals:
    """Seals and opens addresses. Calls are local."""

    def __init__(self, keys: KeyStore, entropy: Entropy) -> None:
        """The key is read when it is first needed. Every call raises Refused `keys.not-of-role`."""
        self._keys = keys
        self._entropy = entropy
        self._cipher: AESGCM | None = None

    def seal(self, channel: ChannelId, subject: SubjectRef, kind: ChannelKind, address: str) -> bytes:
        """The address (`addresses.written`), never the same twice."""
        nonce, raw = self._entropy(_NONCE_BYTES), address.encode("ascii")
        padded = (len(raw).to_bytes(2, "big") + raw).ljust(_PADDED, b"\x00")
        sealed = self._made().encrypt(nonce, padded, _bound(channel, subject, kind))
        return _VERSION + nonce + sealed

    def open(self, channel: ChannelId, subject: SubjectRef, kind: ChannelKind, sealed: bytes) -> str:
        """The address. Raises Corrupt `channels.damaged`; Refused `keys.missing`."""
        nonce, content = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        cipher = self._known()
        try:
            if sealed[:1] != _VERSION:
                raise ValueError("another version")
            padded = cipher.decrypt(nonce, content, _bound(channel, subject, kind))
            return padded[2 : 2 + int.from_bytes(padded[:2], "big")].decode("ascii")
        except (InvalidTag, ValueError):
            raise Corrupt("channels.damaged", channel=channel.hex()) from None

    def _made(self) -> AESGCM:
        """Crash after it is written: a key that opens nothing yet; the next address is sealed under it."""
        if NAME not in self._keys.names(KeyKind.CHANNELS):
            try:
                self._keys.write(KeyKind.CHANNELS, NAME, self._entropy(_KEY_BYTES))
            except Refused as fault:
                if fault.code != "keys.exists":  # another process was faster
                    raise
        return self._known()

    def _known(self) -> AESGCM:
        if self._cipher is None:
            self._cipher = AESGCM(self._keys.read(KeyKind.CHANNELS, NAME))
        return self._cipher


def _bound(channel: ChannelId, subject: SubjectRef, kind: ChannelKind) -> bytes:
    return _LABEL + channel + subject + kind.value.encode()
