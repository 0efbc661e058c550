"""Identity: who a declaration is about, for the broker alone, and what others get instead.

    pivot identity ──reference──► SubjectRef ──token──► a source: opaque, its own, and soon expired
                                      └──pseudonym──► a recipient: stable in its sector, of no use in another

Refuses: a token that expired, that was made for another source, that was not made here.
Keeps: a citizen's facts go in and nothing of them is kept; without the secrets nobody can tell whether a reference, a
token or a pseudonym is a given person's, not even by trying all names and dates.
Source: docs/protocol.md, sections 1 and 10; NIST SP 800-38D (AES-GCM: one key seals at most 2^32 tokens).

Token: u8 1 | nonce 12 | AES-256-GCM(key, reference 32 | u64 expiry in ms | source, aad = "unefois/subject-token/v1"
0x00 | u8 1)
"""

import hmac
from functools import cached_property
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.people.pivot import PivotIdentity, canonical
from broker.ports import Entropy, KeyKind, KeyStore
from schemas import pseudonym
from schemas.errors import Corrupt, Refused
from schemas.names import Instant, PartyId, SubjectRef

REFERENCE: Final = "reference"
"""The secret behind every reference. Replacing it would make every citizen a stranger: it never rotates."""
OPAQUE: Final = "token"
"""The key of the tokens. It may be replaced at any time: tokens of the old one are refused, sources ask again."""

ACCESS: Final = "access"
"""The seed of the key that signs access tokens. It may be replaced at any time: clients ask for another token."""

SALTS: Final = "ledger"
"""The name of what `keep_salts` keeps."""

WEBHOOKS: Final = "webhooks"
"""What the keys of every webhook are made from. Replaced, every agency needs its webhook's new keys at once."""

_VERSION: Final = b"\x01"
_AAD: Final = b"unefois/subject-token/v1\x00" + _VERSION
_SECRET_BYTES: Final = 32


def make_secrets(keys: KeyStore, entropy: Entropy) -> None:
    """Write the secrets that are not there yet, and the first pseudonym master key.

    Crash here: some are there and some are not; calling it again makes those that are missing.
    """
    for name in (REFERENCE, OPAQUE, ACCESS, WEBHOOKS):
        if name not in keys.names(KeyKind.IDENTITY):
            keys.write(KeyKind.IDENTITY, name, entropy(_SECRET_BYTES))
    if not keys.names(KeyKind.PSEUDONYM):
        keys.write(KeyKind.PSEUDONYM, "1", entropy(pseudonym.MASTER_SIZE))


class Identity:
    """Turns facts into references, references into tokens and pseudonyms, tokens back into references."""

    def __init__(self, keys: KeyStore, entropy: Entropy) -> None:
        """A secret is read when it is first needed. Raises Refused `keys.missing` where `make_secrets` did not run,
        `keys.not-of-role`; Corrupt `identity.secret`.
        """
        self._keys = keys
        self._entropy = entropy
        self._sectors: dict[tuple[int, str], bytes] = {}

    @cached_property
    def _reference(self) -> bytes:
        return secret(self._keys, REFERENCE)

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(secret(self._keys, OPAQUE))

    def reference(self, identity: PivotIdentity) -> SubjectRef:
        """HMAC-SHA-256(secret, canonical pivot identity). Raises Refused `identity.*` with the field's pointer."""
        return SubjectRef(hmac.digest(self._reference, canonical(identity), sha256))

    def token(self, subject: SubjectRef, source: PartyId, expires_at: Instant) -> bytes:
        """A token that only this source can use, until `expires_at` and no longer; never the same twice."""
        nonce = self._entropy(12)
        content = subject + expires_at.to_bytes(8, "big") + source.encode()
        return _VERSION + nonce + self._cipher.encrypt(nonce, content, _AAD)

    def resolve(self, token: bytes, source: PartyId, at: Instant) -> SubjectRef:
        """The reference that a token stands for.

        Raises Refused: `identity.token-forged` (made elsewhere, changed, or made with a key that was replaced since),
        `identity.token-foreign` (made for another source), `identity.token-expired`.
        """
        version, nonce, sealed = token[:1], token[1:13], token[13:]
        if version != _VERSION or len(sealed) <= _SECRET_BYTES + 8 + 16:
            raise Refused("identity.token-forged")
        try:
            content = self._cipher.decrypt(nonce, sealed, _AAD)
        except InvalidTag:
            raise Refused("identity.token-forged") from None
        if content[40:] != source.encode():  # a source passes another's token off as its own citizen's
            raise Refused("identity.token-foreign", source=source)
        if at > int.from_bytes(content[32:40], "big"):  # a list of old tokens lets a source speak of citizens for ever
            raise Refused("identity.token-expired", source=source)
        return SubjectRef(content[:32])

    def pseudonym(self, subject: SubjectRef, sector: str, version: int | None = None) -> tuple[bytes, int]:
        """The sector's pseudonym of a citizen (20 bytes) and its version: the newest, or an older one that is named.

        Raises Refused: `pseudonym.sector`, `keys.missing`.
        """
        chosen = version if version is not None else max(map(int, self._keys.names(KeyKind.PSEUDONYM)), default=0)
        if (chosen, sector) not in self._sectors:
            master = self._keys.read(KeyKind.PSEUDONYM, str(chosen))
            self._sectors[chosen, sector] = pseudonym.sector_key(master, sector)
        return pseudonym.pseudonym(self._sectors[chosen, sector], subject), chosen


def keep_salts(keys: KeyStore) -> None:
    """Keep what the salts are made of beside what it is made of, for the roles that must not have that one."""
    if SALTS not in keys.names(KeyKind.SALTS):
        keys.write(KeyKind.SALTS, SALTS, ledger_secret(keys))


def ledger_secret(keys: KeyStore) -> bytes:
    """What the salts of the ledger's commitments to citizens are made of, 32 bytes. Raises as `secret`."""
    if not keys.gives(KeyKind.IDENTITY, REFERENCE):
        return keys.read(KeyKind.SALTS, SALTS)
    return hmac.digest(secret(keys, REFERENCE), b"unefois/ledger-salts/v2\x00", sha256)


def marks_secret(keys: KeyStore) -> bytes:
    """What the mark of a clean fsck is sealed with, 32 bytes. Raises as `secret`."""
    return hmac.digest(secret(keys, REFERENCE), b"unefois/fsck-marks/v1\x00", sha256)


def secret(keys: KeyStore, name: str) -> bytes:
    """One of the secrets of `make_secrets`, 32 bytes. Raises Refused `keys.missing`; Corrupt `identity.secret`."""
    found = keys.read(KeyKind.IDENTITY, name)
    if len(found) != _SECRET_BYTES:
        raise Corrupt("identity.secret", length=len(found), expected=_SECRET_BYTES)
    return found
