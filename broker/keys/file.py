"""Keys in files: one private folder for each kind, one file for each secret, locked with a passphrase if one is set.

Refuses: another passphrase than the one the folder was locked with; a file that was moved under another name or
changed; to change the passphrase while somebody has the folder open.
Keeps: the port's promises. A passphrase protects copies of the files (a backup, a stolen disk), not a running process.
Source: NIST SP 800-38D (AES-GCM).

    lock     `broker.keys.lock`, which makes the key of a passphrase
    plain    "unefois-key/1 plain " SHA-256(place | secret) | secret
    locked   "unefois-key/1 locked " nonce 12 | AES-256-GCM(key, secret, aad = place)
    place    "unefois/key-file/v1" 0x00 | kind "/" name 0x00
"""

import hashlib
import hmac
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.keys import lock
from broker.keys.folder import PrivateFolder
from broker.keys.presence import Presence
from broker.ports import Entropy, KeyKind, KeyStore
from schemas.errors import Corrupt, Refused

_PLAIN: Final = b"unefois-key/1 plain "
_LOCKED: Final = b"unefois-key/1 locked "


class FileKeys(KeyStore):
    """Secrets below one folder. Made by `FileKeys.open`."""

    def __init__(
        self, folders: dict[KeyKind, PrivateFolder], opening: lock.Keys, entropy: Entropy, here: Presence
    ) -> None:
        self._folders = folders
        self._ciphers = tuple(None if key is None else AESGCM(key) for key in opening)
        """The first is for what is written; the others are of a change of the passphrase that is not finished."""
        self._entropy = entropy
        self._here = here

    @classmethod
    def open(
        cls, path: Path, entropy: Entropy, passphrase: str | None = None, kinds: Collection[KeyKind] = tuple(KeyKind)
    ) -> "FileKeys":
        """The key store in a folder, made when it is not there; its parent must exist. Only the folders of these kinds
        are opened; the others need not be there.

        Raises Refused: `keys.empty-passphrase`, `keys.wrong-passphrase`, `keys.passphrase-needed`, `keys.not-locked`,
        `keys.lock-unfinished`, and what a private folder refuses. Raises Corrupt `keys.damaged`, Unavailable
        `keys.away`, `keys.being-locked`.
        """
        if passphrase is not None:
            lock.refuse_empty(passphrase)
        root = PrivateFolder(path)
        here = Presence(path)
        with here.unless_refused():
            folders = {kind: PrivateFolder(path / kind.value) for kind in kinds}
            kept = any(folder.names() for folder in folders.values())
            return cls(folders, lock.unlock(root, kept, passphrase, entropy), entropy, here)

    def close(self) -> None:
        """No longer here: the passphrase may be changed. What is read afterwards is read all the same."""
        self._here.end()

    @staticmethod
    def is_made(path: Path) -> bool:
        """Whether a key store was begun in this folder. Changes nothing."""
        files = (file for kind in KeyKind for file in (path / kind.value).glob("[!.]*"))
        return (path / lock.LOCK).exists() or next(files, None) is not None

    @classmethod
    def change_passphrase(cls, path: Path, entropy: Entropy, old: str | None, new: str) -> int:
        """Seal every secret anew under another passphrase; `old`: None where there was none, and it may be one of
        nothing, which earlier versions took. Returns how many secrets were written.

        May be killed anywhere and called again with the same new passphrase, which opens everything from its first
        write on. Raises Refused `keys.in-use` while a process has the folder open, and as `open` does.
        """
        root, here = PrivateFolder(path), Presence(path, alone=True)
        with here.unless_refused():
            folders = {kind: PrivateFolder(path / kind.value) for kind in KeyKind}
            keys = cls(folders, lock.begin_change(root, old, new, entropy), entropy, here)
            written = sum(keys._seal_anew(kind, name) for kind in KeyKind for name in keys.names(kind))
            lock.end_change(root)
        here.end()
        return written

    def _seal_anew(self, kind: KeyKind, name: str) -> bool:
        content = self._folders[kind].read(name)
        if content is None or self._open_with(self._ciphers[0], kind, name, content) is not None:
            return False  # an earlier call, which was killed, has been here
        self._folders[kind].replace(name, self._closed(kind, name, self._opened(kind, name, content)))
        return True

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
        place, cipher = _place(kind, name), self._ciphers[0]
        if cipher is None:
            return _PLAIN + hashlib.sha256(place + secret).digest() + secret
        nonce = self._entropy(12)
        return _LOCKED + nonce + cipher.encrypt(nonce, secret, place)

    def _opened(self, kind: KeyKind, name: str, content: bytes) -> bytes:
        for cipher in self._ciphers:
            secret = self._open_with(cipher, kind, name, content)
            if secret is not None:
                return secret
        raise Corrupt("keys.damaged", kind=kind.value)

    def _open_with(self, cipher: AESGCM | None, kind: KeyKind, name: str, content: bytes) -> bytes | None:
        """The secret, or None where it is not whole, or not under this key."""
        place = _place(kind, name)
        if cipher is None:
            magic, digest, secret = _cut(content, len(_PLAIN), 32)
            whole = magic == _PLAIN and hmac.compare_digest(digest, hashlib.sha256(place + secret).digest())
            return secret if whole else None
        magic, nonce, sealed = _cut(content, len(_LOCKED), 12)
        if magic != _LOCKED or len(sealed) <= 16:
            return None
        try:
            return cipher.decrypt(nonce, sealed, place)
        except InvalidTag:
            return None


def _place(kind: KeyKind, name: str) -> bytes:
    return f"unefois/key-file/v1\x00{kind.value}/{name}\x00".encode()


def _cut(content: bytes, first: int, second: int) -> tuple[bytes, bytes, bytes]:
    return content[:first], content[first : first + second], content[first + second :]
