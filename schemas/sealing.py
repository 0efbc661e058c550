"""Sealing: what becomes of each field: its salted digest, its key, its padding, its sealed bytes; and the key of all.

Refuses: a salt of another length, an index or a name that does not fit its length prefix; a sealed field that does not
open under its key, its place and its commitment; padding that is not the one way to pad; a DEK sealed for another
declaration, another manifest or another gate key.
Keeps: K_i encrypts exactly once, which is what makes the fixed nonce sound: a DEK is fresh for each declaration and the
field's index goes into its key. Lengths are hidden up to the steps of the padding. Every field has a commitment, null
or not, so that absence does not show; every part of it is length-prefixed or of fixed width, so no two different fields
give the same bytes to hash.
Source: docs/protocol.md 3 and 5; RFC 5869 (HKDF-Expand), NIST SP 800-38D (AES-GCM).
"""

from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from schemas import hpke
from schemas.errors import Refused
from schemas.names import DeclarationId, Kid

SALT_SIZE: Final = 16
COMMITMENT_SIZE: Final = 32
MAX_INDEX: Final = 0xFFFF
DEK_SIZE: Final = 32
FIELD_KEY_SIZE: Final = 32
TAG_SIZE: Final = 16

_COMMITMENT_DOMAIN: Final = b"unefois/field/v1\x00"
_KEY_DOMAIN: Final = b"unefois/field-key/v1\x00"
_FIELD_DOMAIN: Final = b"unefois/sealed-field/v1\x00"
_DEK_DOMAIN: Final = b"unefois/dek/v1\x00"
_NONCE: Final = bytes(12)
_STEPS: Final = (64, 128, 256, 512, 1024, 2048, 4096)
_LENGTH_SIZE: Final = 4


def commit(salt: bytes, index: int, name: str, value: bytes) -> bytes:
    """C_i = SHA-256(domain | salt | u16 i | u16 len(name) | name | u32 len(value) | value), 32 bytes.

    `salt` is 16 fresh random bytes, `index` and `name` are the field's in the writer schema, `value` is its Avro
    encoding. Raises ValueError when a part does not fit: only our own code can cause that.
    """
    if len(salt) != SALT_SIZE:
        raise ValueError("a commitment takes a salt of 16 bytes")
    if not 0 <= index <= MAX_INDEX:
        raise ValueError("a field's index is a u16")
    named = name.encode()
    if len(named) > 0xFFFF:
        raise ValueError("a field's name has at most 65535 bytes")
    digest = sha256(_COMMITMENT_DOMAIN + salt + index.to_bytes(2, "big"))
    digest.update(len(named).to_bytes(2, "big") + named)
    digest.update(len(value).to_bytes(4, "big") + value)
    return digest.digest()


def padded_size(length: int) -> int:
    """Bytes that `length` bytes take when padded, the u32 of the true length included."""
    needed = length + _LENGTH_SIZE
    last = _STEPS[-1]
    return next((step for step in _STEPS if needed <= step), -(-needed // last) * last)


def pad(plaintext: bytes) -> bytes:
    """u32 length | plaintext | zeros, up to the next of 64, 128, ... 4096, then multiples of 4096."""
    size = padded_size(len(plaintext))
    return (len(plaintext).to_bytes(_LENGTH_SIZE, "big") + plaintext).ljust(size, b"\x00")


def unpad(padded: bytes) -> bytes:
    """What `pad` padded. Raises Refused `sealing.padding` unless padding it again gives the same bytes."""
    length = int.from_bytes(padded[:_LENGTH_SIZE], "big")
    plaintext = padded[_LENGTH_SIZE : _LENGTH_SIZE + length]
    if len(plaintext) != length or pad(plaintext) != padded:
        raise Refused("sealing.padding", length=len(padded))
    return plaintext


def is_sealed_size(size: int) -> bool:
    """Can a sealed field have this many bytes? Any other size would tell more of its length than the steps do."""
    return size >= _STEPS[0] + TAG_SIZE and padded_size(size - TAG_SIZE - _LENGTH_SIZE) == size - TAG_SIZE


def field_key(dek: bytes, declaration_id: DeclarationId, index: int) -> bytes:
    """K_i = HKDF-Expand(DEK, domain | declaration id | u16 i), 32 bytes."""
    if len(dek) != DEK_SIZE:
        raise ValueError("a declaration's key has 32 bytes")
    info = _KEY_DOMAIN + declaration_id + index.to_bytes(2, "big")
    return HKDFExpand(algorithm=SHA256(), length=FIELD_KEY_SIZE, info=info).derive(dek)


def seal_field(
    key: bytes, salt: bytes, value: bytes, *, declaration_id: DeclarationId, index: int, commitment: bytes
) -> bytes:
    """AES-256-GCM(K_i, zero nonce, pad(salt | value), aad = domain | declaration id | u16 i | C_i).

    Call it once for a key: a second plaintext under the same K_i would show the difference of both.
    """
    if len(salt) != SALT_SIZE:
        raise ValueError("a field's salt has 16 bytes")
    return AESGCM(key).encrypt(_NONCE, pad(salt + value), _field_aad(declaration_id, index, commitment))


def open_field(
    key: bytes, sealed: bytes, *, declaration_id: DeclarationId, index: int, commitment: bytes
) -> tuple[bytes, bytes]:
    """(salt, value) of a sealed field; the caller still recomputes the commitment from them.

    Raises Refused `sealing.cannot-open-field` (another key, field, declaration or commitment, or a changed byte),
    `sealing.padding`.
    """
    try:
        padded = AESGCM(key).decrypt(_NONCE, sealed, _field_aad(declaration_id, index, commitment))
    except InvalidTag:
        raise Refused("sealing.cannot-open-field", index=index) from None
    plaintext = unpad(padded)
    if len(plaintext) < SALT_SIZE:
        raise Refused("sealing.padding", length=len(padded))
    return plaintext[:SALT_SIZE], plaintext[SALT_SIZE:]


def _field_aad(declaration_id: DeclarationId, index: int, commitment: bytes) -> bytes:
    return _FIELD_DOMAIN + declaration_id + index.to_bytes(2, "big") + commitment


def seal_dek(suite: hpke.Suite, gate_public: bytes, dek: bytes, declaration_id: DeclarationId, payload: bytes) -> bytes:
    """The DEK, sealed to the gate's epoch key for this declaration and these manifest bytes.

    Raises Refused `hpke.*` when the gate's key is not one that may stand in a directory.
    """
    if len(dek) != DEK_SIZE:
        raise ValueError("a declaration's key has 32 bytes")
    info = _dek_info(suite, hpke.kid_of(suite, gate_public), declaration_id, payload)
    return hpke.seal(suite, gate_public, dek, info)


def sealed_dek_size(suite: hpke.Suite) -> int:
    """Bytes of a sealed DEK in this suite."""
    return hpke.OVERHEAD[suite] + DEK_SIZE


def open_dek(gate_key: hpke.SealingKey, sealed_dek: bytes, declaration_id: DeclarationId, payload: bytes) -> bytes:
    """The 32-byte DEK. Raises Refused `sealing.cannot-open-dek`: other gate key, declaration or manifest."""
    try:
        dek = hpke.open_(gate_key, sealed_dek, _dek_info(gate_key.suite, gate_key.kid, declaration_id, payload))
    except Refused:
        raise Refused("sealing.cannot-open-dek") from None
    if len(dek) != DEK_SIZE:
        raise Refused("sealing.cannot-open-dek")
    return dek


def _dek_info(suite: hpke.Suite, gate_kid: Kid, declaration_id: DeclarationId, payload: bytes) -> bytes:
    return _DEK_DOMAIN + suite.to_bytes(2, "big") + gate_kid + declaration_id + sha256(payload).digest()
