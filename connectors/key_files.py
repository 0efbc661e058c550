"""Key files: an agency's private keys, one a file, and the line about each that the broker's operator gets.

    x25519 6f2c...                  private, mode 0600; `public` gives the line with the public key

Refuses: a file that others may read, that is there already, or that holds no key.
Keeps: a private key is in no error and no repr; a written file is whole, or is not there.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.errors import Refused
from schemas.hpke import SealingKey, Suite
from schemas.signing import Algorithm, PrivateKey

KINDS: Final[Mapping[str, Algorithm | Suite]] = {
    "ed25519": Algorithm.ED25519,
    "ml_dsa_44": Algorithm.ML_DSA_44,
    "ecdsa_p256": Algorithm.ECDSA_P256,
    "x25519": Suite.X25519,
    "mlkem768_x25519": Suite.MLKEM768_X25519,
}
"""To sign with: the first three. To open with: the others."""

_BYTES: Final = 1_000


def new(kind: str) -> PrivateKey | SealingKey:
    """A fresh key of one of `KINDS`. Raises Refused `key-file.kind`."""
    chosen = KINDS.get(kind)
    if chosen is None:
        raise Refused("key-file.kind", known=", ".join(KINDS))
    return PrivateKey.generate(chosen) if isinstance(chosen, Algorithm) else SealingKey.generate(chosen)


def write(path: Path, key: PrivateKey | SealingKey) -> None:
    """Keep a key. Raises Refused `key-file.exists`.

    Crash in between: a file of another name stays, and may be taken away.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{kind_of(key)} {key.to_raw().hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)  # unlike a rename, it does not take away what is there
    except FileExistsError:
        raise Refused("key-file.exists", file=path.name) from None
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> PrivateKey | SealingKey:
    """The key in a file. Raises Refused `key-file.unreadable`, `key-file.open-to-others`, `key-file.malformed`."""
    try:
        mode, content = path.stat().st_mode, path.read_bytes()[:_BYTES]
    except OSError:
        raise Refused("key-file.unreadable", file=path.name) from None
    if mode & 0o077:
        raise Refused("key-file.open-to-others", file=path.name)
    try:
        kind, raw = content.decode("ascii").split()
        chosen, secret = KINDS[kind], bytes.fromhex(raw)
    except (ValueError, KeyError):
        raise Refused("key-file.malformed", file=path.name) from None
    try:
        return (
            PrivateKey.from_raw(chosen, secret)
            if isinstance(chosen, Algorithm)
            else SealingKey.from_raw(chosen, secret)
        )
    except Refused:
        raise Refused("key-file.malformed", file=path.name) from None


def signing_key(path: Path) -> PrivateKey:
    """A key that signs. Raises like `read`, and Refused `key-file.not-for-this`."""
    key = read(path)
    if not isinstance(key, PrivateKey):
        raise Refused("key-file.not-for-this", file=path.name)
    return key


def sealing_key(path: Path) -> SealingKey:
    """A key that opens. Raises like `read`, and Refused `key-file.not-for-this`."""
    key = read(path)
    if not isinstance(key, SealingKey):
        raise Refused("key-file.not-for-this", file=path.name)
    return key


def public(key: PrivateKey | SealingKey) -> str:
    """What the operator is given: the kind and the raw public key in hexadecimal."""
    return f"{kind_of(key)} {key.public.hex()}"


def parse_public(text: str) -> tuple[Algorithm | Suite, bytes]:
    """The kind and the raw public key of such a line. Raises Refused `key-file.public`."""
    try:
        kind, raw = text.split()
        return KINDS[kind], bytes.fromhex(raw)
    except (ValueError, KeyError):
        raise Refused("key-file.public", "/key") from None


def kind_of(key: PrivateKey | SealingKey) -> str:
    """The kind of a key, by name."""
    return (key.algorithm if isinstance(key, PrivateKey) else key.suite).name.lower()
