"""Identity: who a declaration is about, for the broker alone, and what others get instead.

    pivot identity ──reference──► SubjectRef ──token──► a source: opaque, its own, and soon expired
                                      └──pseudonym──► a recipient: stable in its sector, of no use in another

Refuses: a token that expired, that was made for another source, that was not made here.
Keeps: a citizen's facts go in and nothing of them is kept; without the secrets nobody can tell whether a reference, a
token or a pseudonym is a given person's, not even by trying all names and dates.
Source: docs/protocol.md, sections 1 and 10; NIST SP 800-38D (AES-GCM: one key seals at most 2^32 tokens).

Token: u8 1 | nonce 12 | AES-256-GCM(key, reference 32 | u64 expiry in ms | source, aad = "unefois/subject-token/v1"
0x00 | u8 1). Where somebody acts for that person: u8 2, and in the same way reference 32 | u64 expiry | the
representative's reference 32 | u8 capacity | u64 instant of coming of age, 0 where it is not told | source.
"""

import hmac
from functools import cached_property
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.people.pivot import PivotIdentity, canonical, canonical_v1
from broker.ports import Entropy, KeyKind, KeyStore
from consent.representation import Acting
from schemas import pseudonym
from schemas.errors import Corrupt, Refused
from schemas.names import Capacity, Instant, PartyId, SubjectRef

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
_ACTING: Final = b"\x02"
_AAD: Final = b"unefois/subject-token/v1\x00"
_HEADS: Final = {_VERSION: 40, _ACTING: 81}
"""What stands before the source's name, bytes."""
_CAPACITIES: Final = (Capacity.PARENT, Capacity.GUARDIAN, Capacity.NEXT_OF_KIN, Capacity.AGENT)
"""By their number in a token, from 0 on, for ever."""
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
        """HMAC-SHA-256(secret, canonical pivot identity). Raises Refused `identity.*` with the field's pointer.

        What stands under it, and under which other references, `broker.directory.kin` knows.
        """
        return SubjectRef(hmac.digest(self._reference, canonical(identity), sha256))

    def first_reference(self, identity: PivotIdentity) -> SubjectRef | None:
        """The reference that version 1 of the canonical identity gave; None for who had none in it."""
        told = canonical_v1(identity)
        return None if told is None else SubjectRef(hmac.digest(self._reference, told, sha256))

    def token(self, subject: SubjectRef, source: PartyId, expires_at: Instant, acting: Acting | None = None) -> bytes:
        """A token that only this source can use, until `expires_at` and no longer; never the same twice. `acting`: who
        speaks for that person, if somebody does.
        """
        nonce = self._entropy(12)
        version, content = _VERSION, subject + expires_at.to_bytes(8, "big")
        if acting is not None:
            version = _ACTING
            content += acting.representative + bytes((_CAPACITIES.index(acting.capacity),))
            until = 0 if acting.until is None else max(1, acting.until)
            content += until.to_bytes(8, "big")
        return version + nonce + self._cipher.encrypt(nonce, content + source.encode(), _AAD + version)

    def resolve(self, token: bytes, source: PartyId, at: Instant) -> SubjectRef:
        """The reference that a token stands for.

        Raises Refused: `identity.token-forged` (made elsewhere, changed, or made with a key that was replaced since),
        `identity.token-foreign` (made for another source), `identity.token-expired`.
        """
        return SubjectRef(self._opened(token, source, at)[:32])

    def acting(self, token: bytes, source: PartyId, at: Instant) -> Acting | None:
        """Who speaks for the person that a token stands for; None: nobody else. Raises as `resolve`."""
        content = self._opened(token, source, at)
        if token[:1] != _ACTING:
            return None
        until = int.from_bytes(content[73:81], "big")
        return Acting(SubjectRef(content[40:72]), _CAPACITIES[content[72]], Instant(until) if until else None)

    def _opened(self, token: bytes, source: PartyId, at: Instant) -> bytes:
        version, nonce, sealed = token[:1], token[1:13], token[13:]
        head = _HEADS.get(version)
        if head is None or len(sealed) <= head + 16:
            raise Refused("identity.token-forged")
        try:
            content = self._cipher.decrypt(nonce, sealed, _AAD + version)
        except InvalidTag:
            raise Refused("identity.token-forged") from None
        if content[head:] != source.encode():  # a source passes another's token off as its own citizen's
            raise Refused("identity.token-foreign", source=source)
        if at > int.from_bytes(content[32:40], "big"):  # a list of old tokens lets a source speak of citizens for ever
            raise Refused("identity.token-expired", source=source)
        return content

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
