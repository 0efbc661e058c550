"""Run: every case of a config, one after the other, against one sandbox; what comes out is the report.

Refuses: a config whose program cannot be run, before the first case.
Keeps: a case that fails does not touch the next: mischief is switched off, the clock is put right, what is left in the
mailbox is set aside. The sandbox's own state is checked at the end: a broker in contradiction proves nothing.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from broker.lab.conformance import cases, portal_cases, source_cases
from broker.lab.conformance.config import NEEDED, Config
from broker.lab.conformance.finding import Finding
from broker.lab.conformance.portal import PortalTrial, franceconnect
from broker.lab.conformance.program import Program, Tried, environment_of
from broker.lab.conformance.report import Report, Result
from broker.lab.conformance.source import SourceTrial
from broker.lab.conformance.trial import MOVED, Stop, Trial, Words
from broker.lab.sandbox.playground import Wanted
from broker.lab.sandbox.process import Live, live
from schemas.errors import Corrupt, Refused
from schemas.hpke import Suite
from schemas.names import PartyId, Purpose

PARTY: Final = PartyId("urn:unefois:conformance-agency")
AGED_MS: Final = 3_600_000
"""The sandbox is an hour old when it opens, so that its clock can be behind a program's."""
KNOWN: Final = frozenset({*cases.CASES, *source_cases.CASES, *portal_cases.CASES})
"""Every case by its name."""

Heard = Callable[[Result], None]


async def run(config: Config, folder: Path, log: Path, only: Sequence[str], heard: Heard) -> Report:
    """Play the cases; `folder`: where the programs are run; `log`: what they print; `only`: these, or all.

    `heard` gets each result as it comes. Raises Refused `conformance.*`, `sandbox.*`, `subscribing.*`.
    """
    results: list[Result] = []

    def keep(result: Result) -> None:
        results.append(result)
        heard(result)

    async with AsyncExitStack() as stack:
        sandbox = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unefois-conformance-"))) / "sandbox"
        doors = None if config.portal is None else await stack.enter_async_context(franceconnect())
        settings = {} if doors is None else doors.settings(PARTY)
        more: dict[str, Any] = {"works": False, "aged_ms": AGED_MS, "settings": settings}
        async with live(sandbox, wanted(config), config.listen, asyncio.Event(), **more) as made:
            environment = environment_of(made, config.environment)
            if config.receiver is not None:
                program = Program(config.receiver, folder, environment, log, config.patience_seconds)
                await receive(made, program, config, only, keep)
            if config.source is not None:
                trial = SourceTrial(made, config.source.command, folder, environment, log, config.patience_seconds)
                await declare(trial, config.skip, only, keep)
            if config.portal is not None and doors is not None:
                doors.open(made.play.home)
                told = {**config.environment}
                there = PortalTrial(made, doors, config.portal.command, folder, told, config.patience_seconds)
                await go(there, config.skip, only, keep)
            await made.play.home.ledger.sequence_unfinished()
            if await made.play.home.fsck.check():
                raise Corrupt("conformance.broker")
    return Report(tuple(results))


def wanted(config: Config) -> Wanted:
    """The administration that is tried."""
    receiver = config.receiver
    if receiver is None:
        return Wanted(PARTY, (MOVED,), Purpose("local-services"), NEEDED)
    return Wanted(PARTY, (MOVED,), Purpose(receiver.purpose), frozenset(receiver.fields), Suite[receiver.suite.upper()])


async def receive(
    made: Live, tried: Tried, config: Config, only: Sequence[str], keep: Heard, *, words: Words | None = None
) -> None:
    """Every case of a receiver. `words`: those of a sandbox in which others were tried before."""
    words = words or Words()
    batch = config.receiver.batch if config.receiver is not None else 2
    try:
        for name, case in cases.CASES.items():
            if only and name not in only:
                continue
            if name in config.skip:
                keep(Result(name, "receiver", skipped=config.skip[name]))
                continue
            trial = Trial(made, tried, words, config.patience_seconds, config.acknowledge_seconds, batch)
            if tried.forever:
                await tried.start()
            keep(await _played(name, "receiver", trial.findings, partial(case, trial), made))
    finally:
        await tried.kill()


async def declare(trial: SourceTrial, skip: Mapping[str, str], only: Sequence[str], keep: Heard) -> None:
    """Every case of a source."""
    for name, case in source_cases.CASES.items():
        if only and name not in only:
            continue
        if name in skip:
            keep(Result(name, "source", skipped=skip[name]))
            continue
        findings = trial.begin()
        keep(await _played(name, "source", findings, partial(case, trial), trial.live))


async def go(trial: PortalTrial, skip: Mapping[str, str], only: Sequence[str], keep: Heard) -> None:
    """Every case of a portal."""
    for name, case in portal_cases.CASES.items():
        if only and name not in only:
            continue
        if name in skip:
            keep(Result(name, "portal", skipped=skip[name]))
            continue
        findings = trial.begin()
        keep(await _played(name, "portal", findings, partial(case, trial), trial.live))


async def _played(
    name: str, role: str, findings: list[Finding], case: Callable[[], Awaitable[None]], made: Live
) -> Result:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        await case()
    except Stop:
        pass  # what was found says why
    except Refused as fault:
        if not fault.code.startswith("conformance."):
            raise
        findings.append(Finding("not-observable", {"code": fault.code, "error": fault.details.get("error", "-")}))
    finally:
        await _tidy(made)
    return Result(name, role, tuple(findings), seconds=loop.time() - began)


async def _tidy(made: Live) -> None:
    """As if nothing had been."""
    play = made.play
    play.mischiefs.clear()
    play.door.queued.clear()
    play.door.before.clear()
    play.door.losing.clear()
    play.late.clear()
    play.clock.set(0)
    await play.set_all_aside()
