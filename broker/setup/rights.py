"""Rights: what the database login of each role may do on PostgreSQL, and the SQL that makes such logins.

Every process of one role has a login of its own. It reads what is not closed to its role, and writes the tables that
its part writes, with the verbs that it uses. `unefois init`, `migrate` and the other commands use the owner's login.

Refuses: to make a password; the operator gives each login one.
Keeps: this is the one list; a test starts each role with these rights and nothing else, and another one looks whether
what a role does is in it. Run again after an upgrade, the SQL gives each login exactly what this version needs.
"""

from collections.abc import Mapping
from typing import Final

from broker.setup.roles import ProcessRole
from broker.store.access_tables import webhooks
from broker.store.operator_tables import operators
from broker.store.tables import meta

VERBS: Final[Mapping[str, str]] = {"r": "SELECT", "a": "INSERT", "c": "UPDATE", "d": "DELETE"}
"""A letter for each verb: read, add, change, delete."""

VERSION: Final = "alembic_version"
"""The table that says of which version the tables are: every process looks at it, none writes it."""

ROLES: Final = tuple(role for role in ProcessRole if role is not ProcessRole.ALL)

_CLOSED: Final[Mapping[str, frozenset[ProcessRole]]] = {
    # to all but these
    "consent_keys": frozenset(
        {ProcessRole.ROUTER, ProcessRole.UPKEEP, ProcessRole.GATE, ProcessRole.CONNECTORS, ProcessRole.CONSENTS}
    ),
    "grants": frozenset(
        {
            ProcessRole.ROUTER,
            ProcessRole.UPKEEP,
            ProcessRole.GATE,
            ProcessRole.CONNECTORS,
            ProcessRole.API,
            ProcessRole.PORTAL,
            ProcessRole.CONSENTS,
        }
    ),
    "objections": frozenset(
        {ProcessRole.ROUTER, ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.PORTAL, ProcessRole.CONSENTS}
    ),
    "retractions": frozenset(
        {
            ProcessRole.ROUTER,
            ProcessRole.UPKEEP,
            ProcessRole.API,
            ProcessRole.INTAKE,
            ProcessRole.PORTAL,
            ProcessRole.CONSENTS,
        }
    ),
    "representations": frozenset(
        {ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.INTAKE, ProcessRole.PORTAL, ProcessRole.CONSENTS}
    ),
    "acted_for": frozenset({ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.INTAKE, ProcessRole.PORTAL}),
    "households": frozenset({ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.PORTAL}),
    "citizen_sessions": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL}),
    "citizen_accounts": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL}),
    "citizen_codes": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL}),
    "reference_links": frozenset(
        {
            ProcessRole.ROUTER,
            ProcessRole.UPKEEP,
            ProcessRole.API,
            ProcessRole.INTAKE,
            ProcessRole.NOTIFY,
            ProcessRole.PORTAL,
            ProcessRole.CONSENTS,
        }
    ),
    "grant_versions": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL, ProcessRole.CONSENTS}),
    "channels": frozenset({ProcessRole.UPKEEP, ProcessRole.NOTIFY, ProcessRole.PORTAL}),
    "kept_answers": frozenset({ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.PORTAL, ProcessRole.CONSENTS}),
    "client_keys": frozenset({ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.GATE, ProcessRole.PORTAL}),
    "client_key_sets": frozenset({ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.GATE, ProcessRole.PORTAL}),
    "credential_uses": frozenset({ProcessRole.UPKEEP, ProcessRole.API, ProcessRole.GATE, ProcessRole.PORTAL}),
    "citizen_drafts": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL}),
    "tallies": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL}),
    "told_already": frozenset({ProcessRole.UPKEEP, ProcessRole.PORTAL}),
    "approval_requests": frozenset({ProcessRole.UPKEEP}),
    "operators": frozenset({ProcessRole.UPKEEP}),
    "operator_acts": frozenset({ProcessRole.UPKEEP}),
    "declarations": frozenset(set(ROLES) - {ProcessRole.LEDGER}),
}
"""Tables that only these roles read. Every role answers `/metrics`, and counts there what is in most others."""

_EVERYBODY: Final = {"meta": "a"}
"""Whoever begins first remembers which cluster the log is on."""
_RECORDS: Final = {"ledger_entries": "a", "ledger_openings": "a"}
"""Facts for the ledger. Only `ledger` gives them their place, and signs."""
_ENDS_DELIVERIES: Final = {"deliveries": "c", "dead_letters": "ac", "withholdings": "acd"}
_SIGNS_CITIZENS_IN: Final = {"citizen_sessions": "acd", "citizen_accounts": "ad", "citizen_codes": "d"}
"""Only a command of the operator's makes codes."""
_ACTED_FOR: Final = {"acted_for": "a"}
"""Whoever takes a declaration in says who made it for another."""
_TAKES_BACK: Final = {"retractions": "ac"}
"""Whoever takes a retraction in withholds what it takes back, in the same transaction."""

_LETS_IN: Final = {"credential_uses": "acd"}
"""When and from where a credential was used."""
_MAILS: Final = {"expiry_notices": "acd"}
_TELLS: Final = {"messages": "ac", "meta": "ac"}
"""Citizens. A channel is a person's act, and ended where the journal of endings says so."""

_WRITES: Final[Mapping[ProcessRole, tuple[Mapping[str, str], ...]]] = {
    ProcessRole.ROUTER: (
        _RECORDS,
        {"declarations": "a", "deliveries": "ac", "dead_letters": "a", "withholdings": "ad", "consumed": "ac"},
        {"grants": "ac", "grant_versions": "a", "consent_keys": "ac", "meta": "acd"},  # a rule by law makes grants
        {"repairs": "c"},  # what was repaired is planned again
    ),
    ProcessRole.LEDGER: (
        {"ledger_entries": "c", "ledger_tiles": "ac", "ledger_checkpoints": "a", "cosignatures": "ad"},
        {"directory_notes": "ac", "meta": "ac"},
    ),
    ProcessRole.UPKEEP: (
        _RECORDS,
        _ENDS_DELIVERIES,
        {"consent_epochs": "ac", "consent_keys": "acd", "gate_epochs": "ac", "sealing_keys": "ac"},
        # what has ended elsewhere ends here
        {"grants": "c", "grant_versions": "a", "subscriptions": "c", "paused_subscriptions": "ad", "operators": "c"},
        {"signing_keys": "c", "publishing_rights": "c", "signature_policies": "c", "topic_users": "c"},
        {
            "rules": "c",
            "reference_links": "c",
            "objections": "ac",
            "retractions": "ac",
            "channels": "cd",
            "messages": "d",
        },
        {"api_tokens": "cd", "client_keys": "c", "client_key_sets": "c", "webhooks": "c"},
        # what is over
        {"kept_answers": "d", "ledger_checkpoints": "d", "log_record": "d", "submissions": "d", "declarations": "cd"},
        {"deliveries": "acd", "dead_letters": "acd", "meta": "acd"},  # what a stopped recall had closed is planned
        {"ledger_openings": "ad", "ledger_erasures": "a", "ledger_erased": "a", "operator_acts": "d"},
        {"credential_uses": "d", "repairs": "d"},
        {"representations": "c", "households": "cd", "acted_for": "d"},
        {"citizen_sessions": "d", "citizen_codes": "d"},
        {"citizen_drafts": "d", "told_already": "d", "tallies": "d"},
    ),
    ProcessRole.GATE: (_RECORDS, _ENDS_DELIVERIES, _LETS_IN),
    ProcessRole.CONNECTORS: (_RECORDS, _ENDS_DELIVERIES),
    ProcessRole.NOTIFY: (
        _RECORDS,
        {"webhooks": "c", "webhook_notices": "acd", "webhook_attempts": "ad", "meta": "ac"},
        _MAILS,
        _TELLS,
    ),
    ProcessRole.RELAY: (_RECORDS, _ENDS_DELIVERIES, {"log_record": "a"}),
    ProcessRole.INTAKE: (
        _RECORDS,
        _ACTED_FOR,
        _TAKES_BACK,
        {"consumed": "acd", "submissions": "a", "log_record": "a", "deliveries": "c"},
    ),
    ProcessRole.API: (
        _RECORDS,
        _ACTED_FOR,
        {"representations": "ac", "households": "ac"},
        _TAKES_BACK,
        _LETS_IN,
        {"submissions": "a", "log_record": "a", "deliveries": "ac", "withholdings": "acd", "kept_answers": "acd"},
        {"subscriptions": "ac", "paused_subscriptions": "ad", "directory_notes": "ac", "meta": "ac"},
        {"reference_links": "a"},  # an older spelling of a citizen's facts
        {"signing_keys": "ac", "sealing_keys": "ac", "webhooks": "ac", "webhook_notices": "d", "webhook_attempts": "d"},
    ),
    ProcessRole.PORTAL: (
        _RECORDS,
        _SIGNS_CITIZENS_IN,
        _ACTED_FOR,
        {"households": "ac"},
        _TAKES_BACK,
        _LETS_IN,
        {"submissions": "a", "log_record": "a", "deliveries": "c", "kept_answers": "acd"},
        {"citizen_drafts": "acd", "told_already": "a", "tallies": "acd"},
    ),
    ProcessRole.CONSENTS: (
        _RECORDS,
        {"grants": "ac", "grant_versions": "a", "consent_keys": "acd", "kept_answers": "a"},
        {"deliveries": "ac", "dead_letters": "ac", "withholdings": "acd"},  # what a change means for what is on its way
        {"objections": "ac", "retractions": "ac", "repairs": "ac", "reference_links": "ac"},
    ),
}


def all_tables() -> frozenset[str]:
    """Every table there is."""
    return frozenset({VERSION, *(name for one in (meta, webhooks, operators) for name in one.metadata.tables)})


def rights_of(role: ProcessRole) -> Mapping[str, str]:
    """What a role may do with each table: letters of VERBS, in their order; "" where it is closed to it."""
    told: dict[str, set[str]] = {
        table: set() if table in _CLOSED and role not in _CLOSED[table] else {"r"} for table in all_tables()
    }
    for some in (_EVERYBODY, *_WRITES[role]):
        for table, letters in some.items():
            told[table] |= set(letters)
    return {table: "".join(letter for letter in VERBS if letter in told[table]) for table in sorted(told)}


READER: Final = "reader"
"""The login for people who only look (`broker.access.roles.LOOKS`): it writes nothing."""
_SHOWN: Final = frozenset(
    {
        VERSION,
        *("api_tokens", "approval_requests", "client_key_sets", "client_keys", "consumed", "cosignatures"),
        *("credential_uses", "dead_letters", "declarations", "deliveries", "ledger_checkpoints"),
        *("ledger_entries", "log_record", "messages", "meta", "operator_acts", "operators", "parties"),
        *("paused_subscriptions", "publishing_rights", "purposes", "rules", "sealing_keys"),
        *("signature_policies", "signing_keys", "subscriptions", "topic_users", "webhook_attempts"),
        *("webhook_notices", "webhooks"),
    }
)
"""What those commands read; a test watches them. Nobody's consent, channel, draft or session is among it."""


def rights_of_reader() -> Mapping[str, str]:
    """What that login may do with each table: "r", or "" where it is closed to it."""
    return {table: "r" if table in _SHOWN else "" for table in sorted(all_tables())}


def logins(prefix: str) -> Mapping[str, Mapping[str, str]]:
    """The name of every login, and its rights."""
    told = {login(role, prefix): rights_of(role) for role in ROLES}
    return {**told, f"{prefix}{READER}": rights_of_reader()}


def login(role: ProcessRole, prefix: str) -> str:
    """The name of a role's login."""
    return f"{prefix}{role.value}"


def sql(prefix: str) -> str:
    """What the owner of the tables runs, as often as wanted, in the database of the home: logins without a password,
    and for each the rights of its role and no others. `prefix`: of lower-case letters, digits and underlines.
    """
    lines = ["BEGIN;", "REVOKE CREATE ON SCHEMA public FROM PUBLIC;"]
    for name, rights in logins(prefix).items():
        lines += [
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}')"
            f" THEN CREATE ROLE {name} LOGIN; END IF; END $$;",
            f"DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO {name}', current_database()); END $$;",
            f"GRANT USAGE ON SCHEMA public TO {name};",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name};",
        ]
        if set("".join(rights.values())) - {"r"}:
            lines.append(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name};")
        by_verbs: dict[str, list[str]] = {}
        for table, letters in rights.items():
            by_verbs.setdefault(letters, []).append(table)
        for letters, some in sorted(by_verbs.items()):
            if letters:
                verbs = ", ".join(VERBS[letter] for letter in letters)
                lines.append(f"GRANT {verbs} ON {', '.join(some)} TO {name};")
    return "\n".join((*lines, "COMMIT;", ""))
