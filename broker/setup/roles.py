"""Roles: what a process is for, and the secrets that it gets for it, and no other.

    role         does                                             of the secrets that open something
    router       decides who receives a declaration               consent keys
    ledger       orders entries, signs checkpoints, asks          the ledger's key
                 witnesses
    upkeep       ends, rotates, destroys what is over              gate keys, consent keys
    gate         answers pulls of administrations                 gate keys, consent keys, pseudonyms
    relay        puts what waits on topics, sealed                none
    connectors   delivers to administrations hosted here          as the gate, and the keys of those administrations
    notify       tells administrations and citizens at their      what webhooks are signed with, citizens'
                 addresses                                        addresses
    intake       takes what sources write to topics               subject tokens
    api          answers sources and everybody                    what tells who a citizen is, access tokens
    portal       answers citizens, and their towns' portals       what tells who a citizen is, signing keys
    consents     changes consents for `portal` and `api`          consent keys, pseudonyms, signing keys
    all          everything, in one process                       every one

Refuses: nothing of its own; the key store that a role is given does (`broker.keys.restricted`).
Keeps: no other module says what a role may reach; a test starts each one with this and nothing else.
"""

from collections.abc import Mapping, Set
from enum import Enum
from typing import Final

from broker.keys.pair import Pair
from broker.keys.restricted import ALL, Allowed
from broker.people import identity
from broker.ports import KeyKind, KeyStore
from broker.store.rows import macs, seals


class ProcessRole(Enum):
    """What a process is for."""

    ALL = "all"
    ROUTER = "router"
    LEDGER = "ledger"
    UPKEEP = "upkeep"
    GATE = "gate"
    CONNECTORS = "connectors"
    NOTIFY = "notify"
    RELAY = "relay"
    INTAKE = "intake"
    API = "api"
    PORTAL = "portal"
    CONSENTS = "consents"


EVERYTHING_OF_THE_LOG: Final = frozenset({"read", "write", "describe"})

_LOG: Final = {
    ProcessRole.ALL: EVERYTHING_OF_THE_LOG,
    ProcessRole.ROUTER: frozenset({"read", "describe"}),
    ProcessRole.API: frozenset({"write", "describe"}),
    ProcessRole.INTAKE: frozenset({"write", "describe"}),
    ProcessRole.PORTAL: frozenset({"write", "describe"}),
}


def log_rights(role: ProcessRole) -> frozenset[str]:
    """What a role does with the log: `read`, `write`; every one of them looks how long it is (`describe`)."""
    return _LOG.get(role, frozenset({"describe"}))


# ── the secrets of each role ────────────────────────────────────────────────────────────────────────────────────────

_EVERYBODY: Final[Allowed] = {KeyKind.HOME: ALL, KeyKind.ROWS_PUBLIC: ALL, KeyKind.ENDINGS: ALL}
"""Whose home it is, public halves, what has ended."""

_WRITES: Final[Allowed] = {
    KeyKind.ROWS: frozenset({macs.NAME}),
    KeyKind.OPENING: ALL,
    KeyKind.SALTS: ALL,
}
"""Rows that the machine checks, and entries of the ledger."""

_RELEASES: Final[Allowed] = {
    KeyKind.GATE: ALL,
    KeyKind.CONSENT_EPOCH: ALL,
    KeyKind.PSEUDONYM: ALL,
    KeyKind.SIGNING: ALL,
}

_SIGNS_ROWS: Final[Allowed] = {KeyKind.ROWS: frozenset({macs.NAME, seals.NAME})}

_MORE: Final[Mapping[ProcessRole, tuple[Allowed, ...]]] = {
    ProcessRole.ROUTER: ({KeyKind.CONSENT_EPOCH: ALL},),
    ProcessRole.LEDGER: ({KeyKind.LEDGER: ALL},),
    ProcessRole.UPKEEP: (_SIGNS_ROWS, {KeyKind.GATE: ALL, KeyKind.CONSENT_EPOCH: ALL}),
    ProcessRole.GATE: (_RELEASES,),
    ProcessRole.CONNECTORS: (_RELEASES, {KeyKind.SEALING: ALL}),
    ProcessRole.NOTIFY: ({KeyKind.IDENTITY: frozenset({identity.WEBHOOKS}), KeyKind.CHANNELS: ALL},),
    ProcessRole.RELAY: (),
    ProcessRole.INTAKE: ({KeyKind.SIGNING: ALL, KeyKind.IDENTITY: frozenset({identity.OPAQUE})},),
    ProcessRole.API: (_SIGNS_ROWS, {KeyKind.SIGNING: ALL, KeyKind.IDENTITY: ALL}),
    ProcessRole.PORTAL: (
        {KeyKind.SIGNING: ALL, KeyKind.DRAFTS: ALL},
        {KeyKind.IDENTITY: frozenset({identity.REFERENCE, identity.OPAQUE})},
    ),
    ProcessRole.CONSENTS: (
        _SIGNS_ROWS,  # a link that is refused; an older spelling of a citizen's facts
        {KeyKind.CONSENT_EPOCH: ALL, KeyKind.PSEUDONYM: ALL, KeyKind.SIGNING: ALL},
        {KeyKind.IDENTITY: frozenset({identity.REFERENCE})},
    ),
}


LOOKING: Final[Allowed] = _EVERYBODY
"""What a command gets that only looks (`broker.access.roles.LOOKS`): nothing that signs, opens or lets somebody in."""


def secrets_of(role: ProcessRole) -> Allowed:
    """The kinds of secrets that a role gets, and which of each; every one for a process that does everything."""
    if role is ProcessRole.ALL:
        return dict.fromkeys(KeyKind, ALL)
    told: dict[KeyKind, Set[str] | None] = {}
    for some in (_EVERYBODY, _WRITES, *_MORE[role]):
        told.update(some)
    return told


def hand_out(keys: KeyStore) -> None:
    """Keep what a role gets in the place of a secret that it must not have. Called by whoever makes or upgrades a home.

    Crash here: some are there and some are not; called again, it makes those that are missing.
    """
    Pair.ledger(keys).publish()
    Pair.access(keys).publish()
    identity.keep_salts(keys)


def check_secrets(keys: KeyStore) -> None:
    """Read what every process of this role needs: better now than when somebody waits for it.

    Raises Refused `keys.missing`; Corrupt `keys.damaged`, `identity.secret`.
    """
    for name in (identity.REFERENCE, identity.OPAQUE, identity.ACCESS, identity.WEBHOOKS):
        if keys.gives(KeyKind.IDENTITY, name):
            identity.secret(keys, name)
    identity.ledger_secret(keys)
    for pair in (Pair.ledger(keys), Pair.access(keys)):
        _ = pair.public


def handed_out(keys: KeyStore) -> bool:
    """Whether that is there."""
    return identity.SALTS in keys.names(KeyKind.SALTS)
