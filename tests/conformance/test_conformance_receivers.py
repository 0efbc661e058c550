"""The kit passes a careful receiver, and fails each careless one in the cases that are about its carelessness."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from broker.lab.conformance import run
from broker.lab.conformance.cases import CASES
from broker.lab.conformance.config import Config, Observe, Receiver
from broker.lab.conformance.report import Result
from broker.lab.conformance.trial import Words
from broker.lab.sandbox.process import Live, live
from tests.conformance import agencies
from tests.conformance.agencies import Careful, InProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGAIN = ("unknown-person", "several-persons", "document-needed", "technical")
"""Answers after which a delivery comes again, older than what came meanwhile."""
CARELESS: dict[type[Careful], dict[str, set[str]]] = {
    agencies.IgnoresSignatures: {"bad-signature": {"applied-tampered"}},
    agencies.IgnoresStatements: {"wrong-statement": {"applied-tampered"}},
    agencies.AppliesTwice: {
        "duplicate": {"applied-twice"},
        "expired": {"applied-twice"},
        "slow-acknowledge": {"applied-twice"},
        "crash": {"applied-twice"},
    },
    agencies.AcknowledgesFirst: {
        "crash": {"acknowledged-before-writing"},
        "bad-signature": {"ended"},
        "wrong-statement": {"ended"},
        "clock-skew": {"ended"},
    },
    agencies.WritesWithheldAsNull: {"withheld-or-null": {"withheld-erased"}},
    agencies.KeepsWhatBecameNull: {"withheld-or-null": {"null-kept"}},
    agencies.StopsAtUnknownValues: {"unknown-enum": {"ended"}},
    agencies.StopsAtUnknownSchemas: {"new-schema": {"ended"}, "unknown-enum": {"ended"}},
    agencies.IgnoresCorrections: {"correction": {"correction-ignored"}, "partly": {"correction-ignored"}},
    agencies.IgnoresOrder: {case: {"older-won"} for case in ("out-of-order", *AGAIN)},
    agencies.LeavesTheOlderOpen: {
        **{case: {"left-hanging"} for case in ("out-of-order", *AGAIN)},
        **{case: {"ended"} for case in ("bad-signature", "wrong-statement", "clock-skew")},
    },
    agencies.RefusesTheFuture: {"clock-skew": {"refused-near-future"}},
    agencies.BelievesTheFuture: {"clock-skew": {"believed-far-future"}},
    agencies.NeverReadsTheDirectoryAgain: {"key-rotation": {"not-applied"}, "forged-directory": {"not-acknowledged"}},
    agencies.BelievesAnyDirectory: {"forged-directory": {"believed-forged-directory"}},
    agencies.StumblesOverWithheld: {
        "revoked-in-flight": {"ended"},
        "pause": {"ended"},
        "expired": {"ended"},
    },
    agencies.ForgetsWithheld: {"pause": {"not-applied"}},
    agencies.NeverAcknowledges: {
        **{case: {"not-acknowledged"} for case in CASES},
        "new-schema": {"not-acknowledged", "left-hanging"},
        "unknown-enum": {"not-acknowledged", "left-hanging"},
        "slow-acknowledge": {"no-acknowledgement"},
        "crash": {"no-acknowledgement"},
    },
    agencies.TakesOnePage: {"huge-batch": {"not-applied"}},
    agencies.GivesUpAt503: {"slow-acknowledge": {"ended"}},
}
"""Receiver -> the cases that it fails, and what is found in each."""
EVERY = bool(os.environ.get("UNEFOIS_CONFORMANCE"))
"""Every careless receiver in every case: `make test-conformance`. Else a few, in the case that each has to fail."""
FEW = (
    agencies.BelievesAnyDirectory,
    agencies.IgnoresSignatures,
    agencies.AppliesTwice,
    agencies.WritesWithheldAsNull,
    agencies.IgnoresOrder,
    agencies.LeavesTheOlderOpen,
)

CONFIG = Config(
    version=1,
    receiver=Receiver(
        command=["-"], observe=Observe(file=Path("-")), batch=12
    ),  # hundreds: tests/agency/test_sample_town.py
    patience_seconds=60,
    acknowledge_seconds=0.5,  # these acknowledge before they pull again, or never
)


@dataclass(frozen=True)
class Shared:
    """One sandbox in which one receiver after the other is tried; `words`: so that none meets people of another's."""

    live: Live
    words: Words


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shared]:
    """A sandbox whose state has to be consistent in the end."""
    folder, stop = tmp_path_factory.mktemp("sandbox"), asyncio.Event()
    async with live(folder, run.wanted(CONFIG), CONFIG.listen, stop, works=False, aged_ms=run.AGED_MS) as made:
        yield Shared(made, Words())
        await made.play.home.ledger.sequence_unfinished()
        assert [] == await made.play.home.fsck.check()


async def played(shared: Shared, kind: type[Careful], only: list[str]) -> dict[str, set[str]]:
    """What is found in the cases of a receiver that runs in this process; an empty set for one that is passed."""
    results: dict[str, Result] = {}
    made = shared.live
    told = json.loads(made.agency_file.read_text())
    tried = InProcess(lambda: kind(told, made.folder / f"{kind.__name__}.db"))

    def heard(result: Result) -> None:
        results[result.case] = result

    await run.receive(made, tried, CONFIG, only, heard, words=shared.words)
    return {name: {one.key for one in result.findings} for name, result in results.items()}


async def test_a_careful_receiver_passes_every_case(shared: Shared) -> None:
    assert {name: set() for name in CASES} == await played(shared, Careful, [])


@pytest.mark.skipif(EVERY, reason="each of them is tried in every case, below")
async def test_some_careless_receivers_fail_and_the_careful_one_passes_after_them(shared: Shared) -> None:
    for kind in FEW:
        (case, keys), *_ = CARELESS[kind].items()
        assert {case: keys} == await played(shared, kind, [case])
    for kind, case in ((agencies.IgnoresOrder, "technical"), (agencies.IgnoresCorrections, "partly")):
        assert {case: CARELESS[kind][case]} == await played(shared, kind, [case])
    assert {"ordinary": set(), "duplicate": set()} == await played(shared, Careful, ["ordinary", "duplicate"])


@pytest.mark.skipif(not EVERY, reason="takes minutes: make test-conformance")
@pytest.mark.parametrize("kind", CARELESS, ids=lambda kind: kind.__name__)
async def test_a_careless_receiver_fails_for_the_right_reason_and_for_no_other(
    shared: Shared, kind: type[Careful]
) -> None:
    found = await played(shared, kind, [])

    assert CARELESS[kind] == {name: keys for name, keys in found.items() if keys}
