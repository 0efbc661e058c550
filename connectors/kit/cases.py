"""The cases: what a connector is put through, each with the sentence that says what went wrong.

    declared ──► pulled, while something goes wrong ──► what was told ──► a day later, nothing wrong ──► what is held

Refuses: nothing. Keeps: a case knows the system by the names that it holds, and by nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from connectors.contract import Reject
from connectors.description import Case, Words, check, described
from connectors.kit.bench import Bench, killed
from connectors.kit.rig import Rig
from schemas.messages import explain, table
from schemas.names import Reason

INFLICTED: Final = (
    Case.SLOW_PEER,
    Case.PEER_AWAY,
    Case.TOO_MANY,
    Case.WRONG_CREDENTIALS,
    Case.TRUNCATED_ANSWER,
    Case.ANSWER_LOST,
    Case.UNKNOWN_PERSON,
    Case.SEVERAL_PERSONS,
)
"""Those for which the system has to be made to behave badly; the others need nothing of it."""


def expect(good: bool, sentence: str) -> None:
    """Raises AssertionError with what is wrong."""
    if not good:
        raise AssertionError(sentence)


def spared(made: type[Rig]) -> Mapping[Case, Words]:
    """Why some cases are not played on this rig, as its connector and it say."""
    about = described(made.connector)
    return {**({} if about is None else about.spared), **made.spared}


def undeclared(made: type[Rig]) -> tuple[Case, ...]:
    """Cases that are neither played nor said to be spared; and those that are said to be both."""
    declared = spared(made)
    return tuple(case for case in INFLICTED if (case in made.plays) is (case in declared))


def play(case: Case, made: type[Rig], place: Path) -> None:
    """Put a connector through one case, in an empty folder. Raises AssertionError."""

    async def one() -> None:
        async with made(place) as rig:
            await CASES[case](Bench(rig))

    asyncio.run(one())


async def _redelivery(bench: Bench) -> None:
    one = bench.declare("Aubin")
    bench.deaf = True
    await bench.pull()
    bench.deaf = False
    expect(await bench.finds(one), "what was written is not found by its id (`find`)")
    bench.later()
    await bench.pull()
    expect(list(bench.rig.held()) == ["Aubin"], "what came again is not there exactly once")
    expect(not bench.inbox.rejected(), f"{one.hex()} came again and was refused")


async def _crash_before_acknowledgement(bench: Bench) -> None:
    bench.declare("Aubin")
    bench.dies = "acknowledge"
    with killed():
        await bench.pull()
    bench.dies = ""
    bench.later()
    await bench.pull()
    expect(not bench.inbox.rejected(), "killed before it acknowledged: the delivery came again and was refused")
    expect(list(bench.rig.held()) == ["Aubin"], "killed before it acknowledged: it is not there exactly once")


async def _crash_before_flush(bench: Bench) -> None:
    bench.declare("Aubin")
    bench.dies = "flush"
    with killed():
        await bench.pull()
    bench.dies = ""
    bench.later()
    told = await bench.pull()
    expect(len(told.done) == 1, "killed before it flushed, the delivery was not applied afterwards")
    expect(list(bench.rig.held()) == ["Aubin"], "killed before it flushed, the delivery is not there exactly once")


def _bad_peer(case: Case) -> Callable[[Bench], Awaitable[None]]:
    async def bad_peer(bench: Bench) -> None:
        one = bench.declare("Aubin")
        with bench.rig.inflicted(case):
            told = await bench.pull()
            expect(not told.refused and not told.answered, f"{case}: a delivery was ended for the system's fault")
            if case is not Case.ANSWER_LOST:
                expect(not told.done, f"{case}: told as done, and nobody could have said so")
        if case is Case.TOO_MANY:
            bench.later(119_000)
            expect(not (await bench.pull()).done, f"{case}: asked to wait 120 s, and tried again before")
        bench.later()
        if one not in told.done:
            expect(one in (await bench.pull()).done, f"{case}: when the system was well again, it was not applied")
        expect(list(bench.rig.held()) == ["Aubin"], f"{case}: afterwards the delivery is not there exactly once")

    return bad_peer


def _answering(case: Case, reason: Reason) -> Callable[[Bench], Awaitable[None]]:
    async def answering(bench: Bench) -> None:
        one = bench.declare("Aubin")
        with bench.rig.inflicted(case):
            before = list(bench.rig.held())
            told = await bench.pull()
            expect({one: reason} == dict(told.answered), f"{case}: not answered as {reason.value}")
            expect(before == list(bench.rig.held()), f"{case}: something was written all the same")

    return answering


async def _new_schema_version(bench: Bench) -> None:
    # The newest version of the type, by a mapping that was written when there were fewer fields.
    one = bench.declare("Aubin", fields=("subject", "phone", "occupants", "vehicles"))
    expect((one,) == (await bench.pull()).done, "a delivery of a newer version was not applied")
    expect(list(bench.rig.held()) == ["Aubin"], "a delivery of a newer version is not there exactly once")


async def _withheld_field(bench: Bench) -> None:
    one, other = bench.declare("Aubin", fields=("subject",)), bench.declare("Brocely", fields=("phone",))
    told = await bench.pull()
    expect((one,) == told.done, "a field that may be withheld was withheld, and the rest was not applied")
    expect({other: "mapping.withheld"} == dict(told.refused), "a field that is needed was withheld, and not refused")
    expect(list(bench.rig.held()) == ["Aubin"], "something was written of a delivery whose name was withheld")


async def _order(bench: Bench) -> None:
    for name, citizen in (("Aubin", 1), ("Brocely", 2), ("Corre", 1), ("Danet", 1)):
        bench.declare(name, citizen)
    for _ in range(4):
        await bench.pull()
        bench.later()
    mine = [name for name in bench.rig.held() if name != "Brocely"]
    expect(mine == ["Aubin", "Corre", "Danet"], "one person's deliveries are not there in their order, each once")


async def _bad_value(bench: Bench) -> None:
    delivery = bench.inbox.verified(bench.declare("Zzyzx"))
    connector = await bench.opened()
    try:
        wrong = ""
        try:
            await connector.write(delivery, {"name": ["Zzyzx"], "phone": None})
        except Reject as fault:
            wrong = f"{fault!r}{fault}"
        expect(wrong != "", "a list was taken where a text belongs")
        expect("Zzyzx" not in wrong, "an error repeats a value")
        await connector.flush()
        expect(None is await connector.find(delivery.delivery_id), "what was refused is found")
    finally:
        await connector.close()
    expect(list(bench.rig.held()) == [], "something was written of what was refused")


async def _check(bench: Bench) -> None:
    about = described(bench.rig.connector)
    expect(about is not None and bool(about.schema["properties"]), "it does not describe its settings (`about`)")
    before = _everything(bench.rig.place)
    found = await check(bench.rig.connector, bench.rig.settings(), bench.rig.mapping.targets, bench.ground)
    expect(found == (), f"`check` finds fault with settings that work: {found}")
    expect(before == _everything(bench.rig.place) and not list(bench.rig.held()), "`check` has changed something")
    for settings in bench.rig.wrong():
        wrong = await check(bench.rig.connector, settings, bench.rig.mapping.targets, bench.ground)
        expect(bool(wrong), f"`check` finds no fault with wrong settings: {sorted(settings)}")
        for fault in wrong:  # a connector of somebody else's has codes of its own, which we have no words for
            expect(fault.code not in table() or bool(explain(fault, "fr").remedy), f"{fault.code} has no remedy")


def _everything(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() if one.is_file() else b"" for one in sorted(folder.rglob("*"))}


CASES: Final[Mapping[Case, Callable[[Bench], Awaitable[None]]]] = MappingProxyType(
    {
        Case.REDELIVERY: _redelivery,
        Case.CRASH_BEFORE_FLUSH: _crash_before_flush,
        Case.CRASH_BEFORE_ACKNOWLEDGEMENT: _crash_before_acknowledgement,
        **{case: _bad_peer(case) for case in INFLICTED[:6]},
        Case.NEW_SCHEMA_VERSION: _new_schema_version,
        Case.WITHHELD_FIELD: _withheld_field,
        Case.ORDER: _order,
        Case.BAD_VALUE: _bad_value,
        Case.UNKNOWN_PERSON: _answering(Case.UNKNOWN_PERSON, Reason.UNKNOWN_PERSON),
        Case.SEVERAL_PERSONS: _answering(Case.SEVERAL_PERSONS, Reason.SEVERAL_PERSONS),
        Case.CHECK: _check,
    }
)
"""Every case, by its word."""
