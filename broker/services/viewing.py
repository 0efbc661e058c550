"""Viewing: somebody looks at a citizen's file, and the ledger says so.

Refuses: a person whom the six facts do not tell from others; a look in another party's name: whoever looks here is the
broker's operator, and an entry that says otherwise would be false.
Keeps: what is shown was written down before it is shown; the entry names the citizen only as a commitment.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from broker.flow.desk import pivot_of
from broker.observability.crashpoints import mark
from broker.people.pivot import PivotIdentity
from broker.setup.wiring import Home
from broker.store.engine import Transaction
from consent import registry
from consent.grant import Grant
from schemas.errors import Refused
from schemas.facts import FactKind
from schemas.names import LeafHash, PartyId, SubjectRef

T = TypeVar("T")


async def subject_of(home: Home, document: object) -> SubjectRef:
    """The citizen that a parsed file names: the pivot identity itself, or a declaration's record with its `subject`.

    Raises Refused: `desk.no-subject`, `identity.*`, with the pointer into the file; Unavailable.
    """
    facts = pivot_in(document)
    try:
        return await home.contact.reference(facts)
    except Refused as fault:
        inner = isinstance(document, Mapping) and isinstance(document.get("subject"), Mapping)
        raise (fault.under("/subject") if inner else fault) from None


async def for_person(home: Home, document: object, work: Callable[[SubjectRef], Awaitable[T]]) -> T:
    """What `work` does for the citizen that a parsed file names. Raises as `subject_of`, and what it raises."""
    return await work(await subject_of(home, document))


def pivot_in(document: object) -> PivotIdentity:
    """The facts in a parsed file. Raises Refused as `subject_of`."""
    if not isinstance(document, Mapping):
        raise Refused("desk.no-subject")
    inner: object = document.get("subject")
    if not isinstance(inner, Mapping):
        return pivot_of(document)
    person: Mapping[str, Any] = inner
    try:
        return pivot_of(person)
    except Refused as fault:
        raise fault.under("/subject") from None


async def grants_of(home: Home, subject: SubjectRef, viewer: PartyId | None = None) -> tuple[Grant, ...]:
    """Every grant of a citizen, oldest first, shown to the broker's operator; the look is recorded.

    `viewer`: who is said to look. Raises Refused `viewing.another-party` when that is not the broker.
    """
    if viewer not in (None, home.party):
        raise Refused("viewing.another-party", "/viewer", party=home.party)
    async with home.store.begin() as tx:
        kin = (await home.lookup.kin(tx, [subject], home.clock())).of(subject)
        found = [grant for one in kin for grant in await registry.of_subject(tx.conn, one)]
        record_look(home, tx, subject)
    return tuple(sorted(found, key=lambda one: one.id))


def record_look(home: Home, tx: Transaction, subject: SubjectRef) -> LeafHash:
    """That the broker's operator looks at a citizen's file, in the transaction that reads it. Returns the entry."""
    entry = home.recorder.record(tx, FactKind.VIEWED, home.clock(), about=subject)
    mark("viewing.recorded")
    # Crash here: nothing was shown, and nothing says so.
    return entry
