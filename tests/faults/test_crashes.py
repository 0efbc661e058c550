"""SIGKILL at every crash point: what was interrupted is done again by the normal path; nothing is lost or repeated."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import broker
from broker.observability.crashpoints import marked
from broker.setup.opening import open_unchecked
from schemas.facts import FactKind
from tests.faults import day
from tests.faults.day import AFTER, NEW, STEPS, opened, rows, run, summary
from tests.faults.forker import READY, Golden
from tests.world import CAF, CPAM, DAY, Clock, settings

ELSEWHERE = ("kafka.", "witness.")
"""Marks of the Kafka adapter are passed where a Kafka runs: `tests/contract/test_log.py`; a witness has no home and no
day: `tests/unit/broker/transparency/test_witness.py`.
"""
pytestmark = pytest.mark.more
EVERY_PASSAGE = os.environ.get("UNEFOIS_FAULTS") == "all"
"""Kill at every passage of every mark, not only at the first."""

# mark -> the step of the day that passes there
SCENARIOS = {
    "acts.kept": "allow",
    "answering.done": "allow",
    "answers.claimed": "declare",
    "answers.kept": "declare",
    "answers.released": "declare",
    "belonging.id-kept": "create",
    "belonging.origin-kept": "create",
    "belonging.pinned": "create",
    "consents.changed": "change",
    "consents.given": "allow",
    "credentials.issued": "enrol",
    "credentials.revoked": "rotate",
    "origins.changed": "settle",
    "origins.end-kept": "succeed",
    "origins.first-kept": "upgrade",
    "origins.successor-named": "succeed",
    "origins.told": "settle",
    "carrying.done": "upgrade",
    "disclosing.told": "disclose",
    "erased.channels": "leave",
    "erased.emptied": "leave",
    "erasing.erased": "erase",
    "expiry.claimed": "mourn",
    "expiry.noted": "mourn",
    "expiry.planned": "mourn",
    "notices.claimed": "mourn",
    "notices.noted": "mourn",
    "uses.noted": "enrol",
    "oauth.followed": "enrol",
    "oauth.pinned": "enrol",
    "oauth.spent": "enrol",
    "cosigning.kept": "publish",
    "backups.copied": "restore",
    "dead.replayed": "replay",
    "epochs.begun": "month",
    "directory.completed": "rotate",
    "endings.appended": "change",
    "endings.begun": "create",
    "endings.compacted": "years",
    "endings.completed": "create",
    "endings.marked": "publish",
    "endings.unfinished": "publish",
    "endings.written": "change",
    "epochs.consent-destruction-written": "years",
    "epochs.consent-key-written": "month",
    "epochs.gate-destruction-written": "years",
    "epochs.gate-key-written": "month",
    "epochs.gate-opened": "month",
    "epochs.leftovers-written": "litter",
    "epochs.rewrapped": "month",
    "epochs.tidied": "litter",
    "export.done": "publish",
    "export.tile": "publish",
    "forgotten.gone": "ages",
    "gate.committed": "pull",
    "gate.recorded": "pull",
    "inlet.answered": "write",
    "inlet.begun": "write",
    "inlet.taken": "write",
    "intake.appended": "declare",
    "intake.written-down": "declare",
    "keys.change-begun": "settle",
    "keys.change-locked": "settle",
    "keys.overwritten": "litter",
    "keys.replaced": "settle",
    "keys.shredded": "litter",
    "keys.unfinished": "enrol",
    "keys.written": "enrol",
    "ledger.sequenced": "publish",
    "log.append": "forge",
    "log.appended": "forge",
    "mailbox.finished": "refuse",
    "mailbox.given-back": "relay",
    "mailbox.held": "relay",
    "mailbox.later": "later",
    "mailbox.handed-out": "pull",
    "members.beaten": "meet",
    "members.claimed": "meet",
    "members.left": "meet",
    "migrate.upgraded": "create",
    "move.closing": "move",
    "move.log-closing": "carry",
    "move.log-copied": "carry",
    "move.copied": "move",
    "move.copy": "move",
    "parties.enrolled": "enrol",
    "parties.keys-written": "enrol",
    "parties.rotated": "rotate",
    "planner.delivery": "route",
    "planner.withholding": "route",
    "pruning.batch": "month",
    "publication.noted": "publish",
    "registrar.key-added": "enrol",
    "registrar.key-revoked": "rotate",
    "registrar.party": "enrol",
    "registrar.policy": "enrol",
    "registrar.right": "enrol",
    "registrar.right-ended": "rotate",
    "registrar.rotated": "rotate",
    "relay.appended": "relay",
    "protecting.changed": "shelter",
    "protecting.ended": "shelter",
    "protecting.veiled": "shelter",
    "protecting.written": "shelter",
    "relay.leased": "relay",
    "repairs.begun": "repair",
    "repairs.tried": "repair",
    "restoring.aside": "restore",
    "restoring.copied": "restore",
    "restoring.placed": "restore",
    "retracting.written": "retract",
    "retraction-notices.planned": "retract",
    "router.batch": "route",
    "router.parked": "route",
    "rules.asked": "change",
    "purposes.added": "change",
    "purposes.approved": "change",
    "rules.changed": "change",
    "consents.objected": "change",
    "contact.renewed": "rename",
    "linking.asked": "rename",
    "linking.confirmed": "rename",
    "linking.ended": "rename",
    "representing.started": "family",
    "representing.ended": "family",
    "citizens.code-made": "come",
    "citizens.code-used": "come",
    "citizens.ended": "come",
    "citizens.known": "come",
    "citizens.opened": "come",
    "citizens.touched": "come",
    "households.opened": "family",
    "households.decided": "family",
    "tallies.counted": "come",
    "drafts.inserted": "begin",
    "drafts.written": "begin",
    "drafts.saved": "begin",
    "drafts.begun": "begin",
    "drafts.resumed": "begin",
    "drafts.closed": "begin",
    "channels.added": "address",
    "channels.ended": "address",
    "messages.claimed": "inform",
    "messages.late": "remind",
    "messages.noted": "inform",
    "messages.planned": "inform",
    "rows.adopted": "upgrade",
    "rows.committed": "upgrade",
    "rows.key-made": "upgrade",
    "rows.vouched": "upgrade",
    "rows.vouched-committed": "upgrade",
    "rows.written": "enrol",
    "telling.claimed": "tell",
    "telling.noted": "tell",
    "subscribing.asked": "enrol",
    "subscribing.changed": "enrol",
    "subscribing.paused": "enrol",
    "subscribing.resumed": "rotate",
    "succeeding.entered": "succeed",
    "succeeding.lifted": "succeed",
    "succeeding.signed": "succeed",
    "preflight.pinned": "meet",
    "timekeeping.believed": "month",
    "topics.allowed": "enrol",
    "topics.ended": "rotate",
    "viewing.recorded": "change",
    "webhooks.added": "enrol",
    "webhooks.changed": "rotate",
}

# What an interruption may leave behind, by the step: each was told beside its mark
LEFT = {
    # private keys that nobody knows of, and that nothing is sealed to
    "enrol": {"secrets"},
    "rotate": {"secrets"},
    # the same bytes twice in the log: the router drops the second
    "declare": {"log"},
    "forge": {"log"},
    "retract": {"log"},
    "family": {"log"},
    # the same delivery twice on its topic, under the same id: its reader drops the second
    "relay": {"log"},
    # a receipt or a dead record twice, with the same offset in its headers; what was accepted, twice in the log
    "write": {"log"},
    # released, and the answer never came: the agency asks again, and the ledger says that too
    "pull": {"entries"},
    "refuse": {"entries"},
}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the day without a crash is lived."""
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def forker(lived: Path) -> Iterator["subprocess.Popen[str]"]:
    """The process that has lived the day and forks."""
    command = [sys.executable, "-m", "tests.faults.forker", str(lived)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert READY == process.stdout.readline().strip()
        yield process


@pytest.fixture(scope="module")
def golden(lived: Path, forker: "subprocess.Popen[str]") -> Golden:
    """The day without a crash."""
    return Golden.of(lived)


def killed(forker: "subprocess.Popen[str]", home: Path, step: str, setting: str) -> int:
    """How a child ended that ran a step with a trap set: the signal."""
    assert forker.stdin is not None
    assert forker.stdout is not None
    print(step, setting, home, file=forker.stdin, flush=True)
    return int(forker.stdout.readline())


def passages(golden: Golden, mark: str) -> list[int]:
    """At which passages to kill."""
    last = golden.passed.get((SCENARIOS[mark], mark), 0)
    return list(range(1, last + 1 if EVERY_PASSAGE else 2))


def test_every_crash_point_has_its_scenario_and_every_scenario_passes_there(golden: Golden) -> None:
    marks = [name for name in marked(Path(broker.__file__).parent) if not name.startswith(ELSEWHERE)]
    assert sorted(marks) == sorted(SCENARIOS)
    assert [] == [mark for mark in marks if (SCENARIOS[mark], mark) not in golden.passed]


EACH = 3
"""`make test` kills at each third mark, and looks whether the day passes at all of them; the proofs kill at all."""
MARKS = [
    pytest.param(mark, marks=() if number % EACH == 0 else (pytest.mark.proof,))
    for number, mark in enumerate(sorted(SCENARIOS))
]


@pytest.mark.parametrize("mark", MARKS)
def test_what_a_power_cut_interrupts_is_done_again_once(
    golden: Golden, forker: "subprocess.Popen[str]", tmp_path: Path, mark: str
) -> None:
    step = SCENARIOS[mark]
    for passage in passages(golden, mark):
        home = tmp_path / str(passage)
        shutil.copytree(golden.before[step], home)

        assert signal.SIGKILL == killed(forker, home, step, f"{mark}:{passage}")

        asyncio.run(_again(home, step, golden.after[step]))


@pytest.mark.parametrize("mark", ["endings.appended", "endings.written"])
@pytest.mark.parametrize("step", ["rotate", "change"])
def test_an_ending_that_a_power_cut_kept_from_its_commit_is_completed_by_the_next_start(
    golden: Golden, forker: "subprocess.Popen[str]", tmp_path: Path, step: str, mark: str
) -> None:
    assert 1 < golden.passed[step, mark]
    for passage in range(1, golden.passed[step, mark] + 1):
        home = tmp_path / str(passage)
        shutil.copytree(golden.before[step], home)

        assert signal.SIGKILL == killed(forker, home, step, f"{mark}:{passage}")

        asyncio.run(_completed(home, step))


async def _completed(home: Path, step: str) -> None:
    """Nobody asks for anything again: the start alone does it."""
    clock = Clock()
    clock.pass_(STEPS[step][0] + AFTER)
    async with open_unchecked(settings(home), clock) as before:
        assert {"endings.behind"} == {one.check for one in await before.fsck.check()}
    async with opened(home, STEPS[step][0] + AFTER) as here:
        assert set() == {one.check for one in await here.home.fsck.check()}
        await here.step()


async def _again(home: Path, step: str, expected: dict[str, Any]) -> None:
    """The same step by the normal path; then everything that waits, to its end."""
    await run(home, step, AFTER)
    async with opened(home, STEPS[step][0] + AFTER) as here:
        await here.home.epochs.finish()
        found = await summary(here)
        left = LEFT.get(step, set())
        assert {name: told for name, told in expected.items() if name not in left} == {
            name: told for name, told in found.items() if name not in left
        }
        if "entries" in left:
            again = found["entries"] - expected["entries"]
            assert set(again) <= {FactKind.RELEASED.value}, again
        await here.step()
        await _close_of_business(here)


async def _close_of_business(here: Any) -> None:
    """Everything that was declared and allowed has reached who may have it, once."""
    await here.home.router.route()
    await day.take(here)
    here.clock.pass_(DAY)
    await day.take(here)
    await here.step()
    told = {
        kind: [entry.delivery for entry in await here.entries(kind)] for kind in (FactKind.APPLIED, FactKind.RECEIVED)
    }
    written = [row["delivery"] for party in (CAF, CPAM, NEW) for row in rows(here, party)]
    assert len(written) == len(set(written))
    assert sorted(written) == sorted(one.hex() for one in told[FactKind.APPLIED] if one is not None)
    assert len(list(here.folder.glob("receipt-*"))) <= len(told[FactKind.RECEIVED])
    states = (await summary(here))["deliveries"]
    assert not [state for _, state, _ in states if state in {"pending", "handed", "released"}]
