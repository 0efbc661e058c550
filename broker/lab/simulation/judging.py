"""Judging: whether what the machine keeps agrees with the promises: its state, its ledger, what it tells people.

Refuses: nothing; what does not agree is told, with its place.
Keeps: the ledger's word is compared with what was opened in both directions: an opening that it does not tell, and one
that it tells and nobody saw.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from broker.flow.tracking import Progress, Track
from broker.lab.simulation.founding import AUDITOR
from broker.lab.simulation.offices import OfficeAtWork
from broker.lab.simulation.promises import Broken, Promises, Said
from broker.services import disclosing, proofs
from broker.setup.wiring import Home
from schemas.disclosure import open_sealed
from schemas.facts import FactKind
from schemas.names import DeclarationId, Instant, PartyId, uuid_text
from schemas.release import indices

_OPEN: Final = frozenset({Progress.SENT, Progress.RECEIVED})
_WHY: Final = frozenset({Progress.WITHHELD, Progress.REFUSED, Progress.TO_COMPLETE, Progress.TECHNICAL})


async def state(home: Home, *, full: bool = False) -> list[Broken]:
    """fsck, and the ledger as anybody audits it. `full`: everything opened anew, and the audit with every opening."""
    await home.ledger.sequence_unfinished()
    found = [Broken(f"fsck {one.check}", one.place) for one in (await home.fsck.look(full=full)).findings]
    opened = None
    if full:
        disclosed = await disclosing.disclose(home, Instant(0), Instant(home.clock() + 1), AUDITOR)
        directory = await home.lookup.newest(home.store)
        keys = home.keyring.recipient(directory, AUDITOR)
        opened = open_sealed(disclosed.sealed, keys[directory.current_sealing_key(AUDITOR, home.clock()).kid])
        await home.ledger.sequence_unfinished()
    audited = await proofs.audit_home(home, opened)
    return found + [Broken("audit", str(fault)) for fault in audited.findings]


async def ledger(home: Home, promises: Promises) -> list[Broken]:
    """Each release that the ledger tells of was seen, with just these fields, and the other way round."""
    digests = {said.digest: said for said in promises.said.values() if said.digest is not None}
    told: dict[tuple[PartyId, DeclarationId], set[str]] = {}
    async with home.store.read(patient=True) as tx:
        for _, facts in await home.openings.all(tx):
            said = None if facts.declaration is None else digests.get(facts.declaration)
            if facts.kind is FactKind.RELEASED and said is not None and facts.recipient and facts.fields is not None:
                names = home.catalogue.by_type(said.event_type).names
                fields = {names[index] for index in indices(facts.fields, len(names))}
                told.setdefault((facts.recipient, said.id), set()).update(fields)
    seen = {key for key in promises.opened if promises.said[key[1]].digest is not None}
    return [
        Broken("the ledger tells another release", f"{party} {uuid_text(declaration)}")
        for party, declaration in sorted(told.keys() | seen)
        if told.get((party, declaration)) != promises.opened.get((party, declaration))
    ]


async def tracks(home: Home, promises: Promises, reasons: Counter[str]) -> list[Broken]:
    """What a person is told of each declaration: every recipient is done with it, or has a reason, which is counted."""
    found: list[Broken] = []
    for said in promises.said.values():
        found += _track(await home.tracking.track(said.id), said, promises, reasons)
    return found


def _track(track: Track, said: Said, promises: Promises, reasons: Counter[str]) -> Iterator[Broken]:
    heard = set()
    for step in track.steps:
        if step.progress in _OPEN:
            yield Broken("never fetched", f"{step.recipient} {said.place}")
        if step.reason is not None:
            reasons[step.reason.value] += 1
        elif step.progress in _WHY:
            yield Broken("withheld without a reason", f"{step.recipient} {said.place}")
        if step.delivery is not None:
            heard.add(step.recipient)
    for office in promises.offices:
        if (office.party, said.id) in promises.opened and office.party not in heard:
            yield Broken("opened, and not shown to the person", f"{office.party} {said.place}")


def files(offices: list[OfficeAtWork], promises: Promises) -> Iterator[Broken]:
    """What an administration's own system holds was opened by it, and nothing that was taken back is left."""
    for at_work in offices:
        for declaration, fields in at_work.file.items():
            said, party = promises.said[declaration], at_work.office.party
            if said.back:
                yield Broken("kept, and taken back", f"{party} {said.place}")
            if fields - promises.opened.get((party, declaration), set()):
                yield Broken("kept, and never opened", f"{party} {said.place}")
