"""Completing: what the journal of endings says and the database does not know is done, by the same code as ever.

A process was killed between the journal and the commit; a database was put back from a backup; a replica that lagged
took over: each time the journal knows endings that the rows do not. Until they are done they are obeyed over the rows.

Refuses: to go on when the journal is shorter than the database has seen (`endings.cut`): another copy was put back.
Keeps: how far the database has caught up stands in the database itself, so that an older one is caught up from there;
with nothing to do this costs one question. Who writes there makes nothing less ended, for nobody else asks it.
Source: docs/architecture.md, "The endings journal".
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update

from broker.access.credentials import Credentials
from broker.access.keysets import KeySets
from broker.access.oauth import OAuth
from broker.access.operators import Operators
from broker.citizens.codes import Codes
from broker.citizens.sessions import Sessions
from broker.consents.consents import Consents
from broker.consents.linking import Linking
from broker.consents.objections import Objections
from broker.consents.protecting import Protecting
from broker.consents.representing import Representing
from broker.directory.ending import complete
from broker.ended import Ending, Endings
from broker.epochs.epochs import Epochs
from broker.flow import backfill
from broker.flow.ended_grants import TABLE as GRANTS
from broker.flow.erased import Erased
from broker.flow.households import Households
from broker.flow.retracting import Retracting
from broker.flow.ruling import Ruling
from broker.flow.subscribing import Subscribing
from broker.ledger.recorder import Recorder
from broker.messages.channels import Channels
from broker.observability.crashpoints import mark
from broker.observability.observe import logger
from broker.people import protection
from broker.ports import Clock
from broker.store.access_tables import api_tokens, client_key_sets, client_keys
from broker.store.citizen_tables import citizen_codes, citizen_sessions
from broker.store.engine import Store, Transaction
from broker.store.message_tables import channels as channels_table
from broker.store.operator_tables import operators as operators_table
from broker.store.rows.seals import RowSigner
from broker.store.tables import (
    consent_epochs,
    declarations,
    gate_epochs,
    meta,
    paused_subscriptions,
    publishing_rights,
    reference_links,
    sealing_keys,
    signature_policies,
    signing_keys,
    subscriptions,
)
from broker.store.tables import households as households_table
from broker.store.tables import objections as objections_table
from broker.store.tables import representations as representations_table
from broker.store.tables import retractions as retractions_table
from broker.store.tables import rules as rules_table
from schemas.errors import Corrupt, Refused
from schemas.names import GrantId, Kid

COMPLETED: Final = "endings-completed"
"""The row of `meta` that says up to where the journal's records are in the rows: `<journal>:<number>`."""


_LIFTED: Final = frozenset({paused_subscriptions.name, objections_table.name, retractions_table.name})
"""Where an end may be taken back, which is done again as well."""
_OF_ONE: Final = ("registry.", "rows.")
"""A row that somebody has edited keeps nobody else's ending from being completed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """One ending that the rows did not know. `done`: whether they do now; if not, it is obeyed all the same."""

    table: str
    key: bytes
    done: bool


async def completed(tx: Transaction) -> int:
    """The number of the newest record of the journal that the rows of this snapshot are known to hold; 0: of none."""
    return 0 if tx.journal is None else _number(await _told(tx), tx.journal.journal)


async def _told(tx: Transaction) -> str | None:
    told: str | None = (await tx.execute(select(meta.c.value).where(meta.c.name == COMPLETED))).scalar()
    return told


def _number(told: str | None, journal: str) -> int:
    """Of another journal's records none is known here."""
    name, _, number = (told or "").partition(":")
    return int(number) if name == journal and number.isdecimal() else 0


class Completion:
    """Asked at each start, by upkeep, and after a restore."""

    def __init__(
        self,
        *,
        store: Store,
        endings: Endings,
        consents: Consents,
        credentials: Credentials,
        oauth: OAuth,
        key_sets: KeySets,
        recorder: Recorder,
        signer: RowSigner,
        subscribing: Subscribing,
        ruling: Ruling,
        objections: Objections,
        protecting: Protecting,
        retracting: Retracting,
        representing: Representing,
        households: Households,
        channels: Channels,
        erased: Erased,
        linking: Linking,
        epochs: Epochs,
        operators: Operators,
        sessions: Sessions,
        codes: Codes,
        clock: Clock,
    ) -> None:
        self._store, self._endings, self._clock = store, endings, clock
        self._consents, self._credentials, self._oauth, self._key_sets = consents, credentials, oauth, key_sets
        self._recorder, self._signer, self._subscribing, self._epochs = recorder, signer, subscribing, epochs
        self._operators, self._ruling, self._objections = operators, ruling, objections
        self._retracting = retracting
        self._sessions, self._codes = sessions, codes
        self._completed: set[GrantId] = set()
        directory = dict.fromkeys((signing_keys, sealing_keys, publishing_rights, signature_policies), self._directory)
        self._acts: Mapping[str, Callable[[Ending], Awaitable[bool]]] = {
            GRANTS: self._grant,
            api_tokens.name: self._token,
            client_keys.name: self._client,
            client_key_sets.name: self._key_set,
            subscriptions.name: self._subscription,
            paused_subscriptions.name: self._subscription,
            rules_table.name: self._rule,
            objections_table.name: self._objections.complete,
            retractions_table.name: self._retracting.complete,
            protection.TABLE: protecting.complete,
            protection.HOUSEMATES: protecting.complete,
            representations_table.name: representing.complete,
            households_table.name: households.complete,
            channels_table.name: channels.complete,
            declarations.name: erased.complete,
            reference_links.name: linking.complete,
            gate_epochs.name: self._gate,
            consent_epochs.name: self._consent_epoch,
            operators_table.name: self._operator,
            citizen_sessions.name: self._session,
            citizen_codes.name: self._code,
            **{table.name: act for table, act in directory.items()},
        }

    async def finish(self, *, all_of_it: bool = False) -> list[Completed]:
        """Do what is left, in the order in which it ended; epochs last, for what they wrap is to be wrapped anew first.

        `all_of_it`: look at every record again, whatever the database says of itself. Returns what there was to do.
        Raises Unavailable, Corrupt.
        """
        self._completed.clear()
        ended = await self._endings.look()
        async with self._store.read_one() as tx:
            told = await _told(tx)
        before = _number(told, self._endings.journal)
        if before > ended.position:
            raise Corrupt("endings.cut", position=ended.position)
        if told is None and ended.position == 0:
            await backfill.tell(self._store)
            ended = await self._endings.look()
        if told == self._place(ended.position) and not all_of_it:
            return []
        position, left = ended.position, [ending for _, ending in ended.after(0 if all_of_it else before)]
        found = [await self._one(ending) for ending in sorted(left, key=lambda one: one.table == consent_epochs.name)]
        async with self._store.begin() as tx:
            value = self._place(position)
            if not await tx.insert_new(meta, {"name": COMPLETED, "value": value}):
                await tx.execute(update(meta).where(meta.c.name == COMPLETED).values(value=value))
            mark("endings.completed")
            # Crash here: all of it is found done by the next start.
        return [one for one in found if one is not None]

    async def _one(self, ending: Ending) -> Completed | None:
        act = self._acts.get(ending.table)
        if act is None or (ending.least == 0 and ending.table not in _LIFTED):
            return None
        try:
            if not await act(ending):
                return None
            done = True
        except (Refused, Corrupt) as fault:
            if isinstance(fault, Corrupt) and not fault.code.startswith(_OF_ONE):
                raise
            logger().error("endings.not-completed", code=fault.code)
            done = False
        return Completed(ending.table, ending.key, done)

    def _place(self, number: int) -> str:
        return f"{self._endings.journal}:{number}"

    # ── one kind each; False: it is as it should be ─────────────────────────────────────────────────────────────────

    async def _grant(self, ending: Ending) -> bool:
        """With its citizen's others, of which each is told of in its turn."""
        self._completed |= await self._consents.complete(GrantId(ending.key))
        return ending.key in self._completed

    async def _token(self, ending: Ending) -> bool:
        return await self._unless(
            ("credentials.unknown-id", "credentials.already-revoked"),
            lambda tx: self._credentials.revoke(tx, ending.key, ending.at),
        )

    async def _client(self, ending: Ending) -> bool:
        return await self._unless(
            ("oauth.unknown-key", "oauth.already-revoked"),
            lambda tx: self._oauth.unpin(tx, Kid(ending.key), ending.at),
        )

    async def _key_set(self, ending: Ending) -> bool:
        return await self._unless(("oauth.not-followed",), lambda tx: self._key_sets.complete(tx, ending))

    async def _unless(self, codes: tuple[str, ...], act: Callable[[Transaction], Awaitable[object]]) -> bool:
        try:
            async with self._store.begin() as tx:
                await act(tx)
        except Refused as fault:
            if fault.code not in codes:
                raise
            return False
        return True

    async def _directory(self, ending: Ending) -> bool:
        async with self._store.begin() as tx:
            return await complete(tx, self._recorder, self._signer, ending, self._clock())

    async def _subscription(self, ending: Ending) -> bool:
        async with self._store.begin() as tx:
            return await self._subscribing.complete(tx, ending, self._clock())

    async def _rule(self, ending: Ending) -> bool:
        async with self._store.begin() as tx:
            return await self._ruling.complete(tx, ending, self._clock())

    async def _operator(self, ending: Ending) -> bool:
        async with self._store.begin() as tx:
            return await self._operators.complete(tx, ending, self._clock())

    async def _session(self, ending: Ending) -> bool:
        async with self._store.begin() as tx:
            return await self._sessions.complete(tx, ending)

    async def _code(self, ending: Ending) -> bool:
        async with self._store.begin() as tx:
            return await self._codes.complete(tx, ending)

    async def _gate(self, ending: Ending) -> bool:
        return await self._epochs.complete_gate(Kid(ending.key))

    async def _consent_epoch(self, ending: Ending) -> bool:
        return await self._epochs.complete_consent(int(ending.key))
