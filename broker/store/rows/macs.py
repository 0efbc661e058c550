"""Macs: what the machine writes at every declaration carries a MAC, under a secret that no database holds.

    submissions      by the intake, for the router: whose it is, when it came, that it was verified at all
    declarations     by the router, for whoever plans again: whose it is, what it says, when it was routed
    ledger_entries   by the recorder, for the sequencer: that the house wrote it, and no other
    deliveries       by the planner, for gate and mailbox: which steps of the ledger are this one's
    objections       by whoever records one, for the router: of whom, to which rule, since when
    repairs          by whoever begins one, for the router: which delivery waits for which reference
    retractions      by whoever takes a declaration back: which one, since when, who tells of it
    acted_for        by the intake, for tracking: who declared for whom, as what, how that was known
    households       by whoever opens or decides one, for itself: which adult has still to confirm, until when
    ledger_checkpoints  by the sequencer, for the gate: since when one waits for its witnesses
    channels         by whoever adds or ends one, for the sender: whose address it is, since when, until when
    messages         by the sender, for itself: to which channel, about what, whether it was sent
    citizen_sessions by whoever lets a citizen in, for itself: whose, how surely, by which portal, until when
    citizen_accounts by the same: whose a provider's identifier is
    citizen_codes    by whoever gives a code, for whoever takes it: whose, until when
    citizen_drafts   by whoever types, for themselves: whose it is, which version, until when
    told_already     by whoever declares, for themselves: that it was declared before

    mac   nonce | HMAC-SHA-256(secret, "unefois/row-mac/v1" 0x00 | u8 length | table | nonce | columns)
    nonce 8 random bytes of an open entry, by which two that say the same are told apart; else none
    value 0x00  null  |  0x01 i64  |  0x02 u32 length | UTF-8  |  0x03 u32 length | bytes      (big-endian)

Refuses: to make one where the home has no secret yet (`rows.not-signed`).
Keeps: a row that was inserted or edited by whoever writes to the database is as absent, and is told in the log by its
table and key; the others go on. Signatures (`broker.store.rows.seals`) are for what many read and few write; here a MAC
is enough, at a fiftieth of the price. What these cover is never changed, so there is nothing older to put back; but for
objections, retractions, the ends of channels, of sessions and of codes, and what an adult of a household has decided,
which the journal of endings knows as well; for when a session was last seen, where what is older ends sooner; for a
message: whoever puts back that one has it sent twice; and for a draft: whoever puts back that one has its person read
again what they typed before.
Source: RFC 2104; NIST FIPS 198-1.
"""

import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Row, func, select

from broker.observability.observe import RowName, logger
from broker.ports import Entropy, KeyKind, KeyStore
from broker.store.engine import Store
from broker.store.tables import declarations, ledger_entries, submissions
from schemas.errors import Corrupt, Refused

NAME: Final = "mac"
"""Of the secret in the key store."""
SECRET_BYTES: Final = 32
MAC_BYTES: Final = 32
NONCE_BYTES: Final = 8

_LABEL: Final = b"unefois/row-mac/v1\x00"
_ASKED: Final = b"unefois/asked/v1\x00"
COLUMNS: Final[Mapping[str, tuple[tuple[str, type], ...]]] = MappingProxyType(
    {
        "submissions": (
            ("source", str),
            ("declaration_id", bytes),
            ("event_type", str),
            ("envelope_digest", bytes),
            ("subject", bytes),
            ("received_at", int),
            ("receipt", bytes),
        ),
        "declarations": (
            ("source", str),
            ("declaration_id", bytes),
            ("event_type", str),
            ("schema_id", bytes),
            ("manifest_digest", bytes),
            ("subject", bytes),
            ("corrects", bytes),
            ("root", bytes),
            ("envelope", bytes),
            ("gate_kid", bytes),
            ("received_at", int),
            ("routed_at", int),
            ("trace", bytes),
        ),
        "ledger_entries": (("leaf", bytes), ("window", int), ("chain", bytes)),
        "deliveries": (("id", bytes), ("tag", bytes)),
        "objections": (
            ("subject", bytes),
            ("rule", bytes),
            ("objected_at", int),
            ("reason", str),
            ("given_by", str),
            ("withdrawn_at", int),
        ),
        "repairs": (
            ("delivery", bytes),
            ("number", int),
            ("reference", bytes),
            ("grant_id", bytes),
            ("asked_at", int),
        ),
        "retractions": (
            ("declaration", bytes),
            ("subject", bytes),
            ("kind", str),
            ("given_by", str),
            ("retracted_at", int),
            ("notice", bytes),
            ("lifted_at", int),
        ),
        "acted_for": (
            ("declaration", bytes),
            ("subject", bytes),
            ("representative", bytes),
            ("capacity", str),
            ("known", str),
            ("representation", bytes),
            ("at", int),
        ),
        "households": (
            ("household", bytes),
            ("number", int),
            ("source", str),
            ("subject", bytes),
            ("event_type", str),
            ("opened_at", int),
            ("expires_at", int),
            ("decided_at", int),
            ("declaration", bytes),
        ),
        "ledger_checkpoints": (("size", int), ("root", bytes), ("note", str), ("at", int)),
        "channels": (
            ("id", bytes),
            ("subject", bytes),
            ("kind", str),
            ("language", str),
            ("sealed", bytes),
            ("held_since", int),
            ("ended_at", int),
        ),
        "messages": (
            ("id", bytes),
            ("channel", bytes),
            ("news", str),
            ("declaration", bytes),
            ("at", int),
            ("attempts", int),
            ("next_at", int),
            ("sent_at", int),
            ("code", str),
        ),
        "citizen_sessions": (
            ("id", bytes),
            ("digest", bytes),
            ("subject", bytes),
            ("way", str),
            ("assurance", str),
            ("language", str),
            ("portal", str),
            ("credential", bytes),
            ("helped", int),
            ("sealed", bytes),
            ("opened_at", int),
            ("seen_at", int),
            ("expires_at", int),
        ),
        "citizen_accounts": (("alias", bytes), ("subject", bytes), ("known_at", int)),
        "citizen_codes": (
            ("locator", bytes),
            ("subject", bytes),
            ("salt", bytes),
            ("sealed", bytes),
            ("made_at", int),
            ("expires_at", int),
        ),
        "citizen_drafts": (
            ("id", bytes),
            ("owner", bytes),
            ("origin", bytes),
            ("version", int),
            ("written_at", int),
            ("expires_at", int),
            ("sealed", bytes),
        ),
        "told_already": (("declaration", bytes), ("fingerprint", bytes), ("at", int)),
    }
)
"""What is covered, literally: another list is another label. What an entry says is in its leaf."""
_KEYS: Final = {
    "submissions": "declaration_id",
    "declarations": "declaration_id",
    "ledger_entries": "leaf",
    "deliveries": "id",
    "objections": "rule",
    "repairs": "delivery",
    "retractions": "declaration",
    "acted_for": "declaration",
    "households": "household",
    "ledger_checkpoints": "root",
    "channels": "id",
    "messages": "id",
    "citizen_sessions": "id",
    "citizen_accounts": "alias",
    "citizen_codes": "locator",
    "citizen_drafts": "id",
    "told_already": "declaration",
}
_HEADS: Final = {table: _LABEL + bytes((len(table),)) + table.encode() for table in COLUMNS}


class RowMacs:
    """Makes MACs and checks them. `secret`: 32 bytes, or what reads them when a MAC is first needed; None where the
    home has none yet: then no row counts.
    """

    def __init__(self, secret: bytes | Callable[[], bytes | None] | None) -> None:
        self._read = secret
        if not callable(secret):
            _ = self._secret

    @cached_property
    def _secret(self) -> bytes | None:
        secret = self._read() if callable(self._read) else self._read
        if secret is not None and len(secret) != SECRET_BYTES:
            raise Corrupt("identity.secret", length=len(secret), expected=SECRET_BYTES)
        return secret

    def of(self, table: str, row: Mapping[Any, Any], nonce: bytes = b"") -> bytes:
        """The MAC of a row. Raises Refused `rows.not-signed`; ValueError for a value of another type."""
        if self._secret is None:
            raise Refused("rows.not-signed")
        told = [_HEADS[table], nonce]
        told += [value_of(kind, row[name]) for name, kind in COLUMNS[table]]
        return nonce + hmac.digest(self._secret, b"".join(told), sha256)

    def asked(self, told: Sequence[str | None]) -> bytes:
        """A digest of what somebody asked for, 32 bytes, by which the same is known again and by nobody guessed.

        Raises Refused `rows.not-signed`.
        """
        if self._secret is None:
            raise Refused("rows.not-signed")
        return hmac.digest(self._secret, _ASKED + json.dumps(list(told)).encode(), sha256)

    def made(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with its MAC. Raises as `of`."""
        return {**row, "mac": self.of(table, row)}

    def holds(self, table: str, row: Mapping[Any, Any]) -> bool:
        """Whether the machine wrote this row, as it is. Says nothing."""
        mac = row["mac"]
        if self._secret is None or not isinstance(mac, bytes) or len(mac) < MAC_BYTES:
            return False
        try:
            return hmac.compare_digest(mac, self.of(table, row, mac[:-MAC_BYTES]))
        except (ValueError, OverflowError):  # of another type: nobody here wrote it
            return False

    def valid(self, table: str, rows: Iterable[Row[Any]]) -> list[Row[Any]]:
        """Those of these rows that count, in their order. Each of the others is an alarm in the log."""
        found = []
        for row in rows:
            if self.holds(table, row._mapping):
                found.append(row)
            else:
                logger().error("rows.unsigned", row=named(table, row))
        return found


def value_of(kind: type, value: Any) -> bytes:
    """One value's bytes. SQLite keeps a text where an integer is declared: the type is part of what is signed.

    Raises ValueError, OverflowError, UnicodeEncodeError for a value of another type.
    """
    if value is None:
        return b"\x00"
    if kind is int and isinstance(value, int):
        return b"\x01" + value.to_bytes(8, "big", signed=True)
    if kind is str and isinstance(value, str):
        return b"\x02" + _long(value.encode())
    if kind is bytes and isinstance(value, bytes):
        return b"\x03" + _long(value)
    raise ValueError("a value of another type")


def _long(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def named(table: str, row: Row[Any]) -> RowName:
    """A row, for a line of the log."""
    key = row._mapping[_KEYS[table]]
    return RowName.of(table, key if isinstance(key, bytes) else b"")


def macs_of(keys: KeyStore) -> RowMacs:
    """Those of a home; its secret is read when it is first needed. Raises then Refused `keys.not-of-role`, Corrupt
    `keys.damaged`.
    """
    return RowMacs(lambda: keys.read(KeyKind.ROWS, NAME) if ready(keys) else None)


def ready(keys: KeyStore) -> bool:
    """Whether the home has its secret: what carries no MAC counts for nothing then."""
    return NAME in keys.names(KeyKind.ROWS)


def check_ready(keys: KeyStore) -> None:
    """Raises Refused `rows.not-signed` for a home of before."""
    if not ready(keys):
        raise Refused("rows.not-signed")


def make_secret(keys: KeyStore, entropy: Entropy) -> None:
    """The secret of a home that holds no row yet that should carry a MAC."""
    if not ready(keys):
        keys.write(KeyKind.ROWS, NAME, entropy(SECRET_BYTES))


async def begin(store: Store, keys: KeyStore, entropy: Entropy) -> None:
    """As `make_secret`, for whoever makes a home. Raises Refused `rows.not-signed` for one from before, whose rows
    `unefois migrate` looks at first.
    """
    if ready(keys):
        return
    async with store.read() as tx:
        for table in (submissions, declarations, ledger_entries):
            if (await tx.execute(select(func.count()).select_from(table))).scalar_one():
                raise Refused("rows.not-signed")
    make_secret(keys, entropy)
