"""`unefois demo --serve`: the pages answer, the cast does its work, and Ctrl-C leaves nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from broker.lab.web_demo import town
from broker.lab.web_demo.cast import MOVE, OFFICES
from broker.lab.web_demo.work import AtWork
from broker.services.citizens import choices, following, forms
from broker.services.citizens.choices import Wish
from broker.services.citizens.forms import Form
from schemas.names import Purpose, from_rfc3339
from tests.citizens import sign_in
from tests.program import Program
from tests.world import RENNES_ADDRESS, Clock

ROOT = Path(__file__).parents[2]
MOVED: dict[str, Any] = {
    "effective_date": "2026-12-01",
    "new_address": RENNES_ADDRESS,
    "old_commune": "44109",
    "new_commune": "35238",
    "new_country": "99100",
    "occupants": 1,
}


def test_the_process_answers_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "LANG": "C"}
    words = [sys.executable, "-m", "broker", "demo", "--serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        place = process.stdout.readline().split()[-1]
        for path in ("", "/connexion", "/accessibilite"):
            assert httpx2.get(place + path).status_code == 200, path
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(timeout=30)
    assert [] == list(tmp_path.iterdir())


def test_nobody_else_on_the_network_can_reach_it(tmp_path: Path) -> None:
    assert "sandbox.listen" == Program(tmp_path).error("demo", "--serve", "--listen", "0.0.0.0:0", code=3)["code"]


@pytest.mark.asyncio
async def test_the_cast_hears_asks_for_a_number_and_undoes(tmp_path: Path) -> None:
    async with town.founded(tmp_path, "http://127.0.0.1:8480", Clock()) as (home, _):
        offices = {one.party.rpartition(":")[2]: AtWork(one, home) for one in OFFICES}
        here: Any = SimpleNamespace(home=home, clock=home.clock)
        _, citizen = await sign_in(here)
        family = offices["famille"].office
        wish = Wish(
            recipient=family.party,
            event_type=MOVE,
            purpose=Purpose("family-benefits"),
            fields=frozenset(family.hears[0].fields),
        )
        await choices.give(home, citizen, wish, (await choices.preview(home, citizen, wish))["text_sha256"])
        health = Wish(
            recipient=offices["sante"].office.party,
            event_type=MOVE,
            purpose=Purpose("health-insurance"),
            fields=frozenset(offices["sante"].office.hears[0].fields),
        )
        await choices.give(home, citizen, health, (await choices.preview(home, citizen, health))["text_sha256"])
        of = forms.begin(home)
        await forms.declare(home, citizen, Form(MOVE, MOVED), of)
        await home.router.route()

        done = {name: await one.look() for name, one in offices.items()}
        assert {"impots": 1, "energie": 1, "famille": 1, "sante": 1, "rennes": 0} == done
        assert "new_address" not in offices["energie"].file[of]
        assert of not in offices["sante"].file
        steps = {one["recipient"]["party"]: one for one in (await following.track(home, citizen, of))["steps"]}
        assert steps["urn:unefois:sante"]["repairable"]

        asked = {"number_kind": "numéro de sécurité sociale", "number": "2850444109001"}
        shown = await following.explain_repair(home, citizen, of, health.recipient, **asked)
        until = from_rfc3339(shown["until"])
        assert until is not None
        await following.repair(
            home, citizen, of, health.recipient, **asked, until=until, text_sha256=shown["text_sha256"]
        )
        await home.router.route()
        assert 1 == await offices["sante"].look()  # the number
        await home.repairs.step()
        assert 1 == await offices["sante"].look()  # the same declaration once more
        assert of in offices["sante"].file

        await following.cancel(home, citizen, of, "changed-mind")
        await home.router.route()
        for one in offices.values():
            await one.look()
        assert {name: {} for name in offices} == {name: one.file for name, one in offices.items()}
        await home.ledger.sequence_unfinished()
        assert [] == list(await home.fsck.check())
