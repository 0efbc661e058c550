"""The kit passes a careful receiver, and fails each careless one in the cases that are about its carelessness."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.conformance import run
from broker.conformance.cases import CASES
from broker.conformance.config import Config, Observe, Receiver
from broker.conformance.report import Result
from broker.sandbox.process import Live, live
from tests.conformance import agencies
from tests.conformance.agencies import Careful, InProcess

pytestmark = pytest.mark.asyncio

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
    agencies.IgnoresCorrections: {"correction": {"correction-ignored"}},
    agencies.IgnoresOrder: {"out-of-order": {"older-won"}},
    agencies.RefusesTheFuture: {"clock-skew": {"refused-near-future"}},
    agencies.BelievesTheFuture: {"clock-skew": {"believed-far-future"}},
    agencies.NeverReadsTheDirectoryAgain: {"key-rotation": {"not-applied"}},
    agencies.StumblesOverWithheld: {
        "revoked-in-flight": {"ended"},
        "pause": {"ended"},
        "expired": {"ended"},
    },
    agencies.ForgetsWithheld: {"pause": {"not-applied"}},
    agencies.NeverAcknowledges: {"slow-acknowledge": {"no-acknowledgement"}, "crash": {"no-acknowledgement"}},
    agencies.TakesOnePage: {"huge-batch": {"not-applied"}},
    agencies.GivesUpAt503: {"slow-acknowledge": {"ended"}},
}
"""Receiver -> the cases that it fails, and what is found in each."""
EVERY = bool(os.environ.get("UNEFOIS_CONFORMANCE"))
"""Every careless receiver in every case, and a batch of hundreds: `make test-conformance`. Else a few, in the case that
each has to fail.
"""
FEW = (agencies.IgnoresSignatures, agencies.AppliesTwice, agencies.WritesWithheldAsNull, agencies.IgnoresOrder)

CONFIG = Config(
    version=1,
    receiver=Receiver(command=["-"], observe=Observe(file=Path("-")), batch=200 if EVERY else 12),
    patience_seconds=30,
)


@asynccontextmanager
async def sandbox(folder: Path) -> AsyncIterator[Live]:
    """A sandbox whose state has to be consistent in the end."""
    stop = asyncio.Event()
    async with live(folder, run.wanted(CONFIG), CONFIG.listen, stop, works=False, aged_ms=run.AGED_MS) as made:
        yield made
        await made.play.home.ledger.sequence()
        assert [] == await made.play.home.fsck.check()


async def played(made: Live, kind: type[Careful], only: list[str]) -> dict[str, set[str]]:
    """What is found in the cases of a receiver that runs in this process; an empty set for one that is passed."""
    results: dict[str, Result] = {}
    told = json.loads(made.agency_file.read_text())
    tried = InProcess(lambda: kind(told, made.folder / f"{kind.__name__}.db"))
    await run.receive(made, tried, CONFIG, only, lambda result: results.update({result.case: result}))
    return {name: {one.key for one in result.findings} for name, result in results.items()}


async def test_a_careful_receiver_passes_every_case(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as made:
        found = await played(made, Careful, [])

    assert {name: set() for name in CASES} == found


@pytest.mark.skipif(EVERY, reason="each of them is tried in every case, below")
async def test_some_careless_receivers_fail_and_the_careful_one_passes_after_them(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as made:
        for kind in FEW:
            (case, keys), *_ = CARELESS[kind].items()
            assert {case: keys} == await played(made, kind, [case])
        assert {"ordinary": set(), "duplicate": set()} == await played(made, Careful, ["ordinary", "duplicate"])


@pytest.mark.skipif(not EVERY, reason="takes minutes: make test-conformance")
@pytest.mark.parametrize("kind", CARELESS, ids=lambda kind: kind.__name__)
async def test_a_careless_receiver_fails_for_the_right_reason_and_for_no_other(
    tmp_path: Path, kind: type[Careful]
) -> None:
    async with sandbox(tmp_path) as made:
        found = await played(made, kind, [])

    expected = CARELESS[kind]
    assert expected == {name: found[name] & keys for name, keys in expected.items()}
    if kind is not agencies.NeverAcknowledges:  # which fails everywhere
        assert set(expected) == {name for name, keys in found.items() if keys}
