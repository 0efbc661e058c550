"""Person schema: the JSON Schema of an export, made from the lists that the export itself is made from.

Refuses: nothing. A test holds `schemas/person-export.v1.schema.json` to it: who adds a column to an export changes its
version.
Keeps: closed objects: a name that is not here is in no export.
Source: JSON Schema 2020-12.
"""

from typing import Any, Final

from broker.services.person_export import FORMAT, VIEWS
from broker.services.person_rows import HELD

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_LABEL: Final = {
    "type": "object",
    "properties": {"fr": _TEXT, "en": _TEXT},
    "required": ["fr", "en"],
    "additionalProperties": False,
}
_FORMS: Final[dict[str, Any]] = {
    "text": _TEXT,
    "number": {"type": "integer"},
    "uuid": {"type": "string", "format": "uuid"},
    "hex": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    "instant": {"type": "string", "format": "date-time"},
    "list": _TEXTS,
    "held": {"type": "boolean"},
    "label": {"$ref": "#/$defs/label"},
}
_ENTRY: Final = {
    "kind": "text",
    "at": "instant",
    "actor": "text",
    "recipient": "text",
    "event_type": "text",
    "event_label": "label",
    "purpose": "text",
    "purpose_label": "label",
    "basis": "text",
    "grant": "uuid",
    "grant_version": "number",
    "delivery": "uuid",
    "declaration": "uuid",
    "manifest": "hex",
    "reason": "text",
    "entry": "hex",
}
_ALWAYS: Final = frozenset({"kind", "at", "actor", "entry"})
_RULE: Final = {
    "id": "uuid",
    "recipient": "text",
    "event_type": "text",
    "purpose": "text",
    "fields": "list",
    "article": "text",
    "objection": "held",
    "status": "text",
    "asked_at": "instant",
    "begins_at": "instant",
    "ends_at": "instant",
    "approved_at": "instant",
    "acts_from": "instant",
    "ended_at": "instant",
}


def schema() -> dict[str, Any]:
    """The whole of it."""
    entries = {"type": "array", "items": {"$ref": "#/$defs/entry"}}
    parts: dict[str, Any] = {
        "format": {"const": FORMAT},
        "person": _closed({"held": {"type": "boolean"}}),
        "at": _FORMS["instant"],
        "broker": _TEXT,
        "entry": _FORMS["hex"],
        **dict.fromkeys(VIEWS, entries),
        "handed_over": {"type": "array", "items": _entry(outcome="text", outcome_at="instant", outcome_reason="text")},
        "closed_entries": {"type": "integer", "minimum": 0},
        "entries": entries,
        "held": _closed({name: {"type": "array", "items": _row(name)} for name in HELD}),
        "drafts": {
            "type": "array",
            "items": _closed(
                {
                    "form": _maybe("text"),
                    "content": {"type": ["object", "null"]},
                    "written_at": _FORMS["instant"],
                    "expires_at": _FORMS["instant"],
                }
            ),
        },
        "kept": {
            "type": "array",
            "items": _closed(
                {"what": _TEXT, "count": {"type": "integer"}, "why": _FORMS["label"], "until": _FORMS["label"]}
            ),
        },
        "rules": {"type": "array", "items": _closed({name: _maybe(form) for name, form in _RULE.items()})},
        "parties": {
            "type": "object",
            "additionalProperties": _closed(
                {part: _maybe("text") for part in ("name", "address", "contact", "retention")}
            ),
        },
        "left_out": {
            "type": "array",
            "items": _closed({"table": _TEXT, "column": _maybe("text"), "why": _FORMS["label"]}),
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:unefois:schema:person-export:1",
        "title": "Everything that a broker of Unefois holds about one person",
        **_closed(parts),
        "$defs": {"label": _LABEL, "entry": _entry()},
    }


def _closed(parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}


def _maybe(form: str) -> dict[str, Any]:
    return {"anyOf": [_FORMS[form], {"type": "null"}]}


def _entry(**more: str) -> dict[str, Any]:
    forms = {**_ENTRY, **more}
    told = {name: _FORMS[form] if name in _ALWAYS else _maybe(form) for name, form in forms.items()}
    labels = {"type": "object", "additionalProperties": _FORMS["label"]}
    return _closed({**told, "fields": _TEXTS, "field_labels": labels})


def _row(name: str) -> dict[str, Any]:
    section = HELD[name]
    told = {
        column: _maybe(form) if section.table.c[column].nullable else _FORMS[form]
        for column, form in section.columns.items()
    }
    return _closed(told | ({"address": _maybe("text")} if name == "channels" else {}))
