"""Sealed: who somebody is, as bytes that open only with what the citizen holds.

    sealed   u8 1 | nonce 12 | AES-256-GCM(key, JSON | spaces, aad = the label and the row that it belongs to)

Refuses: to open with another key, or for another row.
Keeps: the key is nowhere; it follows from a session's token (HKDF) or a code (Argon2id), which the citizen alone has.
Whoever has the tables learns no more of a name's length than the next multiple of PADDED tells.
Source: NIST SP 800-38D; RFC 5869 (HKDF); RFC 9106 (Argon2id).
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.citizens.citizen import Helper
from broker.people.pivot import PivotIdentity
from broker.ports import Entropy
from schemas.errors import Corrupt

KEY_BYTES: Final = 32
PADDED: Final = 1024
"""Bytes."""
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True, repr=False)
class Private:
    """What only the citizen's own key opens. `id_token`: the provider's, to sign out there too; None: there is none."""

    identity: PivotIdentity
    helper: Helper | None = None
    id_token: str | None = field(default=None)


def key_from(secret: bytes, label: bytes) -> bytes:
    """A key of 32 bytes from a secret of at least as many, for one use (`label`)."""
    return HKDF(SHA256(), KEY_BYTES, None, label).derive(secret)


def seal(key: bytes, told: Private, row: bytes, entropy: Entropy) -> bytes:
    """Never the same twice. `row`: what names the row, and whose it is."""
    nonce = entropy(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, _spelled(told), row)


def unseal(key: bytes, sealed: bytes, row: bytes) -> Private:
    """The inverse. Raises Corrupt `citizens.damaged`."""
    nonce, content = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _VERSION:
            raise ValueError("another version")
        return _read(json.loads(AESGCM(key).decrypt(nonce, content, row)))
    except (InvalidTag, ValueError, KeyError, TypeError):
        raise Corrupt("citizens.damaged") from None


def _spelled(told: Private) -> bytes:
    who, helper = told.identity, told.helper
    names = ("family_name", "birthdate", "gender", "birthplace", "birthcountry")
    spelled: dict[str, Any] = {name: getattr(who, name) for name in names} | {"given_names": list(who.given_names)}
    if helper is not None:
        spelled["helper"] = {"agent": helper.agent, "scopes": sorted(helper.scopes)}
    if told.id_token is not None:
        spelled["id_token"] = told.id_token
    raw = json.dumps(spelled, ensure_ascii=False, separators=(",", ":")).encode()
    return raw.ljust(-(-len(raw) // PADDED) * PADDED)


def _read(told: dict[str, Any]) -> Private:
    identity = PivotIdentity(
        family_name=told["family_name"],
        given_names=tuple(told["given_names"]),
        birthdate=told["birthdate"],
        gender=told["gender"],
        birthplace=told["birthplace"],
        birthcountry=told["birthcountry"],
    )
    helper = told.get("helper")
    known = None if helper is None else Helper(helper["agent"], frozenset(helper["scopes"]))
    return Private(identity, known, told.get("id_token"))
