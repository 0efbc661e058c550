"""Keys in files: one private folder for each kind, one file for each secret, locked with a passphrase if one is set.

Refuses: another passphrase than the one the folder was made with; a file that was moved under another name or changed.
Keeps: the port's promises. A passphrase protects copies of the files (a backup, a stolen disk), not a running process.
Source: RFC 7914 (scrypt); NIST SP 800-38D (AES-GCM).

    lock     "unefois-lock/1 " u8 log2(n) | u8 r | u8 p | salt 16 | nonce 12 | tag 16   (tag over all before the nonce)
    plain    "unefois-key/1 plain " SHA-256(place | secret) | secret
    locked   "unefois-key/1 locked " nonce 12 | AES-256-GCM(scrypt(passphrase), secret, aad = place)
    place    "unefois/key-file/v1" 0x00 | kind "/" name 0x00
"""

import hashlib
import hmac
import unicodedata
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from broker.keys.folder import PrivateFolder
from broker.ports import Entropy, KeyKind, KeyStore
from schemas.errors import Corrupt, Refused

SCRYPT_LOG2_N = 16
"""64 MiB and about 0.2 s for each guess; a folder remembers with which it was made."""

_LOCK: Final = "lock"
_LOCK_MAGIC: Final = b"unefois-lock/1 "
_PLAIN: Final = b"unefois-key/1 plain "
_LOCKED: Final = b"unefois-key/1 locked "
_LOCK_BYTES: Final = len(_LOCK_MAGIC) + 3 + 16 + 12 + 16


class FileKeys(KeyStore):
    """Secrets below one folder. Made by `FileKeys.open`."""

    def __init__(self, folders: dict[KeyKind, PrivateFolder], cipher: AESGCM | None, entropy: Entropy) -> None:
        self._folders = folders
        self._cipher = cipher
        self._entropy = entropy

    @classmethod
    def open(cls, path: Path, entropy: Entropy, passphrase: str | None = None) -> "FileKeys":
        """The key store in a folder, made when it is not there; its parent must exist.

        Raises Refused: `keys.wrong-passphrase`, `keys.passphrase-needed`, `keys.not-locked`, and what a private folder
        refuses. Raises Corrupt `keys.damaged`, Unavailable `keys.away`.
        """
        root = PrivateFolder(path)
        folders = {kind: PrivateFolder(path / kind.value) for kind in KeyKind}
        kept = any(folder.names() for folder in folders.values())
        return cls(folders, _unlock(root, kept, passphrase, entropy), entropy)

    def _read(self, kind: KeyKind, name: str) -> bytes:
        content = self._folders[kind].read(name)
        if content is None:
            raise Refused("keys.missing", kind=kind.value)
        return self._opened(kind, name, content)

    def _names(self, kind: KeyKind) -> tuple[str, ...]:
        return self._folders[kind].names()

    def _write(self, kind: KeyKind, name: str, secret: bytes) -> None:
        if not self._folders[kind].write(name, self._closed(kind, name, secret)):
            raise Refused("keys.exists", kind=kind.value)

    def _destroy(self, kind: KeyKind, name: str) -> None:
        self._folders[kind].shred(name)

    def _closed(self, kind: KeyKind, name: str, secret: bytes) -> bytes:
        place = _place(kind, name)
        if self._cipher is None:
            return _PLAIN + hashlib.sha256(place + secret).digest() + secret
        nonce = self._entropy(12)
        return _LOCKED + nonce + self._cipher.encrypt(nonce, secret, place)

    def _opened(self, kind: KeyKind, name: str, content: bytes) -> bytes:
        place = _place(kind, name)
        if self._cipher is None:
            magic, digest, secret = _cut(content, len(_PLAIN), 32)
            whole = magic == _PLAIN and hmac.compare_digest(digest, hashlib.sha256(place + secret).digest())
            if not whole:
                raise Corrupt("keys.damaged", kind=kind.value)
            return secret
        magic, nonce, sealed = _cut(content, len(_LOCKED), 12)
        if magic != _LOCKED or len(sealed) <= 16:
            raise Corrupt("keys.damaged", kind=kind.value)
        try:
            return self._cipher.decrypt(nonce, sealed, place)
        except InvalidTag:
            raise Corrupt("keys.damaged", kind=kind.value) from None


def _place(kind: KeyKind, name: str) -> bytes:
    return f"unefois/key-file/v1\x00{kind.value}/{name}\x00".encode()


def _cut(content: bytes, first: int, second: int) -> tuple[bytes, bytes, bytes]:
    return content[:first], content[first : first + second], content[first + second :]


def _unlock(root: PrivateFolder, kept: bool, passphrase: str | None, entropy: Entropy) -> AESGCM | None:
    """The cipher that a passphrase gives, or None where secrets are kept plain."""
    lock = root.read(_LOCK)
    if passphrase is None:
        if lock is not None:
            raise Refused("keys.passphrase-needed")
        return None
    if lock is None:
        if kept:
            raise Refused("keys.not-locked")
        lock = _new_lock(passphrase, entropy)
        # Crash here: no lock and no key; the next start makes another lock.
        if not root.write(_LOCK, lock):
            return _unlock(root, kept, passphrase, entropy)  # another process was faster: its lock is the one
    return _try_lock(lock, passphrase)


def _new_lock(passphrase: str, entropy: Entropy) -> bytes:
    header = _LOCK_MAGIC + bytes([SCRYPT_LOG2_N, 8, 1]) + entropy(16)
    nonce = entropy(12)
    return header + nonce + _cipher_of(passphrase, header).encrypt(nonce, b"", header)


def _try_lock(lock: bytes, passphrase: str) -> AESGCM:
    header, nonce, tag = _cut(lock, _LOCK_BYTES - 28, 12)
    if len(lock) != _LOCK_BYTES or not lock.startswith(_LOCK_MAGIC):
        raise Corrupt("keys.damaged", kind=_LOCK)
    cipher = _cipher_of(passphrase, header)
    try:
        cipher.decrypt(nonce, tag, header)
    except InvalidTag:
        raise Refused("keys.wrong-passphrase") from None
    return cipher


def _cipher_of(passphrase: str, header: bytes) -> AESGCM:
    """scrypt with the lock's own parameters. NFC: an accent is one character or two, as the keyboard will have it."""
    log2_n, r, p = header[len(_LOCK_MAGIC) : len(_LOCK_MAGIC) + 3]
    if not (4 <= log2_n <= 20 and r == 8 and p == 1):
        raise Corrupt("keys.damaged", kind=_LOCK)
    salt = header[len(_LOCK_MAGIC) + 3 :]
    kdf = Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p)
    return AESGCM(kdf.derive(unicodedata.normalize("NFC", passphrase).encode()))
