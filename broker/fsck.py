"""fsck: the one invariant checker for the whole state: hashes, signatures, ledger against tables, orphans, keys.

Refuses: to mend anything; it reads one snapshot and says what is wrong and where.
Keeps: no finding means that everything the house promises about its stored state holds at this moment.
"""

from collections.abc import AsyncIterator

from broker import forgotten, highwater
from broker.checks import (
    consents,
    credentials,
    declarations,
    deliveries,
    directory,
    endings,
    instants,
    keys,
    ledger,
    locks,
    rows,
)
from broker.checks import first_ledger as followed
from broker.checks import forgotten as horizon
from broker.checks.finding import Finding
from broker.directory.lookup import Lookup
from broker.keyring import Keyring
from broker.openings import Openings
from broker.ports import Clock, KeyStore, Log
from broker.rows.seals import RowVerifier, Unchecked
from broker.store.engine import Store, Transaction
from schemas.catalogue import Catalogue
from schemas.entry import OPEN_FACTS
from schemas.errors import Corrupt, Fault, Refused
from schemas.names import Instant
from schemas.note import VerifierKey


class Fsck:
    """Checks a home; shipped to operators and run after every step of the tests."""

    def __init__(
        self,
        *,
        store: Store,
        log: Log,
        key_store: KeyStore,
        rows: RowVerifier,
        catalogue: Catalogue,
        openings: Openings,
        verifier: VerifierKey,
        attester: VerifierKey,
        clock: Clock,
    ) -> None:
        self._store = store
        self._log = log
        self._keys = key_store
        self._catalogue = catalogue
        self._openings = openings
        self._rows = rows
        self._verifier = verifier
        self._attester = attester
        self._clock = clock

    async def check(self) -> list[Finding]:
        """Everything that is wrong; empty when all is well. Raises Unavailable."""
        standing = await highwater.look(self._store)
        async with self._store.read(patient=True) as tx:
            return [finding async for finding in self._all(tx, standing)]

    async def _all(self, tx: Transaction, standing: Fault | None) -> AsyncIterator[Finding]:
        told = await ledger.read(tx, self._openings)
        erased = ledger.erased_until(told)
        now = [one.facts for one in told if one.facts is not None]
        entries = [facts for facts in await followed.facts(tx) if facts.kind not in OPEN_FACTS] + now
        epochs = Keyring(self._keys).consent_epochs()
        checks = {
            "ledger": ledger.check(tx, self._verifier, told),
            "first-ledger": followed.check(tx, now, self._attester, self._keys),
            "keys": keys.check(tx, self._keys),
            "consents": consents.check(tx, entries, epochs, erased),
            "locks": locks.check(tx, epochs),
            "directory": directory.check(tx, entries, self._attester),
            "credentials": credentials.check(tx, entries),
            "endings": endings.check(tx, standing),
            "rows": rows.check(tx, self._rows),
            "forgotten": horizon.check(tx, entries),
            "instants": instants.check(tx, self._clock()),
        }
        try:
            pinned = await Lookup(Unchecked()).directory(tx)  # each row is compared with the ledger
            kept = await declarations.rows(tx)
            gone = declarations.gone(entries, kept, await _horizon(tx), erased)
            checks["declarations"] = declarations.check(
                tx,
                self._log,
                entries,
                kept=kept,
                forgotten=gone,
                erased=erased,
                directory=pinned,
                catalogue=self._catalogue,
            )
            checks["deliveries"] = deliveries.check(
                tx, entries, kept, forgotten=gone, erased=erased, catalogue=self._catalogue
            )
        except (Corrupt, ValueError):
            pass  # said by the directory's own check; no signature can be judged without a directory
        for name, check in checks.items():
            async for finding in _guarded(name, check):
                yield finding


async def _guarded(name: str, findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """What a check finds; where it meets a row that no broker can have written, that is what it found."""
    try:
        async for finding in findings:
            yield finding
    except (Refused, Corrupt, ValueError, TypeError, KeyError) as error:
        yield Finding("fsck.stopped", name, f"this check met a row that no broker writes: {type(error).__name__}")


async def _horizon(tx: Transaction) -> Instant | None:
    """Where it cannot be read, its own check says so, and nothing counts as forgotten."""
    try:
        return await forgotten.horizon(tx)
    except ValueError:
        return None
