"""Person rows: which tables hold something about one person, which columns an export shows, what it leaves out, why.

    HELD       a section of the export for each table whose rows are about a person
    WITHOUT    columns of these tables that are not shown
    ELSEWHERE  tables whose content is in another section
    NOT_ABOUT  tables that hold nothing about a person, or nothing that an export could show

Refuses: to leave a table or a column out in silence: a test holds these lists to the tables that there are.
Keeps: identifiers of 16 bytes are UUIDs, other bytes hexadecimal, lists are lists, instants RFC 3339. The broker's own
reference of the person is in no row: who has it could ask other tables for it.
Source: Regulation (EU) 2016/679 (GDPR), article 15; docs/adr/0054-a-persons-rights.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Table, func, select

from broker.shapes import Json, time_of, uuid_of
from broker.store.citizen_tables import citizen_accounts, citizen_codes, citizen_sessions, told_already
from broker.store.message_tables import channels, messages
from broker.store.tables import (
    acted_for,
    dead_letters,
    declarations,
    deliveries,
    households,
    objections,
    reference_links,
    repairs,
    representations,
    retractions,
    submissions,
    withholdings,
)
from consent.tables import grant_versions, grants
from schemas.names import Instant, SubjectRef

Why = tuple[str, str]
"""A reason in French and English."""

FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "text": lambda value: value,
    "number": lambda value: value,
    "uuid": uuid_of,
    "hex": lambda value: None if value is None else bytes(value).hex(),
    "instant": lambda value: None if value is None else time_of(Instant(value)),
    "list": lambda value: None if value is None else json.loads(value),
    "held": lambda value: len(value) > 0,
}
"""How a column is written. `held`: only whether the sealed bytes are still there."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table: which columns are shown, and in which form (FORMS); whose rows."""

    table: Table
    columns: Mapping[str, str]
    whose: Callable[[SubjectRef], ColumnElement[bool]]

    def question(self, subject: SubjectRef) -> Select[Any]:
        """The person's rows, in the order of their key."""
        return select(self.table).where(self.whose(subject)).order_by(*self.table.primary_key)

    def counted(self, subject: SubjectRef) -> Select[Any]:
        """How many they are."""
        return select(func.count()).select_from(self.table).where(self.whose(subject))

    def shown(self, row: Row[Any]) -> Json:
        """One row."""
        return {name: FORMS[form](row._mapping[name]) for name, form in self.columns.items()}


def _spread(**forms: str) -> dict[str, str]:
    """`uuid="id grant_id"` and so on, column by column."""
    return {name: form for form, names in forms.items() for name in names.split()}


def _declared(subject: SubjectRef) -> Any:
    return select(declarations.c.seq).where(declarations.c.subject == subject)


def _delivered(subject: SubjectRef) -> Any:
    """By their declarations: of those there is an index by person."""
    return select(deliveries.c.id).where(deliveries.c.declaration.in_(_declared(subject)))


def _handed_in(subject: SubjectRef) -> Any:
    return select(submissions.c.declaration_id).where(submissions.c.subject == subject)


def _given(subject: SubjectRef) -> Any:
    return select(grants.c.id).where(grants.c.subject == subject)


def _channels(subject: SubjectRef) -> Any:
    return select(channels.c.id).where(channels.c.subject == subject)


HELD: Final[Mapping[str, Section]] = {
    "consents": Section(
        grant_versions,
        _spread(
            uuid="id once_for rule",
            number="version",
            text="recipient event_type purpose basis scope status given_by capacity channel language",
            hex="schema text_hash",
            list="fields",
            instant="granted_at starts_at expires_at changed_at",
        ),
        lambda subject: grant_versions.c.id.in_(_given(subject)),
    ),
    "objections": Section(
        objections,
        _spread(uuid="rule", text="reason given_by", instant="objected_at withdrawn_at"),
        lambda subject: objections.c.subject == subject,
    ),
    "submissions": Section(
        submissions,
        _spread(uuid="declaration_id", text="source event_type", hex="envelope_digest receipt", instant="received_at"),
        lambda subject: submissions.c.subject == subject,
    ),
    "declarations": Section(
        declarations,
        _spread(
            number="seq",
            uuid="declaration_id corrects root",
            text="source event_type",
            hex="schema_id manifest_digest gate_kid trace",
            held="envelope",
            instant="received_at routed_at",
        ),
        lambda subject: declarations.c.subject == subject,
    ),
    "deliveries": Section(
        deliveries,
        _spread(
            number="seq declaration grant_version attempts",
            uuid="id subscription grant_id",
            text="recipient purpose state reason code until",
            hex="tag fields taken",
            held="locked",
            instant="available_at held_until lease_until planned_at handed_at released_at done_at",
        ),
        lambda subject: deliveries.c.declaration.in_(_declared(subject)),
    ),
    "withholdings": Section(
        withholdings,
        _spread(number="declaration", uuid="subscription", text="recipient purpose reason", instant="at"),
        lambda subject: withholdings.c.declaration.in_(_declared(subject)),
    ),
    "repairs": Section(
        repairs,
        _spread(uuid="delivery reference grant_id", number="number", text="reason", instant="asked_at tried_at"),
        lambda subject: repairs.c.delivery.in_(_delivered(subject)),
    ),
    "retractions": Section(
        retractions,
        _spread(uuid="declaration notice", text="kind given_by", instant="retracted_at lifted_at"),
        lambda subject: retractions.c.subject == subject,
    ),
    "dead_letters": Section(
        dead_letters,
        _spread(
            number="id partition offset attempts",
            uuid="delivery",
            text="stage topic reason code",
            instant="at replayed_at",
        ),
        lambda subject: dead_letters.c.delivery.in_(_delivered(subject)),
    ),
    "representations": Section(
        representations,
        _spread(
            uuid="id",
            text="measure proof given_by",
            list="event_types purposes",
            instant="begins_at ends_at recorded_at ended_at",
        ),
        lambda subject: (representations.c.subject == subject) | (representations.c.representative == subject),
    ),
    "acted_for": Section(
        acted_for,
        _spread(uuid="declaration representation", text="capacity known", instant="at"),
        lambda subject: (acted_for.c.subject == subject) | (acted_for.c.representative == subject),
    ),
    "names": Section(
        reference_links,
        _spread(
            uuid="id",
            text="ground evidence asked_by ended_by",
            instant="asked_at confirmed_at acts_from ended_at",
        ),
        lambda subject: (reference_links.c.alias == subject) | (reference_links.c.kept == subject),
    ),
    "households": Section(
        households,
        _spread(
            uuid="declaration", number="number", text="source event_type", instant="opened_at expires_at decided_at"
        ),
        lambda subject: households.c.subject == subject,
    ),
    "channels": Section(
        channels,
        _spread(uuid="id", text="kind language", instant="held_since ended_at"),
        lambda subject: channels.c.subject == subject,
    ),
    "messages": Section(
        messages,
        _spread(
            uuid="id channel declaration",
            text="news code",
            number="attempts",
            instant="at next_at sent_at",
        ),
        lambda subject: messages.c.channel.in_(_channels(subject)),
    ),
    "sessions": Section(
        citizen_sessions,
        _spread(
            uuid="id",
            text="way assurance language portal",
            number="helped",
            instant="opened_at seen_at expires_at",
        ),
        lambda subject: citizen_sessions.c.subject == subject,
    ),
    "accounts": Section(
        citizen_accounts, _spread(instant="known_at"), lambda subject: citizen_accounts.c.subject == subject
    ),
    "codes": Section(
        citizen_codes, _spread(instant="made_at expires_at"), lambda subject: citizen_codes.c.subject == subject
    ),
    "told_already": Section(
        told_already,
        _spread(uuid="declaration", instant="at"),
        lambda subject: told_already.c.declaration.in_(_handed_in(subject)),
    ),
}
"""By the name of the section."""

_REFERENCE: Final[Why] = (
    "le pseudonyme interne de la personne : il servirait à la retrouver dans d'autres tables",
    "the broker's own reference of the person: it would serve to find them in other tables",
)
_MAC: Final[Why] = (
    "un code de contrôle de la machine, qui ne dit rien de la personne",
    "the machine's checksum of the row, which says nothing about the person",
)
_BLIND: Final[Why] = (
    "un nombre au hasard du registre, qui ne dit rien de la personne",
    "a random number of the ledger, which says nothing about the person",
)
_OTHER: Final[Why] = (
    "le pseudonyme interne de l'autre personne : c'est sa donnée",
    "the broker's own reference of the other person: it is theirs",
)
_TOGETHER: Final[Why] = (
    "un nombre au hasard qui dirait qui a déclaré avec qui",
    "a random number that would tell who declared with whom",
)
_SEALED_LETTER: Final[Why] = (
    "les octets scellés d'une déclaration, que le courtier ne peut pas lire",
    "the sealed bytes of a declaration, which the broker cannot read",
)
_FINGERPRINT: Final[Why] = (
    "une empreinte faite avec un secret, qui ne contient rien de ce qui a été déclaré",
    "a digest made with a secret, which holds nothing of what was declared",
)
_SEALED_CHANNEL: Final[Why] = (
    "l'adresse chiffrée ; en clair elle est dans `address`",
    "the address, encrypted; in clear it is in `address`",
)
_SECRET: Final[Why] = (
    "de quoi reconnaître un secret que la personne seule détient, sans le dire",
    "what recognises a secret that the person alone has, and does not tell it",
)
_SEALED_FACTS: Final[Why] = (
    "l'identité de la personne, chiffrée : seule sa session, ou son code, l'ouvre",
    "the person's identity, encrypted: their session, or their code, alone opens it",
)

WITHOUT: Final[Mapping[str, Mapping[str, Why]]] = {
    "consents": {"subject": _REFERENCE},
    "objections": {"subject": _REFERENCE, "mac": _MAC},
    "submissions": {"subject": _REFERENCE, "mac": _MAC},
    "declarations": {"subject": _REFERENCE, "mac": _MAC},
    "deliveries": {"subject": _REFERENCE, "mac": _MAC, "plan_blind": _BLIND},
    "withholdings": {},
    "repairs": {"mac": _MAC},
    "retractions": {"subject": _REFERENCE, "mac": _MAC},
    "dead_letters": {"record": _SEALED_LETTER},
    "representations": {"subject": _REFERENCE, "representative": _OTHER, "seal": _MAC, "row_version": _MAC},
    "names": {"alias": _REFERENCE, "kept": _REFERENCE, "seal": _MAC, "row_version": _MAC},
    "acted_for": {"subject": _REFERENCE, "representative": _OTHER, "mac": _MAC},
    "households": {"subject": _REFERENCE, "household": _TOGETHER, "mac": _MAC},
    "channels": {"subject": _REFERENCE, "mac": _MAC, "sealed": _SEALED_CHANNEL},
    "messages": {"mac": _MAC},
    "sessions": {
        "subject": _REFERENCE,
        "digest": _SECRET,
        "credential": _SECRET,
        "sealed": _SEALED_FACTS,
        "mac": _MAC,
    },
    "accounts": {"subject": _REFERENCE, "alias": _REFERENCE, "mac": _MAC},
    "codes": {"subject": _REFERENCE, "locator": _SECRET, "salt": _SECRET, "sealed": _SEALED_FACTS, "mac": _MAC},
    "told_already": {"fingerprint": _FINGERPRINT, "mac": _MAC},
}
"""By section and column."""

ELSEWHERE: Final[Mapping[str, str]] = {
    "grants": "consents",
    "ledger_openings": "entries",
    "citizen_drafts": "drafts",
    "rules": "rules",
    "parties": "parties",
}
"""Tables whose rows about the person are in another section."""

_NOBODY: Final[Why] = ("rien sur un usager", "nothing about a citizen")
_COMMITMENT: Final[Why] = (
    "des empreintes que seul l'ouvrant d'une entrée rattache à une personne ; ce qui s'ouvre est dans `entries`",
    "digests that only an entry's opening ties to a person; what opens is in `entries`",
)
_SOON: Final[Why] = (
    "des copies scellées d'envois, gardées peu de temps et rangées par envoi, pas par personne",
    "sealed copies of what was sent in, kept for a short time, by sending and not by person",
)
_STAFF: Final[Why] = (
    "ce que les agents du courtier ont fait : leurs noms sont leurs données ; qui a consulté est dans `looks`",
    "what the broker's own people did: their names are their own data; the looks at your file are in `looks`",
)
_WRAPPED: Final[Why] = (
    "des clés chiffrées, détruites avec le consentement ; elles ne disent rien de la personne",
    "wrapped keys, destroyed with the consent; they say nothing about the person",
)
NOT_ABOUT: Final[Mapping[str, Why]] = {
    **dict.fromkeys(
        (
            *("meta", "signing_keys", "sealing_keys", "directory_notes", "publishing_rights", "signature_policies"),
            *("subscriptions", "paused_subscriptions", "gate_epochs", "consent_epochs", "consumed"),
            *("api_tokens", "credential_uses", "topic_users", "client_keys", "client_key_sets"),
            *("webhooks", "webhook_attempts", "webhook_notices", "expiry_notices", "ledger_checkpoints"),
            *("cosignatures", "operators", "purposes", "tallies"),
        ),
        _NOBODY,
    ),
    **dict.fromkeys(
        ("ledger_entries", "ledger_tiles", "ledger_erased", "ledger_erasures", "first_ledger"), _COMMITMENT
    ),
    **dict.fromkeys(("log_record", "kept_answers"), _SOON),
    **dict.fromkeys(("operator_acts", "approval_requests"), _STAFF),
    "consent_keys": _WRAPPED,
}
"""Every other table, and why nothing of it is in an export."""


JOURNAL: Final[tuple[str, Why]] = (
    "journal of endings",
    (
        "ce qui a pris fin, que `held` montre aussi ; et si une personne est protégée, ce que ni ce document ni aucun "
        "autre ne dit, de personne : qui le lirait chez elle le saurait. Elle le demande, seule, au délégué à la "
        "protection des données",
        "what has ended, which `held` shows, too; and whether a person is protected, which neither this document nor "
        "any other says, of anybody: who reads it in their home would know. They ask the data-protection officer, "
        "alone",
    ),
)
"""What lies in no table. Everybody's export says the same of it (decision 53)."""


def left_out() -> list[Json]:
    """What is not in an export, and why, in both languages; tables first, and what lies in none."""
    tables = [(table, None, why) for table, why in (*sorted(NOT_ABOUT.items()), JOURNAL)]
    columns = [(HELD[name].table.name, column, why) for name, told in WITHOUT.items() for column, why in told.items()]
    return [
        {"table": table, "column": column, "why": {"fr": why[0], "en": why[1]}}
        for table, column, why in tables + columns
    ]
