"""Disclosing: what opens the ledger's entries of a period, sealed to an auditor, and the open entry that says so.

Refuses: an auditor that the directory gives no sealing key; a period that ends before it begins.
Keeps: the ledger says who was given what before the file leaves. One day this will need two persons: here.
Source: docs/protocol.md, section 8, "Disclosure"; ledger.md, R3.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from broker.ledger.openings import Openings
from broker.observability.crashpoints import mark
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from broker.store.tables import ledger_entries, ledger_erased, ledger_erasures, ledger_openings
from schemas.disclosure import Disclosure, Erased, digest
from schemas.entry import Entry, Opening, window_of
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import GrantId, Instant, Kid, LeafHash, PartyId, SubjectRef

_OF_GRANTS = (
    FactKind.GRANTED.value,
    FactKind.CARRIED.value,
    FactKind.CHANGED.value,
    FactKind.REVOKED.value,
    FactKind.EXPIRED.value,
)


@dataclass(frozen=True, slots=True)
class Disclosed:
    """The sealed file, how many openings are in it, and the leaf of the entry that tells of it."""

    sealed: bytes
    openings: int
    entry: LeafHash


async def disclose(home: Home, since: Instant, until: Instant, auditor: PartyId) -> Disclosed:
    """What opens the entries of the windows from the one that `since` lies in up to `until`, sealed to the auditor
    by its newest key.

    Raises Refused: `disclosure.period`, `directory.no-sealing-key`.
    """
    if until <= since:
        raise Refused("disclosure.period", "/to")
    since = window_of(since, home.settings.ledger_window_seconds * 1_000)
    async with home.store.read(patient=True) as tx:
        key = (await home.lookup.directory(tx)).current_sealing_key(auditor, home.clock())
        openings, subjects = await _of_period(tx, home.openings, since, until)
        openings |= await _of_grants(tx, home.openings, openings.values(), subjects)
        bundle = Disclosure(home.ledger.verifier_key.name, since, until, openings, await _erased(tx))
    sealed = bundle.seal(key.suite, key.public)
    entry = await tell(home, auditor, len(openings), digest(sealed), key.kid)
    # Crash here: the ledger says it, and nobody has the file: it is disclosed once more.
    return Disclosed(sealed, len(openings), entry)


async def tell(home: Home, whom: PartyId, count: int, detail: bytes, sealed_to: Kid | None) -> LeafHash:
    """The open entry that says whom so many openings are given, before they are. `detail`: SHA-256 of what holds them.

    `sealed_to`: None where it is the broker's own operator, who takes everything along (`exporting`).
    """
    async with home.store.begin() as tx:
        entry = home.recorder.record(
            tx,
            FactKind.DISCLOSED,
            home.clock(),
            recipient=whom,
            sealed_to=sealed_to,
            count=count,
            detail=detail,
        )
        mark("disclosing.told")
        # Crash here: the ledger does not say it, and nobody has the file; it is made anew.
    return entry


async def _of_period(
    tx: Transaction, openings: Openings, since: Instant, until: Instant
) -> tuple[dict[LeafHash, Opening], dict[GrantId, SubjectRef]]:
    """What opens the period's entries, and whose the grants are that they name."""
    joined = select(ledger_entries.c.entry, ledger_openings).join(
        ledger_openings, ledger_openings.c.leaf == ledger_entries.c.leaf
    )
    mine = (ledger_entries.c.window >= since, ledger_entries.c.window < until)
    found: dict[LeafHash, Opening] = {}
    grants: dict[GrantId, SubjectRef] = {}
    for row in await tx.execute(joined.where(*mine)):
        opened = openings.open(row.leaf, Entry.decode(row.entry), row)
        found[opened.leaf] = opened.opening
        if opened.facts.grant is not None:
            grants[opened.facts.grant] = SubjectRef(row.subject)
    return found, grants


async def _of_grants(
    tx: Transaction, openings: Openings, told: Iterable[Opening], subjects: dict[GrantId, SubjectRef]
) -> dict[LeafHash, Opening]:
    """What opens every entry about these grants themselves: without it nobody can judge what was done under them."""
    named = {one.facts.grant for one in told}
    found: dict[LeafHash, Opening] = {}
    for subject in set(subjects.values()):
        for opened in await openings.of_subject(tx, subject, *_OF_GRANTS):
            if opened.facts.grant in named:
                found[opened.leaf] = opened.opening
    return found


async def _erased(tx: Transaction) -> list[Erased]:
    lists: dict[bytes, set[LeafHash]] = {}
    for row in await tx.execute(select(ledger_erased)):
        lists.setdefault(row.by, set()).add(LeafHash(row.leaf))
    blinds = {row.leaf: row.blind for row in await tx.execute(select(ledger_erasures))}
    return [Erased(blinds.get(by, b""), frozenset(leaves)) for by, leaves in lists.items()]
