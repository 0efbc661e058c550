"""Export rows: which tables are taken along when an administration leaves, in which form, and what is left, and why.

    LINES        a file of JSON lines for each table
    CONTAINERS   an Avro object container for each table whose rows hold sealed bytes
    ELSEWHERE    tables whose content is in another file of the export
    LEFT         everything else, with the reason

Refuses: to leave a table out in silence: a test holds these lists to the tables that there are.
Keeps: in JSON, identifiers of 16 bytes are UUIDs, other bytes hexadecimal, lists are lists, instants RFC 3339. A
citizen is the number that stands in their consent receipts, never the broker's reference.
Source: Apache Avro 1.12 specification, "Object Container Files"; JSON Lines.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, Table, select

from broker.shapes import Json, time_of, uuid_of
from broker.store import access_tables as access
from broker.store import message_tables as citizens
from broker.store import operator_tables as people
from broker.store import tables as store
from consent.tables import grant_versions
from schemas.names import Instant

Person = Callable[[bytes], str]
"""From the broker's reference to the number in the citizen's receipts."""


@dataclass(frozen=True, slots=True)
class Lines:
    """One table as JSON lines: which columns, and how each is written."""

    table: Table
    columns: Mapping[str, str]
    """By column: `text`, `number`, `uuid`, `hex`, `instant`, `list` or `person`."""

    @property
    def question(self) -> Select[Any]:
        """Its rows, in the order of their key."""
        return select(*(self.table.c[name] for name in self.columns)).order_by(*self.table.primary_key)

    def line(self, row: Row[Any], person: Person) -> Json:
        """One row."""
        return {
            "person" if kind == "person" else name: _FORMS[kind](getattr(row, name), person)
            for name, kind in self.columns.items()
        }


@dataclass(frozen=True, slots=True)
class Container:
    """One table as Avro: its record schema, its rows, and a record of one."""

    schema: Mapping[str, Any]
    question: Select[Any]

    def record(self, row: Row[Any], person: Person) -> dict[str, Any]:
        """One row: bytes are bytes, and instants milliseconds."""
        told: dict[str, Any] = dict(row._mapping)
        return told | {"person": person(told.pop("subject"))}


def _spread(**kinds: str) -> dict[str, str]:
    """`uuid="id grant_id"` and so on, column by column."""
    return {name: kind for kind, names in kinds.items() for name in names.split()}


_FORMS: Final[Mapping[str, Callable[[Any, Person], Any]]] = {
    "text": lambda value, _: value,
    "number": lambda value, _: value,
    "uuid": lambda value, _: uuid_of(value),
    "hex": lambda value, _: None if value is None else bytes(value).hex(),
    "instant": lambda value, _: None if value is None else time_of(Instant(value)),
    "list": lambda value, _: None if value is None else json.loads(value),
    "person": lambda value, person: person(value),
    "other": lambda value, person: person(value),
}

LINES: Final[Mapping[str, Lines]] = {
    "parties": Lines(
        store.parties, _spread(text="id name sector kind address contact retention", instant="created_at")
    ),
    "subscriptions": Lines(
        store.subscriptions,
        _spread(
            uuid="id",
            text="recipient event_type purpose status legal_reference least_assurance least_quality",
            list="fields territories",
            instant="approved_at ended_at",
        ),
    ),
    "rules": Lines(
        store.rules,
        _spread(
            uuid="id",
            text="recipient event_type purpose article status least_assurance least_quality",
            number="objection",
            list="fields territories",
            instant="asked_at begins_at ends_at approved_at acts_from narrowed_at ended_at",
        ),
    ),
    "purposes": Lines(
        store.purposes,
        _spread(
            text="id label_fr label_en sentence_fr sentence_en legal_fr legal_en retention_fr retention_en contact",
            number="version",
            list="families",
            instant="asked_at approved_at",
        ),
    ),
    "links": Lines(
        store.reference_links,
        _spread(
            uuid="id",
            other="alias",
            person="kept",
            text="ground evidence asked_by ended_by",
            instant="asked_at confirmed_at acts_from ended_at",
        ),
    ),
    "objections": Lines(
        store.objections,
        _spread(person="subject", uuid="rule", text="reason given_by", instant="objected_at withdrawn_at"),
    ),
    "repairs": Lines(
        store.repairs,
        _spread(uuid="delivery reference grant_id", number="number", text="reason", instant="asked_at tried_at"),
    ),
    "retractions": Lines(
        store.retractions,
        _spread(uuid="declaration notice", person="subject", text="kind given_by", instant="retracted_at lifted_at"),
    ),
    "representations": Lines(
        store.representations,
        _spread(
            uuid="id",
            person="subject representative",
            text="measure proof given_by",
            list="event_types purposes",
            instant="begins_at ends_at recorded_at ended_at",
        ),
    ),
    "acted-for": Lines(
        store.acted_for,
        _spread(
            uuid="declaration representation", person="subject representative", text="capacity known", instant="at"
        ),
    ),
    "households": Lines(
        store.households,
        _spread(
            uuid="household declaration",
            number="number",
            person="subject",
            text="source event_type",
            instant="opened_at expires_at decided_at",
        ),
    ),
    "channels": Lines(
        citizens.channels, _spread(uuid="id", person="subject", text="kind language", instant="held_since ended_at")
    ),
    "consents": Lines(
        grant_versions,
        _spread(
            uuid="id once_for rule",
            number="version",
            person="subject",
            text="recipient event_type purpose basis scope status given_by capacity channel language",
            hex="schema text_hash",
            list="fields",
            instant="granted_at starts_at expires_at changed_at",
        ),
    ),
    "submissions": Lines(
        store.submissions,
        _spread(
            uuid="declaration_id",
            text="source event_type",
            person="subject",
            hex="envelope_digest receipt",
            instant="received_at",
        ),
    ),
    "withholdings": Lines(
        store.withholdings,
        _spread(number="declaration", uuid="subscription", text="recipient purpose reason", instant="at"),
    ),
    "dead-letters": Lines(
        store.dead_letters,
        _spread(
            number="id partition offset attempts",
            text="stage topic reason code",
            hex="record",
            uuid="delivery",
            instant="at replayed_at",
        ),
    ),
    "webhooks": Lines(access.webhooks, _spread(uuid="id", text="party url status", instant="created_at changed_at")),
    "client-keys": Lines(
        access.client_keys, _spread(hex="kid", text="party jwk scopes", instant="added_at revoked_at")
    ),
    "client-key-sets": Lines(access.client_key_sets, _spread(text="party url scopes", instant="added_at revoked_at")),
    "topic-users": Lines(
        access.topic_users, _spread(text="party principal", number="receives declares", instant="since ended_at")
    ),
    "operators": Lines(
        people.operators,
        _spread(text="id roles issuer subject", hex="public", number="version", instant="added_at changed_at ended_at"),
    ),
    "acts": Lines(people.operator_acts, _spread(hex="leaf signature", text="act", instant="at")),
    "directory-notes": Lines(store.directory_notes, _spread(number="version", hex="digest", text="note", instant="at")),
    "gate-epochs": Lines(store.gate_epochs, _spread(hex="kid", instant="opened_at closed_at destroyed_at")),
    "first-ledger": Lines(store.first_ledger, _spread(number="position", hex="entry")),
    "consent-epochs": Lines(store.consent_epochs, _spread(number="epoch", instant="opened_at destroyed_at")),
}
"""By the name of the file, without its end."""

_ID: Final = {"type": "fixed", "name": "Id", "size": 16}
_HASH: Final = {"type": "fixed", "name": "Hash", "size": 32}
_INSTANT: Final = {"type": "long", "logicalType": "timestamp-millis"}


def _maybe(kind: Any) -> list[Any]:
    return ["null", kind]


def _record(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": f"fr.unefois.export.{name}",
        "fields": [{"name": field, "type": kind} for field, kind in fields.items()],
    }


_DECLARATION: Final = store.declarations.c
_DELIVERY: Final = store.deliveries.c
CONTAINERS: Final[Mapping[str, Container]] = {
    "declarations": Container(
        _record(
            "Declaration",
            seq="long",
            declaration_id=_ID,
            source="string",
            event_type="string",
            schema_id=_HASH,
            manifest_digest="Hash",
            person="string",
            corrects=_maybe("Id"),
            gate_kid="Hash",
            received_at=_INSTANT,
            routed_at=_INSTANT,
            envelope="bytes",
        ),
        select(
            _DECLARATION.seq,
            _DECLARATION.declaration_id,
            _DECLARATION.source,
            _DECLARATION.event_type,
            _DECLARATION.schema_id,
            _DECLARATION.manifest_digest,
            _DECLARATION.subject,
            _DECLARATION.corrects,
            _DECLARATION.gate_kid,
            _DECLARATION.received_at,
            _DECLARATION.routed_at,
            _DECLARATION.envelope,
        ).order_by(_DECLARATION.seq),
    ),
    "deliveries": Container(
        _record(
            "Delivery",
            seq="long",
            id=_ID,
            declaration="long",
            recipient="string",
            person="string",
            subscription="Id",
            purpose="string",
            grant_id="Id",
            grant_version="int",
            fields="bytes",
            state="string",
            attempts="int",
            planned_at=_INSTANT,
            handed_at=_maybe(_INSTANT),
            released_at=_maybe(_INSTANT),
            done_at=_maybe(_INSTANT),
            reason=_maybe("string"),
            code=_maybe("string"),
            until=_maybe("string"),
            taken=_maybe("bytes"),
            locked="bytes",
        ),
        select(
            _DELIVERY.seq,
            _DELIVERY.id,
            _DELIVERY.declaration,
            _DELIVERY.recipient,
            _DELIVERY.subject,
            _DELIVERY.subscription,
            _DELIVERY.purpose,
            _DELIVERY.grant_id,
            _DELIVERY.grant_version,
            _DELIVERY.fields,
            _DELIVERY.state,
            _DELIVERY.attempts,
            _DELIVERY.planned_at,
            _DELIVERY.handed_at,
            _DELIVERY.released_at,
            _DELIVERY.done_at,
            _DELIVERY.reason,
            _DELIVERY.code,
            _DELIVERY.until,
            _DELIVERY.taken,
            _DELIVERY.locked,
        ).order_by(_DELIVERY.seq),
    ),
}
"""By the name of the file, without its end. `declaration` is the declaration's `seq`."""

ELSEWHERE: Final[Mapping[str, str]] = {
    "grants": "consents.jsonl: its newest version",
    "signing_keys": "directory.json",
    "sealing_keys": "directory.json",
    "publishing_rights": "directory.json",
    "signature_policies": "directory.json",
    "ledger_entries": "ledger/, and facts.jsonl where it waits for its place",
    "ledger_tiles": "ledger/",
    "ledger_checkpoints": "ledger/checkpoint: the newest",
    "ledger_openings": "facts.jsonl, opened",
    "ledger_erased": "facts.jsonl: a line without facts",
    "ledger_erasures": "facts.jsonl: the entry that tells of it",
}
LEFT: Final[Mapping[str, str]] = {
    "every private key and secret of the key store": "whoever had them could sign, open and recognise",
    "consent_keys": "wrapped keys: they die with their consents",
    "the journal of endings": "what it says of consents is in consents.jsonl; the rest is this machine's own",
    "what citizens declared, in clear": "the broker cannot read it: envelopes and deliveries are sealed",
    "the broker's reference of each citizen": "made with a secret; the number in their receipts stands for it",
    "log_record": "what was accepted is in declarations.avro once it is routed; the manifest counts what waits",
    "api_tokens": "secrets' digests, good at this broker alone",
    "kept_answers": "answers of the last day, to be given again",
    "paused_subscriptions": "a state of the moment",
    "approval_requests": "what was asked for and approved stands in acts.jsonl once it was done",
    "webhook_attempts": "a protocol of calls",
    "webhook_notices": "letters that are to be sent",
    "expiry_notices": "letters that are to be sent",
    "messages": "what citizens were told, at addresses that stay here",
    "where each citizen is told": "in channels.jsonl stands that there is an address, not which: citizens give it anew",
    "citizen_sessions": "citizens sign in anew, at whoever comes after",
    "citizen_accounts": "identifiers of a provider for this broker's clients alone",
    "citizen_codes": "codes that are good at this broker alone",
    "credential_uses": "from where credentials were used that are good at this broker alone",
    "cosignatures": "the witnesses' own; those of the newest checkpoint are in ledger/checkpoint",
    "tallies": "counts of the last hour",
    "citizen_drafts": "what people have begun to type: sealed for this broker, and over in 72 hours",
    "told_already": "keyed digests, made with a secret that stays here",
    "consumed": "this machine's own place in its log",
    "meta": "this machine's own state",
}
"""What is not in an export, and why."""
