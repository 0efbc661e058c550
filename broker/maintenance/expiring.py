"""Expiring: what an administration is about to lose because time passes: the last key of its kind, the last token for a
scope.

Refuses: to tell of what something else outlasts: the overlap of a rotation is nobody's trouble.
Keeps: it takes what others have read, and reads nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from broker.access.credentials import Credential
from schemas.directory import Directory, SealingKeyEntry, SigningKeyEntry
from schemas.names import Instant, PartyId
from schemas.signing import POLICIES

DAY_MS: Final = 86_400_000
DAYS: Final = 30
"""How long before an end it is told."""
FOREVER: Final = Instant(2**53)


class What(Enum):
    """What ends."""

    SIGNING = "signing"
    SEALING = "sealing"
    TOKEN = "token"  # noqa: S105  no secret


@dataclass(frozen=True, slots=True, order=True)
class Expiring:
    """The last of its kind ends then. `kind`: an algorithm, or a scope; of sealing keys, any suite will do."""

    at: Instant
    party: PartyId
    what: str
    kind: str


def expiring(directory: Directory, tokens: Iterable[Credential], at: Instant, days: int = DAYS) -> list[Expiring]:
    """What ends within so many days from now, the soonest first. What has ended already is not told."""
    last: dict[tuple[PartyId, What, str], Instant] = {}
    for party, what, kind, end in (*_keys(directory, at), *_tokens(tokens)):
        last[party, what, kind] = max(end, last.get((party, what, kind), end))
    until = at + days * DAY_MS
    return sorted(
        Expiring(end, party, what.value, kind) for (party, what, kind), end in last.items() if at < end <= until
    )


def _keys(directory: Directory, at: Instant) -> Iterator[tuple[PartyId, What, str, Instant]]:
    """Every key that counts and is needed: for signing, those of the algorithms that the policy in force wants."""
    needed = {
        entry.party: POLICIES[directory.policy(entry.party, at)]
        for entry in directory.policies
        if entry.valid_from <= at
    }
    for key in directory.signing:
        if key.revoked_at is None and key.algorithm in needed.get(key.party, ()):
            yield key.party, What.SIGNING, key.algorithm.name.lower(), _end(key)
    for each in directory.sealing:
        if each.revoked_at is None:
            yield each.party, What.SEALING, "any", _end(each)


def _end(key: SigningKeyEntry | SealingKeyEntry) -> Instant:
    return FOREVER if key.valid_to is None else key.valid_to


def _tokens(tokens: Iterable[Credential]) -> Iterator[tuple[PartyId, What, str, Instant]]:
    for one in tokens:
        if one.revoked_at is None:
            for scope in one.scopes:
                yield one.party, What.TOKEN, scope.value, one.expires_at
