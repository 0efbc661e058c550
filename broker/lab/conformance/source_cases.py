"""Cases of a source: what it signs is right, said once, and believed to be taken only with a good receipt.

Refuses: nothing; each case writes down what it finds.
Keeps: a case asks for one thing, told in its words.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from broker.lab.conformance.source import SourceTrial
from broker.lab.sandbox.door import DECLARE
from broker.lab.sandbox.mischief import MOST, Mischief
from schemas.samples import as_json

Case = Callable[[SourceTrial], Awaitable[None]]
BEHIND_MS: Final = 10 * 60_000


async def signature(trial: SourceTrial) -> None:
    """The broker takes it: who signed may, and the signature fits."""
    await trial.one(trial.task())


async def schema(trial: SourceTrial) -> None:
    """What arrives is what it was told to declare, by the schema of today."""
    task = trial.task()
    arrived = await trial.one(task)
    told: dict[str, Any] = task["record"]
    given = as_json(dict(arrived.record), nulls=True)
    wrong = sorted(name for name in {*told, *given} if told.get(name) != given.get(name))
    if wrong:
        trial.found("wrong-record", fields=", ".join(wrong))
    if arrived.schema != trial.play.home.catalogue.by_type(task["event_type"]).schema.id:
        trial.found("old-schema")


async def once(trial: SourceTrial) -> None:
    """Two things to declare are two declarations, each with an id of its own, however alike they are."""
    first = trial.task()
    second = {**first, "reference": trial.words.new()}
    one = await trial.one(first)
    two = await trial.one(second)
    if one.id == two.id:
        trial.found("same-id")


async def correction(trial: SourceTrial) -> None:
    """A correction names what it corrects."""
    person = trial.words.new()
    wrong = await trial.one(trial.task(person=person))
    right = await trial.one(trial.task(person=person, corrects=wrong.id))
    if right.corrects != wrong.id:
        trial.found("no-correction")


async def clock(trial: SourceTrial) -> None:
    """Its clock is ten minutes ahead: it is refused, says so, and declares the same when the clocks agree."""
    task = trial.task()
    trial.play.clock.set(-BEHIND_MS)
    status = await trial.call(task)
    taken = await trial.arrived()
    trial.play.clock.set(0)
    if taken:
        return  # it asked the broker what time it is: there is nothing to refuse
    if status == 0:
        trial.found("silent-refusal")
    await trial.one(task)


async def retry(trial: SourceTrial) -> None:
    """The answer to a declaration is lost: the same is sent again, not another one."""
    task = trial.task()
    trial.play.door.losing |= {DECLARE, f"{DECLARE}:batch"}
    status = await trial.call(task)
    trial.play.door.losing.clear()
    if status:  # it left it for the next call
        status = await trial.call(task)
    trial.expect_one(await trial.arrived())
    if status:
        trial.found("source-failed", status=status)


async def receipt(trial: SourceTrial) -> None:
    """A receipt whose signature does not fit is none."""
    trial.play.mischiefs.set({Mischief.BAD_RECEIPT.value: MOST})
    status = await trial.call(trial.task())
    trial.play.mischiefs.clear()
    trial.expect_one(await trial.arrived())
    if status == 0:
        trial.found("unverified-receipt")


CASES: Final[Mapping[str, Case]] = {
    "source-signature": signature,
    "source-schema": schema,
    "source-once": once,
    "source-correction": correction,
    "source-clock": clock,
    "source-retry": retry,
    "source-receipt": receipt,
}
