"""Draft seals: what a citizen has typed, encrypted so that the database alone reveals neither it nor whose it is.

    a person's own draft   key = HKDF-SHA-256(secret, draft | person)
    one that a code opens  key = Argon2id(code, salt = its id, secret = pepper, 32 MiB, 2 passes)
                           id  = HMAC-SHA-256(secret, code), the first 16 bytes
    sealed                 u8 1 | nonce 12 | AES-256-GCM(key, u32 length | JSON | zeros, aad)
                           aad = label | id | version | expiry
    code                   12 characters of 5 bits, written in two groups of 6; every bit of them is secret

Refuses: to open what was sealed for another draft, another version or another end.
Keeps: no part of a code finds a row: its digest is over the whole code. The secret is in the key store and in no
database; it is made when the first draft is written. Whoever has both the database and the key store reads people's
own drafts, and has to search 60 bits for one that only a code opens.
Source: RFC 9106 (Argon2id); RFC 5869 (HKDF); NIST SP 800-38D (AES-GCM); NIST SP 800-63B, 5.1.1 (memorised secrets).
"""

import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.ports import Entropy, KeyKind, KeyStore
from schemas.errors import Corrupt, Refused
from schemas.names import Instant, SubjectRef

NAME: Final = "1"
"""Of the secret in the key store."""
ID_BYTES: Final = 16
MOST_BYTES: Final = 65_536
"""Of one draft, as JSON."""

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS: Final = str.maketrans("OIL", "011", " -\u00a0\u2011\u2013")
"""What people take for another character, and what they write between the groups."""
_GROUP: Final = 6
_CODE_CHARACTERS: Final = 2 * _GROUP
_VERSION: Final = b"\x01"
_LABEL: Final = b"unefois/draft/v1\x00"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PAGE: Final = 4096
"""Lengths are rounded up to it: who counts bytes does not learn how many people a form has."""
_MEMORY_KIB: Final = 32 * 1024
_PASSES: Final = 2


class DraftSeals:
    """Seals and opens drafts. Calls are local; `code_key` takes some 50 ms and 32 MiB: give it a thread."""

    def __init__(self, keys: KeyStore, entropy: Entropy) -> None:
        """The secret is read when it is first needed. Every call raises Refused `keys.not-of-role`."""
        self._keys = keys
        self._entropy = entropy
        self._known: bytes | None = None

    def owner(self, subject: SubjectRef) -> bytes:
        """By what a person's drafts are found, 32 bytes."""
        return self._digest(b"owner", subject)

    def fingerprint(self, subject: SubjectRef, event_type: str, content: bytes) -> bytes:
        """By what the same declaration of the same person is known again, 32 bytes; nobody without the secret can try
        a content against it.
        """
        name = event_type.encode()
        return self._digest(b"fingerprint", subject + bytes((len(name),)) + name + content)

    def new_code(self) -> str:
        """Twelve characters, 60 bits of chance."""
        return "".join(_ALPHABET[byte & 31] for byte in self._entropy(_CODE_CHARACTERS))

    def code_id(self, code: str) -> bytes:
        """By what the draft of a code (`read_code`) is found, 16 bytes."""
        return self._digest(b"code", code.encode())[:ID_BYTES]

    def resumed_id(self, coded: bytes) -> bytes:
        """The id of the person's own draft into which the draft of a code goes: always the same, 16 bytes."""
        return self._digest(b"resumed", coded)[:ID_BYTES]

    def own_key(self, draft: bytes, subject: SubjectRef) -> bytes:
        """Of a person's own draft, 32 bytes."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL + b"own" + draft + subject).derive(self._secret())

    def code_key(self, code: str) -> bytes:
        """Of a draft that a code opens, 32 bytes. Slow on purpose."""
        pepper = self._digest(b"pepper", b"")
        salt = self.code_id(code)
        made = Argon2id(
            salt=salt, length=_KEY_BYTES, iterations=_PASSES, lanes=1, memory_cost=_MEMORY_KIB, secret=pepper
        )
        return made.derive(code.encode())

    def seal(self, key: bytes, draft: bytes, version: int, expires_at: Instant, content: Mapping[str, Any]) -> bytes:
        """What was typed, never the same bytes twice. Raises Refused `drafts.too-large`."""
        raw = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
        if len(raw) > MOST_BYTES:
            raise Refused("drafts.too-large", length=len(raw), limit=MOST_BYTES)
        told = len(raw).to_bytes(4, "big") + raw
        padded = told.ljust(-(-len(told) // _PAGE) * _PAGE, b"\x00")
        nonce = self._entropy(_NONCE_BYTES)
        return _VERSION + nonce + AESGCM(key).encrypt(nonce, padded, _bound(draft, version, expires_at))

    def open(self, key: bytes, draft: bytes, version: int, expires_at: Instant, sealed: bytes) -> dict[str, Any]:
        """What was typed. Raises Corrupt `drafts.damaged`."""
        nonce, content = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _VERSION:
                raise ValueError("another version")
            padded = AESGCM(key).decrypt(nonce, content, _bound(draft, version, expires_at))
            told = json.loads(padded[4 : 4 + int.from_bytes(padded[:4], "big")])
        except (InvalidTag, ValueError, OverflowError):
            raise Corrupt("drafts.damaged", draft=draft.hex()) from None
        if not isinstance(told, dict):
            raise Corrupt("drafts.damaged", draft=draft.hex())
        return told

    def _digest(self, purpose: bytes, told: bytes) -> bytes:
        return hmac.digest(self._secret(), _LABEL + bytes((len(purpose),)) + purpose + told, sha256)

    def _secret(self) -> bytes:
        """Crash after it is written: a secret that opens nothing yet; the next draft is sealed under it."""
        if self._known is None:
            if NAME not in self._keys.names(KeyKind.DRAFTS):
                try:
                    self._keys.write(KeyKind.DRAFTS, NAME, self._entropy(_KEY_BYTES))
                except Refused as fault:
                    if fault.code != "keys.exists":  # another process was faster
                        raise
            self._known = self._keys.read(KeyKind.DRAFTS, NAME)
        return self._known


def read_code(typed: str) -> str:
    """A code as people type it, in its one form: twelve characters. Raises Refused `drafts.code`."""
    code = typed.upper().translate(_READ_AS) if len(typed) <= 4 * _CODE_CHARACTERS else ""
    if len(code) != _CODE_CHARACTERS or not set(code) <= set(_ALPHABET):
        raise Refused("drafts.code", "/code")
    return code


def written_code(code: str) -> str:
    """A code as it is shown: two groups of six."""
    return f"{code[:_GROUP]}-{code[_GROUP:]}"


def _bound(draft: bytes, version: int, expires_at: Instant) -> bytes:
    return _LABEL + draft + version.to_bytes(4, "big") + expires_at.to_bytes(8, "big")
