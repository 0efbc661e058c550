"""Sessions: what `unefois login` leaves in a private file: a key for some time, and that this broker saw whose it is.

    file   JSON: issuer, subject, the key's seed and public half, until when; a MAC of the house over all but the seed

Refuses: a file that this home did not make, or that somebody edited; one whose time is over.
Keeps: the key is the session's own and signs what is done in it; the ID token that proved the person is not kept.
"""

import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from broker.access.operators import Login
from broker.keys.folder import PrivateFolder
from broker.people import identity
from broker.ports import KeyStore
from broker.services.accounts import Who
from schemas.errors import Refused
from schemas.names import Instant
from schemas.signing import Algorithm, PrivateKey

FILE_BYTES: Final = 16_384
_LABEL: Final = b"unefois/session/v1\x00"


def secret_of(keys: KeyStore) -> bytes:
    """What sessions of this home are known by, 32 bytes. Raises Refused `keys.missing`; Corrupt `identity.secret`."""
    return hmac.digest(identity.secret(keys, identity.ACCESS), _LABEL, sha256)


def made(login: Login, key: PrivateKey, expires_at: Instant, secret: bytes) -> bytes:
    """The file of a new session."""
    told = {
        "issuer": login.issuer,
        "subject": login.subject,
        "public": key.public.hex(),
        "expires_at": expires_at,
    }
    return json.dumps({**told, "seed": key.to_raw().hex(), "mac": _mac(told, secret)}, indent=2).encode()


def opened(raw: bytes, secret: bytes, at: Instant) -> Who:
    """Whose session a file is. Raises Refused `login.session`, `login.session-over`."""
    try:
        told = json.loads(raw[:FILE_BYTES])
        key = PrivateKey.from_raw(Algorithm.ED25519, bytes.fromhex(told.pop("seed")))
        mac = told.pop("mac")
        whole = hmac.compare_digest(mac, _mac(told, secret)) and told["public"] == key.public.hex()
        login, expires_at = Login(told["issuer"], told["subject"]), int(told["expires_at"])
    except (ValueError, KeyError, TypeError, AttributeError, Refused):
        raise Refused("login.session") from None
    if not whole:
        raise Refused("login.session")
    if expires_at <= at:
        raise Refused("login.session-over")
    return Who(key, login, told)


def read(file: Path, keys: KeyStore, at: Instant) -> Who | None:
    """Whose session a file is; None where there is none. Raises as `opened`, and Refused `keys.*`, Unavailable
    `keys.away`, as a private folder does.
    """
    if not file.is_file():
        return None
    raw = PrivateFolder(file.parent).read(file.name)
    return None if raw is None else opened(raw, secret_of(keys), at)


def _mac(told: dict[str, Any], secret: bytes) -> str:
    spelled = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hmac.digest(secret, _LABEL + spelled, sha256).hex()
