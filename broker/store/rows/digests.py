"""Digests: what a ledger entry's `detail` says of a row: SHA-256 of these columns, under this version of the list.

    version 1   the JSON object of the columns, keys sorted, without spaces; bytes as hexadecimal
    version 2   the same, behind "unefois/row-digest/v2" 0x00

Refuses: a version that nobody wrote down here.
Keeps: a digest that stands in the ledger is found again for ever, whatever columns its table gets: the lists are
literal, and pinned by `tests/unit/broker/rows/test_digests.py`. Another list is another version, with a label of its
own in what is hashed. A digest covers what was decided, `layouts` all that counts: a token's digest has no revocation.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

COLUMNS: Final[Mapping[tuple[str, int], tuple[str, ...]]] = MappingProxyType(
    {
        ("parties", 1): ("address", "contact", "created_at", "id", "kind", "name", "retention", "sector"),
        ("publishing_rights", 1): ("event_type", "party", "valid_from", "valid_to"),
        ("signature_policies", 1): ("party", "policy", "valid_from"),
        ("subscriptions", 1): (
            "approved_at",
            "ended_at",
            "event_type",
            "fields",
            "id",
            "legal_reference",
            "purpose",
            "recipient",
            "status",
            "territories",
        ),
        ("subscriptions", 2): (
            "approved_at",
            "ended_at",
            "event_type",
            "fields",
            "id",
            "least_assurance",
            "least_quality",
            "legal_reference",
            "purpose",
            "recipient",
            "status",
            "territories",
        ),
        ("rules", 1): (
            "acts_from",
            "approved_at",
            "article",
            "asked_at",
            "begins_at",
            "ended_at",
            "ends_at",
            "event_type",
            "fields",
            "id",
            "objection",
            "purpose",
            "recipient",
            "status",
        ),
        ("representations", 1): (
            "begins_at",
            "ended_at",
            "ends_at",
            "event_types",
            "given_by",
            "id",
            "measure",
            "proof",
            "purposes",
            "recorded_at",
            "representative",
            "subject",
        ),
        ("acted_for", 1): ("at", "capacity", "declaration", "known", "representation", "representative", "subject"),
        ("rules", 2): (
            "acts_from",
            "approved_at",
            "article",
            "asked_at",
            "begins_at",
            "ended_at",
            "ends_at",
            "event_type",
            "fields",
            "id",
            "least_assurance",
            "least_quality",
            "narrowed_at",
            "objection",
            "purpose",
            "recipient",
            "status",
            "territories",
        ),
        ("purposes", 1): (
            "approved_at",
            "asked_at",
            "contact",
            "families",
            "id",
            "label_en",
            "label_fr",
            "legal_en",
            "legal_fr",
            "retention_en",
            "retention_fr",
            "sentence_en",
            "sentence_fr",
            "version",
        ),
        ("reference_links", 1): (
            "acts_from",
            "alias",
            "asked_at",
            "asked_by",
            "confirmed_at",
            "ended_at",
            "ended_by",
            "evidence",
            "ground",
            "id",
            "kept",
        ),
        ("channels", 1): ("ended_at", "held_since", "id", "kind", "language", "sealed", "subject"),
        ("objections", 1): ("given_by", "objected_at", "reason", "rule", "subject", "withdrawn_at"),
        ("retractions", 1): ("declaration", "given_by", "kind", "lifted_at", "notice", "retracted_at", "subject"),
        ("api_tokens", 1): ("digest", "expires_at", "id", "issued_at", "party", "scopes"),
        ("client_keys", 1): ("added_at", "jwk", "kid", "party", "scopes"),
        ("client_key_sets", 1): ("added_at", "party", "scopes", "url"),
        ("operators", 1): (
            "added_at",
            "changed_at",
            "id",
            "issuer",
            "public",
            "roles",
            "subject",
            "version",
        ),
        ("topic_users", 1): ("declares", "party", "principal", "receives", "since"),
        ("webhooks", 1): ("created_at", "id", "party", "symmetric", "url"),
    }
)
"""The columns by table and version."""


def version_of(table: str, row: Mapping[Any, Any]) -> int:
    """The version of a row's digest: 2 where a column is told that only the second list has."""
    added = set(COLUMNS.get((table, 2), ())) - set(COLUMNS[table, 1])
    return 2 if any(row.get(name) is not None for name in added) else 1


def row_digest(table: str, row: Mapping[Any, Any], version: int | None = None) -> bytes:
    """SHA-256 of a row, 32 bytes: what its ledger entry commits to, and what `fsck` compares. Without a version: the
    row's own.
    """
    return sha256(row_text(table, row, version).encode()).digest()


def row_text(table: str, row: Mapping[Any, Any], version: int | None = None) -> str:
    """What a digest is of: a label, from the second version on, and the JSON of the columns."""
    version = version_of(table, row) if version is None else version
    kept = {name: row[name] for name in COLUMNS[table, version]}
    written = {name: bytes(told).hex() if isinstance(told, bytes) else told for name, told in kept.items()}
    label = "" if version == 1 else f"unefois/row-digest/v{version}\x00"
    return label + json.dumps(written, sort_keys=True, separators=(",", ":"))
