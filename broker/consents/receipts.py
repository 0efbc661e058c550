"""Receipts: the signed paper that a citizen keeps after a consent or a mandate by law.

Refuses: for another process, a version that neither the registry nor the ledger knows (`receipts.unknown`): whoever can
ask for a receipt could have anything signed otherwise.
Keeps: the citizen is named by the pseudonym of a sector of its own, which no administration ever sees.
"""

from base64 import b32encode
from typing import Final

from broker.consents.consents import Recorded
from broker.directory.lookup import Lookup
from broker.directory.reading import Party
from broker.keys.keyring import Keyring
from broker.ledger.recorder import Recorder
from broker.people.identity import Identity
from broker.ports import Clock
from broker.store.engine import Store
from consent import purposes, registry
from consent.basis import BasisKind
from consent.grant import Grant
from consent.receipt import make_receipt
from consent.receipt_content import Party as ReceiptParty
from consent.receipt_content import Terms
from schemas.errors import Refused
from schemas.messages import Language
from schemas.names import PartyId, SubjectRef

SECTOR: Final = "citizen"
"""The sector whose pseudonym is the citizen's own number in receipts."""

_WITHDRAW: Final[dict[BasisKind, dict[Language, str]]] = {
    BasisKind.CONSENT: {
        "fr": "À tout moment, en retirant ce consentement auprès de {name} ({contact}).",
        "en": "At any time, by withdrawing this consent with {name} ({contact}).",
    },
    BasisKind.CHOICE: {
        "fr": "À tout moment, en revenant sur ce choix auprès de {name} ({contact}).",
        "en": "At any time, by taking back this choice with {name} ({contact}).",
    },
}


class Receipts:
    """Signs receipts with the broker's key."""

    def __init__(
        self,
        *,
        store: Store,
        lookup: Lookup,
        keyring: Keyring,
        identity: Identity,
        recorder: Recorder,
        party: PartyId,
        storage_locations: tuple[str, ...],
        clock: Clock,
    ) -> None:
        """`party`: the broker; `storage_locations`: where it keeps what it keeps."""
        self._store = store
        self._lookup = lookup
        self._keyring = keyring
        self._identity = identity
        self._recorder = recorder
        self._party = party
        self._locations = storage_locations
        self._clock = clock

    async def of(self, recorded: Recorded) -> bytes:
        """The signed receipt of one version of a grant, JSON. Raises Refused: `consent-receipt.*`, `keyring.*`."""
        grant = recorded.grant
        async with self._store.read() as tx:
            recipient = await self._lookup.party(tx, grant.recipient)
            broker = await self._lookup.party(tx, self._party)
            signer = self._keyring.signer(await self._lookup.directory(tx), self._party, self._clock())
            known = await self._lookup.purposes(tx)
        terms = Terms(
            controller=_reachable(recipient),
            issuer=_reachable(broker),
            storage_locations=self._locations,
            retention_period=purposes.named(grant.purpose, known).retention[grant.language] or recipient.retention,
            withdrawal_method=_how_to_withdraw(grant, broker),
        )
        number = principal_of(self._identity, grant.subject)
        return make_receipt(grant, terms, principal=number, ledger_entry=recorded.entry, signer=signer, among=known)

    async def of_known(self, recorded: Recorded) -> bytes:
        """The same for another process, whose word alone counts for nothing. Raises Refused `receipts.unknown`, too."""
        grant = recorded.grant
        async with self._store.read() as tx:
            there = grant in await registry.history(tx.conn, grant.id)
            if not there or not await self._recorder.told_by(tx, grant, recorded.entry):
                raise Refused("receipts.unknown", "/grant")
        return await self.of(recorded)


def principal_of(identity: Identity, subject: SubjectRef) -> str:
    """The citizen's own number: 32 letters and digits, the same in all their receipts."""
    return b32encode(identity.pseudonym(subject, SECTOR)[0]).decode("ascii")


def _reachable(party: Party) -> ReceiptParty:
    return ReceiptParty(party.id, party.name, party.address, party.contact)


def _how_to_withdraw(grant: Grant, broker: Party) -> str | None:
    """Nobody withdraws a mandate by law."""
    if grant.by_law:
        return None
    return _WITHDRAW[grant.basis.kind][grant.language].format(name=broker.name, contact=broker.contact)
