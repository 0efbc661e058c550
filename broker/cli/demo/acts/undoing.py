"""Undoing: a fund that does not find a person, a move that is taken back, a bank account that is stopped in time.

Refuses: nothing.
Keeps: what each system holds is read there; where a number must be in one place, it is looked for in all of them.
"""

from collections.abc import Mapping
from typing import Any

from broker.cli.demo import cast, systems
from broker.cli.demo.acts.allowing import voice_of
from broker.cli.demo.acts.declaring import readable
from broker.cli.demo.stage import Stage
from broker.consents.consents import GrantRequest
from broker.flow.tracking import Progress, Step
from broker.services import repairing, retractions
from broker.setup import opening
from consent.basis import CONSENT
from consent.explain import explain_reason
from schemas.assurance import SURE
from schemas.names import DeclarationId, PartyId, Reason, uuid_text

HOLD_HOURS = 72


async def undo(stage: Stage) -> None:
    """Three things that go wrong, each put right by the citizen."""
    declared = await _not_found(stage)
    await _take_back(stage, declared)
    await _stop(stage)


async def _not_found(stage: Stage) -> DeclarationId:
    """The fund answers that it does not know her; she adds her number; the same declaration arrives."""
    home, health = stage.home, cast.by_key("health")
    (wanted,) = [each for each in health.wants if each.event_type == cast.ADDRESS]
    voice = voice_of(stage, "")
    await home.consents.give(
        GrantRequest(
            subject=await home.desk.subject(cast.strangers_move()),
            recipient=health.party,
            event_type=cast.ADDRESS,
            purpose=wanted.purpose,
            fields=frozenset(wanted.granted),
            basis=CONSENT,
            voice=voice,
        )
    )
    stage.health.strangers.add(cast.STRANGER["family_name"])
    declared = (await home.desk.declare(cast.PORTAL, cast.ADDRESS, cast.strangers_move())).declaration_id
    await home.router.route()
    await stage.ring()
    answered = await _step(stage, declared, health.party)
    why = explain_reason(Reason.UNKNOWN_PERSON, stage.words.language)
    said = (answered.progress, answered.reason)
    stage.claim("undoing.unknown", held=said == (Progress.TO_COMPLETE, Reason.UNKNOWN_PERSON), evidence=why)

    asked = repairing.Repair(declared, health.party, cast.STRANGER, "numéro de sécurité sociale", cast.THEIR_NUMBER)
    await repairing.repair(home, asked, voice)
    await home.router.route()
    await stage.ring()
    await home.repairs.step()
    await stage.health.fetch()
    done = await _step(stage, declared, health.party)
    stage.claim("undoing.repaired", held=done.progress is Progress.DONE and _kept(stage, declared) == 1)
    places = {key for key in _folders(stage) if readable(stage.folder(key), [cast.THEIR_NUMBER])[0]}
    stage.claim("undoing.number", held=places == {"health"}, evidence=", ".join(sorted(places)))
    return declared


async def _take_back(stage: Stage, declared: DeclarationId) -> None:
    """She does not move after all: who has it is told to undo it, who has it not never gets it."""
    home, tax = stage.home, cast.by_key("tax").party
    await retractions.cancel(home, declared, reason="changed-mind")
    await home.router.route()
    reports = await stage.deliver()
    told = [each["record"] for each in stage.health.kept() if each["record"].get("declaration") == uuid_text(declared)]
    never = await _step(stage, declared, tax)
    unheard = not any(row["nom_naissance"] == "LAGADEC-PRAT" for row in systems.rows(stage, "tax"))
    closed = (never.progress, never.reason) == (Progress.WITHHELD, Reason.CANCELLED)
    why = explain_reason(Reason.CANCELLED, stage.words.language)
    stage.claim("undoing.cancelled", held=closed and unheard and not reports["tax"].rejected, evidence=why)
    only = [set(record) == {"declaration", "reason"} and record["reason"] == "changed_mind" for record in told]
    stage.claim("undoing.told", held=only == [True], evidence=cast.by_key("health").name[stage.words.language])


async def _stop(stage: Stage) -> None:
    """Somebody redirects her payments. Nobody gets a new account for three days, and she stops it meanwhile."""
    chosen = stage.settings.model_copy(update={"bank_hold_hours": HOLD_HOURS})
    async with opening.open_home(chosen) as home:  # as it is meant; the other acts have no three days
        account: Mapping[str, Any] = cast.account(cast.THIEF)
        before = stage.health.kept()
        said = await home.desk.declare(cast.PORTAL, cast.BANK, account, provenance=SURE)
        await home.router.route()
        waiting = await home.inbox(cast.by_key("health").party).ready(10)
        subject = await home.desk.subject(account)
        held = [one.declaration for one in await retractions.held(home, subject)]
        nobody = not waiting and said.declaration_id in held
        stage.claim("undoing.held", held=nobody, hours=HOLD_HOURS)
        await retractions.stop(home, subject, said.declaration_id, given_by="self")
    await stage.deliver()
    steps = (await stage.home.tracking.track(said.declaration_id)).steps
    reasons = {step.reason for step in steps if step.recipient == cast.by_key("health").party}
    found, _ = readable(stage.root, [cast.THIEF])
    stopped = reasons == {Reason.STOPPED} and stage.health.kept() == before and not found
    stage.claim("undoing.stopped", held=stopped, evidence=explain_reason(Reason.STOPPED, stage.words.language))


async def _step(stage: Stage, declared: DeclarationId, recipient: PartyId) -> Step:
    steps = (await stage.home.tracking.track(declared)).steps
    (step,) = [one for one in steps if one.recipient == recipient]
    return step


def _kept(stage: Stage, declared: DeclarationId) -> int:
    """How many files of the fund are of this declaration."""
    return sum(each["delivery"]["declaration_id"] == uuid_text(declared) for each in stage.health.kept())


def _folders(stage: Stage) -> list[str]:
    return sorted(path.name for path in stage.root.iterdir() if path.is_dir())
