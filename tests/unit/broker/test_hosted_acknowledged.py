"""A hosted agency whose program answers by files: the citizen's delivery waits for it, and then has its answer."""

import json
from pathlib import Path

import pytest

from broker.runtime.hosting import load, run_hosted
from tests.announced import announce
from tests.world import MOVED, RENNES, TOWN, World

MAPPING = """
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {nom: upper(record.subject.family_name), ville: record.new_address.city}
"""


@pytest.mark.asyncio
async def test_a_delivery_waits_for_the_answer_of_a_file_and_is_applied_by_it(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(monkeypatch)
    agencies, out = tmp_path / "agencies", tmp_path / "out"
    for folder in (agencies, agencies / "own", out):
        folder.mkdir()
    (agencies / "own" / "small.yaml").write_text(MAPPING)
    settings = {"folder": str(out), "name": "m-{number}.csv", "acknowledgement": {"days": 3}}
    route = {"mapping": "own/small.yaml", "connector": "file", "settings": settings}
    (agencies / "rennes.yaml").write_text(json.dumps({"party": RENNES, "routes": [route]}))
    await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
    accepted = await here.declare(MOVED, here.moved())
    (hosted,) = load(agencies)

    async def state() -> tuple[str, ...]:
        await run_hosted(here.home, hosted)
        track = await here.home.tracking.track(accepted.declaration_id)
        return tuple(step.progress.value for step in track.steps if step.recipient == RENNES)

    told = [await state()]
    (out / "ACK_m-000001.csv").write_text("2;applied;R-1\n")
    for seconds in (61, 59, 2):  # a look once a minute, and two of them alike
        here.clock.pass_(seconds * 1000)
        told.append(await state())
    assert [("in-progress",)] * 3 + [("done",)] == told
    assert ["ACK_m-000001.csv.read", "m-000001.csv"] == sorted(one.name for one in out.glob("[!.]*"))
    await here.step()
