"""Lock: what a passphrase gives: the key that the secrets of a folder are sealed under; and the change to another one.

Refuses: another passphrase than the one that the folder was locked with; one of nothing, which locks nothing.
Keeps: while a passphrase is changed, the new one opens everything, whatever was written anew by then: the file of the
change holds the old key, sealed under the new one. What a crash interrupts, the same change finishes.
Source: RFC 7914 (scrypt); NIST SP 800-38D (AES-GCM).

    lock       "unefois-lock/1 " u8 log2(n) | u8 r | u8 p | salt 16 | nonce 12 | tag 16  (tag over all before the nonce)
    lock.next  "unefois-relock/1 " | the new lock | nonce 12 | AES-256-GCM(new key, old key or "", aad = all before it)
"""

import unicodedata
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from broker.keys.folder import PrivateFolder
from broker.observability.crashpoints import mark
from broker.ports import Entropy
from schemas.errors import Corrupt, Refused

SCRYPT_LOG2_N = 16
"""64 MiB and about 0.2 s for each guess; a folder remembers with which it was made."""

LOCK: Final = "lock"
NEXT: Final = "lock.next"

_LOCK_MAGIC: Final = b"unefois-lock/1 "
_NEXT_MAGIC: Final = b"unefois-relock/1 "
_HEADER_BYTES: Final = len(_LOCK_MAGIC) + 3 + 16
_LOCK_BYTES: Final = _HEADER_BYTES + 12 + 16

Keys = tuple[bytes | None, ...]
"""What secrets may be sealed under, 32 bytes each; None: they are plain. The first is for what is written."""


def refuse_empty(passphrase: str) -> None:
    """Raises Refused `keys.empty-passphrase`."""
    if not passphrase.strip():
        raise Refused("keys.empty-passphrase", "/keys_passphrase")


def unlock(root: PrivateFolder, kept: bool, passphrase: str | None, entropy: Entropy) -> Keys:
    """What the passphrase opens. `kept`: there are secrets already, so no lock is made for them.

    Raises Refused: `keys.wrong-passphrase`, `keys.passphrase-needed`, `keys.not-locked`, `keys.lock-unfinished`;
    Corrupt `keys.damaged`.
    """
    begun = root.read(NEXT)
    if begun is not None:
        return _unlock_changing(root, begun, passphrase)
    lock = root.read(LOCK)
    if passphrase is None:
        if lock is not None:
            raise Refused("keys.passphrase-needed")
        return (None,)
    if lock is None:
        if kept:
            raise Refused("keys.not-locked")
        lock = _new_lock(passphrase, entropy)[0]
        # Crash here: no lock and no key; the next start makes another lock.
        if not root.write(LOCK, lock):
            return unlock(root, kept, passphrase, entropy)  # another process was faster: its lock is the one
    return (_try(lock, passphrase),)


def begin_change(root: PrivateFolder, old: str | None, new: str, entropy: Entropy) -> Keys:
    """From here on the new passphrase opens everything. Returns the keys, the new one first; called again after a
    crash it goes on where the first one began. Raises as `unlock`, and Refused `keys.empty-passphrase`.
    """
    refuse_empty(new)
    if root.read(NEXT) is None:
        was = None if root.read(LOCK) is None else old  # to what is open, no passphrase is the right one
        (held,) = unlock(root, kept=True, passphrase=was, entropy=entropy)
        lock, key = _new_lock(new, entropy)
        head, nonce = _NEXT_MAGIC + lock, entropy(12)
        root.write(NEXT, head + nonce + AESGCM(key).encrypt(nonce, held or b"", head))
        mark("keys.change-begun")
        # Crash here: every secret is as it was; the new passphrase opens them all, the old one is told to finish.
    return unlock(root, kept=True, passphrase=new, entropy=entropy)


def end_change(root: PrivateFolder) -> None:
    """Once every secret is under the new key: the new lock is the lock."""
    begun = root.read(NEXT)
    if begun is not None:
        root.replace(LOCK, _lock_in(begun))
        mark("keys.change-locked")
        # Crash here: both files hold the same lock; the same change, called again, takes the second away.
        root.shred(NEXT)


def _unlock_changing(root: PrivateFolder, begun: bytes, passphrase: str | None) -> Keys:
    if passphrase is None or not _opens(_lock_in(begun), passphrase):
        lock = root.read(LOCK)
        was = lock is None if passphrase is None else lock is not None and _opens(lock, passphrase)
        raise Refused("keys.lock-unfinished" if was else "keys.wrong-passphrase")
    key = _try(_lock_in(begun), passphrase)
    head = len(_NEXT_MAGIC) + _LOCK_BYTES
    try:
        old = AESGCM(key).decrypt(begun[head : head + 12], begun[head + 12 :], begun[:head])
    except InvalidTag:
        raise Corrupt("keys.damaged", kind=NEXT) from None
    return key, old or None


def _lock_in(begun: bytes) -> bytes:
    if not begun.startswith(_NEXT_MAGIC):
        raise Corrupt("keys.damaged", kind=NEXT)
    return begun[len(_NEXT_MAGIC) : len(_NEXT_MAGIC) + _LOCK_BYTES]


def _opens(lock: bytes, passphrase: str) -> bool:
    try:
        _try(lock, passphrase)
    except Refused:
        return False
    return True


def _new_lock(passphrase: str, entropy: Entropy) -> tuple[bytes, bytes]:
    """A lock and its key."""
    header = _LOCK_MAGIC + bytes([SCRYPT_LOG2_N, 8, 1]) + entropy(16)
    nonce, key = entropy(12), _key_of(passphrase, header)
    return header + nonce + AESGCM(key).encrypt(nonce, b"", header), key


def _try(lock: bytes, passphrase: str) -> bytes:
    header, nonce, tag = lock[:_HEADER_BYTES], lock[_HEADER_BYTES : _HEADER_BYTES + 12], lock[_HEADER_BYTES + 12 :]
    if len(lock) != _LOCK_BYTES or not lock.startswith(_LOCK_MAGIC):
        raise Corrupt("keys.damaged", kind=LOCK)
    key = _key_of(passphrase, header)
    try:
        AESGCM(key).decrypt(nonce, tag, header)
    except InvalidTag:
        raise Refused("keys.wrong-passphrase") from None
    return key


def _key_of(passphrase: str, header: bytes) -> bytes:
    """scrypt with the lock's own parameters. NFC: an accent is one character or two, as the keyboard will have it."""
    log2_n, r, p = header[len(_LOCK_MAGIC) : len(_LOCK_MAGIC) + 3]
    if not (4 <= log2_n <= 20 and r == 8 and p == 1):
        raise Corrupt("keys.damaged", kind=LOCK)
    salt = header[len(_LOCK_MAGIC) + 3 :]
    kdf = Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p)
    return kdf.derive(unicodedata.normalize("NFC", passphrase).encode())
