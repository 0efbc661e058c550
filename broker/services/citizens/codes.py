"""Codes: an operator who has seen a person's document gives them a code, with which they come in by themselves.

Refuses: facts that are nobody's (`identity.*`).
Keeps: the code is answered once and kept nowhere. The ledger says that there was one, and the person hears so at their
own addresses: whoever has a code made in somebody's name is found out.
"""

import asyncio

from broker.citizens.codes import Code, written
from broker.services.viewing import pivot_in, subject_of
from broker.setup.wiring import Home
from schemas.facts import FactKind


async def give(home: Home, person: object) -> Code:
    """A code for one person, good for `broker.citizens.codes.HOURS`, once. `person`: a parsed person file.

    Raises Refused `desk.no-subject`, `identity.*`; Unavailable.
    """
    subject, identity = await subject_of(home, person), pivot_in(person)
    code = home.codes.drawn()
    made = await asyncio.to_thread(home.codes.sealed_for, code, subject, identity)
    async with home.store.begin() as tx:
        until = await home.codes.keep(tx, made, home.clock())
        home.recorder.record(tx, FactKind.CODE_GIVEN, home.clock(), about=subject)
    return Code(written(code), until)
