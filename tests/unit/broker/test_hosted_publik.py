"""A citizen consents and declares, and the town that is hosted with the `publik` connector has one form of Publik."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.runtime.hosting import load, run_hosted
from tests.announced import announce
from tests.publik import server
from tests.publik.rules import Access, Door
from tests.publik.server import serving
from tests.publik.site import Form, Site
from tests.world import MOVED, RENNES, TOWN, World

MAPPING = """
name: small
version: 1
event_type: fr.unefois.address.changed.v1
direction: out
fields: {nom: record.subject.family_name, ville: record.new_address.city}
"""


@pytest.mark.asyncio
async def test_a_declaration_is_one_form_although_the_answer_was_lost(
    here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(monkeypatch)
    agencies, key = tmp_path / "agencies", tmp_path / "key"
    agencies.mkdir()
    key.write_text("clé", "utf-8")
    key.chmod(0o600)
    (agencies / "small.yaml.txt").write_text(MAPPING)
    fields = [{"type": "string", "varname": name} for name in ("nom", "ville", "reference")]
    form = Form("demenagement", fields)
    site = Site(Door(datetime.fromtimestamp(here.clock() / 1000, UTC), [Access("pont", "clé")]), {form.slug: form})
    await here.give(RENNES, MOVED, TOWN, ["subject", "new_address"])
    await here.declare(MOVED, here.moved())
    with serving(site) as served:
        settings = {"url": served.url, "form": form.slug, "access": "pont", "key_file": str(key), "field": "reference"}
        settings["journal"] = str(tmp_path / "publik.db")
        route = {"mapping": "./small.yaml.txt", "connector": "publik", "settings": settings}
        (agencies / "rennes.yaml").write_text(json.dumps({"party": RENNES, "routes": [route]}))
        (hosted,) = load(agencies)
        served.faults.extend([None, None, None, server.lost])
        site.door.now = datetime.fromtimestamp(here.clock() / 1000, UTC)

        report = await run_hosted(here.home, hosted)

    assert (1, 1) == (report.pulled, len(report.applied))
    assert [("MARTIN", "Rennes")] == [(one.values["nom"].upper(), one.values["ville"]) for one in form.data]
    await here.step()
