"""The rules by which a w.c.s. lets a call in, and what it makes of a value: facts read and run, in no words of ours.

Refuses: what w.c.s. refuses, in its order, with its status and `err_code`. Texts stand in the site's language there, so
a test of ours may look at them and the product may not.
Keeps: nothing is shared with the product: a mistake in how we sign is not one in how this verifies.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs, unquote

WINDOW_SECONDS = 30
NONCE_CHARACTERS = 128
_CLASSES = {
    400: ("Bad Request", "invalid-request"),
    401: ("Unauthorized", "access-unauthorized"),
    403: ("Access denied", "access-denied"),
    404: ("Page not found", "not-found"),
    405: ("Method not allowed", "method-not-allowed"),
}


class Answer(Exception):
    """An error answer. `body` None: no JSON."""

    def __init__(self, status: int, text: str | None = None, code: str | None = None, **headers: str) -> None:
        title, slug = _CLASSES.get(status, ("", ""))
        self.status, self.headers = status, headers
        self.body: Any = {"err": 1, "err_class": title, "err_code": code or slug, "err_desc": text}
        if status == 500:
            self.body = {"err": 1}
        super().__init__(status, text)


@dataclass(frozen=True)
class Access:
    """An "API access": its identifier (`orig`, or the user of Basic), its key, its roles."""

    identifier: str
    key: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Caller:
    """Who calls: by which way, as which access, as which user; `user` "" is nobody on purpose, None is not said."""

    way: str
    access: Access | None = None
    user: str | None = None

    @property
    def roles(self) -> frozenset[str]:
        return frozenset() if self.access is None else self.access.roles


@dataclass
class Door:
    """Lets calls in. `now` is the site's clock, in UTC."""

    now: datetime
    accesses: Sequence[Access] = ()
    users: Mapping[str, str] = field(default_factory=dict)
    """Authentic uuid to e-mail."""
    nonces: dict[str, datetime] = field(default_factory=dict)

    def caller(self, query: str, headers: Mapping[str, str]) -> Caller:
        """Who calls. Raises Answer 403."""
        if "signature=" in query:
            return self._signed(query)
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return Caller("unsigned")
        name, _, key = base64.b64decode(shown).decode().partition(":")
        for access in self.accesses:
            if access.identifier == name and hmac.compare_digest(access.key.encode(), key.encode()):
                return Caller("basic", access)
        raise Answer(403, "User not authenticated.")

    def _signed(self, query: str) -> Caller:
        base, _, rest = query.partition("&signature=")
        signature = unquote(rest.partition("&")[0])
        told = parse_qs(base, keep_blank_values=True)
        origs = told.get("orig", [])
        if len(origs) != 1:
            raise Answer(403, "missing/multiple orig field")
        access = next((one for one in self.accesses if one.identifier == origs[0]), None)
        if access is None:
            raise Answer(403, "Invalid orig.")
        algos = told.get("algo", [])
        if len(algos) != 1:
            raise Answer(403, "missing/multiple algo field")
        if algos[0] not in hashlib.algorithms_guaranteed or algos[0].startswith("shake"):
            raise Answer(403, "Invalid algo.")
        made = hmac.new(access.key.encode(), base.encode(), algos[0]).digest()
        if base64.b64encode(made).decode() != signature:
            raise Answer(403, "Invalid signature.")
        self._in_time(told)
        # What stands behind the signature is honoured, too, unsigned: a fact about w.c.s., and no model.
        said = parse_qs(query, keep_blank_values=True)
        return Caller("signed", access, None if access.roles else self._user(said))

    def _in_time(self, told: Mapping[str, list[str]]) -> None:
        times = told.get("timestamp", [])
        if len(times) != 1:
            raise Answer(403, "missing/multiple timestamp field")
        try:
            at = datetime.strptime(times[0], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise Answer(403, f"Invalid timestamp field; {times[0]}") from None
        off = (self.now - at).total_seconds()
        if abs(off) > WINDOW_SECONDS:
            side = "past" if off > 0 else "future"
            raise Answer(403, f"timestamp is more than {WINDOW_SECONDS} seconds in the {side}: {off}")
        for nonce in (one[:NONCE_CHARACTERS] for one in told.get("nonce", [])):
            before = self.nonces.get(nonce)
            if before is not None and (self.now - before).total_seconds() <= WINDOW_SECONDS:
                raise Answer(403, "Nonce already used.")
            self.nonces[nonce] = self.now

    def _user(self, told: Mapping[str, list[str]]) -> str | None:
        if "NameID" in told:
            named = told["NameID"][0]
            if named and named not in self.users:
                raise Answer(403, "Unknown NameID.", "unknown-name-id")
            return named
        if "email" in told:
            mail = told["email"][0]
            found = next((uuid for uuid, one in self.users.items() if one == mail), None)
            if mail and found is None:
                raise Answer(403, "Unknown email.")
            return found or ""
        return None


def stored(kind: Mapping[str, Any], value: Any, raw: Any = None) -> Any:
    """What w.c.s. keeps of a value for a field of its schema: a bad one becomes null or [], and nothing is said."""
    made = _KINDS.get(kind["type"], _text)
    if kind["type"] == "item":
        return _item(kind, value, raw)
    return None if value is None else made(kind, value)


def breaks(value: Any) -> bool:
    """Whether it ends in a 500: a NUL or a lone surrogate anywhere."""
    if isinstance(value, Mapping):
        return any(breaks(one) for one in (*value, *value.values()))
    if isinstance(value, list):
        return any(breaks(one) for one in value)
    return isinstance(value, str) and ("\0" in value or any("\ud800" <= one <= "\udfff" for one in value))


def _text(kind: Mapping[str, Any], value: Any) -> Any:
    return value if isinstance(value, str) else str(value)


def _date(kind: Mapping[str, Any], value: Any) -> Any:
    try:
        return value if re.fullmatch(r"\d{4}-\d\d-\d\d", value) and date.fromisoformat(value) else None
    except (TypeError, ValueError):
        return None


def _numeric(kind: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, bool):
        return "0"
    try:
        exact = Decimal(str(value).replace(",", "."))
    except InvalidOperation:
        return None
    return f"{exact:f}" if exact.is_finite() else None


def _item(kind: Mapping[str, Any], value: Any, raw: Any) -> Any:
    sources = kind.get("source")
    if sources is None:
        known = value if value in kind.get("items", ()) else None
        return None if known is None else {"text": known, "raw": known}
    chosen = raw if raw is not None else value
    found = next((one for one in sources if one["id"] == chosen), None)
    if found is None:
        return None if chosen is None else {"text": value if raw is not None else None, "raw": chosen}
    return {"text": found["text"], "raw": chosen, "structured": found}


def _items(kind: Mapping[str, Any], value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list) else []


def _file(kind: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, Mapping) or "filename" not in value:
        return None
    try:
        content = base64.b64decode(str(value.get("content", "")), validate=True)
    except (ValueError, binascii.Error):
        content = b""
    kept = base64.b64encode(content).decode()
    return {"filename": value["filename"], "content_type": value.get("content_type"), "content": kept}


def _block(kind: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        return []
    below = {one["varname"]: one for one in kind["schema"]["fields"] if "varname" in one}
    return [{name: stored(below[name], row[name]) for name in row if name in below} for row in value]


def _map(kind: Mapping[str, Any], value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) and {"lat", "lon"} <= value.keys() else None


_KINDS: Mapping[str, Any] = {
    "bool": lambda kind, value: bool(value),
    "date": _date,
    "numeric": _numeric,
    "items": _items,
    "file": _file,
    "block": _block,
    "map": _map,
}
