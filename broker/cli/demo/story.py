"""Story: the acts in their order, each with what it needs from those before.

Refuses: to go on after a fault: an act that stops is a claim that failed.
Keeps: the test runs this very generator, so the story told and the story tested are one.
"""

from collections.abc import AsyncIterator

from broker.cli.demo.acts.allowing import allow, rehearse
from broker.cli.demo.acts.attacking import attack
from broker.cli.demo.acts.correcting import correct
from broker.cli.demo.acts.declaring import declare
from broker.cli.demo.acts.delivering import compare, deliver
from broker.cli.demo.acts.household import move_together
from broker.cli.demo.acts.proving import newest, prove, publish, tamper
from broker.cli.demo.acts.renaming import rename
from broker.cli.demo.acts.revoking import revoke
from broker.cli.demo.acts.ruling import rule
from broker.cli.demo.acts.sheltering import shelter
from broker.cli.demo.acts.undoing import undo
from broker.cli.demo.stage import Stage

ACTS = (
    "allow",
    "rehearse",
    "declare",
    "deliver",
    "compare",
    "revoke",
    "correct",
    "ruling",
    "undoing",
    "sheltering",
    "household",
    "renaming",
    "attack",
    "prove",
    "publish",
    "tamper",
)


async def play(stage: Stage) -> AsyncIterator[str]:
    """Play every act; gives each one's key when it has ended. Raises what an act raises."""
    async with stage.act("allow"):
        allowed = await allow(stage)
    yield "allow"
    async with stage.act("rehearse"):
        dry = await rehearse(stage)
    yield "rehearse"
    async with stage.act("declare"):
        declared = await declare(stage, dry)
    kept = await newest(stage)
    yield "declare"
    async with stage.act("deliver"):
        await deliver(stage, declared)
    yield "deliver"
    async with stage.act("compare"):
        await compare(stage, declared)
    yield "compare"
    async with stage.act("revoke"):
        revoked = await revoke(stage, allowed)
    yield "revoke"
    async with stage.act("correct"):
        await correct(stage, declared)
    yield "correct"
    async with stage.act("ruling"):
        await rule(stage)
    yield "ruling"
    async with stage.act("undoing"):
        await undo(stage)
    yield "undoing"
    async with stage.act("sheltering"):
        await shelter(stage)
    yield "sheltering"
    async with stage.act("household"):
        await move_together(stage)
    yield "household"
    async with stage.act("renaming"):
        await rename(stage)
    yield "renaming"
    async with stage.act("attack"):
        await attack(stage, declared)
    yield "attack"
    async with stage.act("prove"):
        await prove(stage, declared, revoked)
    yield "prove"
    async with stage.act("publish"):
        await publish(stage, kept)
    yield "publish"
    async with stage.act("tamper"):
        await tamper(stage)
    yield "tamper"
